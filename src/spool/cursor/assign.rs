//! Which position each configured sink has, when the sinks were changed since the last start.
//!
//! A sink that was there keeps its position. A new sink takes over the position of a sink that is gone, so that nothing is lost
//! and nothing is delivered to both; if none is gone it begins at the oldest event that is still spooled. It may be configured
//! to begin at the oldest event or at the next one. No event that waits for a sink which is gone is passed over by all others.

use super::{
    position::{Cursor, CursorName},
    stored::Cursors,
};
use crate::config::StartAt;

/// A sink, and where it begins if it is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkPosition {
    /// Its name. It keeps its position as long as it has this name.
    pub name: String,
    /// Where it begins if it is new.
    pub start: StartAt,
}

/// The position of a sink after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedPosition {
    /// Name of the sink in the cursor's file: empty if it is the only one.
    pub stored_name: CursorName,
    /// The name under which the position was stored before, if that is another name. Empty: that of the only sink.
    pub continues: Option<CursorName>,
    /// Its position.
    pub cursor: Cursor,
}

impl Cursors {
    /// The positions of `sinks`, in their order; `spooled` are the numbers of the spooled events.
    pub(super) fn assign(&self, sinks: &[SinkPosition], spooled: std::ops::Range<u64>) -> Vec<AssignedPosition> {
        let position = |name: &str| self.0.iter().find(|(known, _)| **known == *name);
        let gone: Vec<_> = self.0.iter().filter(|(name, _)| !sinks.iter().any(|sink| sink.name == **name)).collect();
        let lowest_gone = gone.iter().map(|(_, cursor)| cursor.delivered_exclusive).min();
        let all_begin_now = sinks.iter().all(|sink| sink.start == StartAt::Now && position(&sink.name).is_none());
        let at = |delivered_exclusive| (None, Cursor { delivered_exclusive, planned_end_exclusive: None });
        let assign = |sink: &SinkPosition| {
            let (before, cursor) = match (position(&sink.name), sink.start) {
                (Some((name, cursor)), _) => (Some(name), *cursor),
                (None, StartAt::Oldest) => at(spooled.start),
                (None, StartAt::Now) if !all_begin_now => at(spooled.end),
                (None, _) => match (&*gone, lowest_gone) {
                    ([(name, cursor)], _) => (Some(name), *cursor),
                    (_, Some(lowest)) => at(lowest),
                    (_, None) => at(spooled.start),
                },
            };
            let stored_name = if sinks.len() == 1 { CursorName::default() } else { (*sink.name).into() };
            let continues = before.filter(|before| **before != stored_name).cloned();
            AssignedPosition { stored_name, continues, cursor }
        };
        sinks.iter().map(assign).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(named: &[(&str, u64)]) -> Cursors {
        let cursor = |at| Cursor { delivered_exclusive: at, planned_end_exclusive: Some(at + 5) };
        Cursors(named.iter().map(|(name, at)| ((*name).into(), cursor(*at))).collect())
    }

    /// Positions of the sinks, which are written as `name`, `name=oldest` or `name=now`; and the names that they continue.
    fn assigned(before: &[(&str, u64)], sinks: &[&str]) -> Vec<(u64, Option<String>)> {
        let sink = |text: &&str| {
            let (name, start) = text.split_once('=').unwrap_or((text, ""));
            let start = match start {
                "oldest" => StartAt::Oldest,
                "now" => StartAt::Now,
                _ => StartAt::TakeOver,
            };
            SinkPosition { name: name.into(), start }
        };
        let sinks: Vec<_> = sinks.iter().map(sink).collect();
        let assigned = cursors(before).assign(&sinks, 10..100).into_iter();
        assigned.map(|one| (one.cursor.delivered_exclusive, one.continues.map(Into::into))).collect()
    }

    fn continues(at: u64, name: &str) -> (u64, Option<String>) {
        (at, Some(name.into()))
    }

    #[test]
    fn the_only_sink_goes_on_where_the_only_one_before_stood() {
        assert_eq!(assigned(&[("", 40)], &["lake"]), [(40, None)]);
        assert_eq!(assigned(&[("", 40)], &["kinesis=now"]), [(40, None)], "nobody else takes the events from 40 on");
    }

    #[test]
    fn a_second_sink_goes_on_there_too_or_begins_where_it_is_told() {
        assert_eq!(assigned(&[("", 40)], &["lake", "kinesis"]), [continues(40, ""), continues(40, "")]);
        assert_eq!(assigned(&[("", 40)], &["lake", "kinesis=oldest"]), [continues(40, ""), (10, None)]);
        assert_eq!(assigned(&[("", 40)], &["lake", "kinesis=now"]), [continues(40, ""), (100, None)]);
        assert_eq!(assigned(&[("", 40)], &["lake=now", "kinesis=now"]), [continues(40, ""), continues(40, "")]);
    }

    #[test]
    fn who_was_there_keeps_its_position_and_who_is_new_takes_over_from_who_is_gone() {
        let two = [("lake", 40), ("kinesis", 70)];
        assert_eq!(assigned(&two, &["kinesis", "lake"]), [(70, None), (40, None)]);
        assert_eq!(assigned(&two, &["lake", "firehose"]), [(40, None), continues(70, "kinesis")]);
        assert_eq!(assigned(&two, &["lake", "kinesis", "firehose"]), [(40, None), (70, None), (10, None)]);
        assert_eq!(assigned(&two, &["lake", "kinesis", "firehose=now"])[2], (100, None));
        assert_eq!(assigned(&two, &["kinesis"]), [continues(70, "kinesis")]);
        assert_eq!(assigned(&two, &["firehose"]), [(40, None)], "of two that are gone the lowest");
        assert_eq!(assigned(&two, &["a", "b=now"]), [(40, None), (100, None)]);
    }

    #[test]
    fn a_range_that_was_begun_is_repeated_only_by_who_takes_over_the_whole_position() {
        let planned = |sinks: &[&str]| {
            let sinks: Vec<_> =
                sinks.iter().map(|name| SinkPosition { name: (*name).into(), start: StartAt::TakeOver }).collect();
            let assigned = cursors(&[("lake", 40), ("kinesis", 70)]).assign(&sinks, 10..100);
            assigned.into_iter().map(|one| one.cursor.planned_end_exclusive).collect::<Vec<_>>()
        };
        assert_eq!(planned(&["lake", "firehose"]), [Some(45), Some(75)]);
        assert_eq!(planned(&["firehose"]), [None]);
    }
}
