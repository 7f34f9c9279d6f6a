//! Compares the ledger with the events of a stream, minute by minute.
//!
//! Of each minute, the stream has every event that the ledger calls delivered, and no other. Deliveries go on meanwhile, so the
//! ledger is read before and after the stream. An event whose call had no answer may be in the stream while the ledger says that
//! it waits, or that it was dropped, erased or lost meanwhile; so a minute has too many only beyond those.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{
    cli::failure::notice,
    config::{Config, KinesisConfig, SinkSettings},
    event::unix_millis,
    ledger::{LedgerRows, SinkRow, minute_of, minute_start, minute_text},
    limits::{STREAM_READ_BACK_EVENTS_MAX, STREAM_READ_BACK_SKEW},
    sink::kinesis::{KinesisStream, ReadBack, ReadProgress, read_back},
};

/// What the policy of whoever reads a stream must allow.
const PERMISSIONS: &str = "kinesis:DescribeStreamSummary, kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords";

/// What the comparison with one stream found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    pub(super) sink: String,
    pub(super) stream: String,
    pub(super) since: String,
    pub(super) until: String,
    /// Minutes with events that were compared.
    pub(super) minutes: usize,
    /// In these minutes: what the ledger calls delivered, and the events that the stream has, each once.
    pub(super) delivered: u64,
    pub(super) events: u64,
    /// Copies of events that the stream has beside the first ones.
    pub(super) doubles: u64,
    /// Events on their way to the stream, by the ledger. Their minutes are compared with what is delivered so far.
    pub(super) waiting: u64,
    /// Events that the stream has although the ledger does not call them delivered: their call had no answer.
    pub(super) unanswered: u64,
    /// Lines in the stream that are no events of a gateway, and the first of them.
    pub(super) strangers: u64,
    pub(super) first_stranger: Option<String>,
    /// Minutes that do not fit.
    pub(super) differences: Vec<Difference>,
    /// Minutes that cannot be compared.
    pub(super) not_compared: Vec<NotCompared>,
    /// When the stream was created.
    pub(super) created: String,
    pub(super) shards: usize,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// A minute that does not fit.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) minute: String,
    pub(super) delivered: u64,
    pub(super) events: u64,
    /// Events that are missing, or too many.
    pub(super) missing: u64,
    pub(super) too_many: u64,
}

/// Minutes that cannot be compared.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct NotCompared {
    /// The first minute.
    pub(super) since: String,
    /// The minute after the last.
    pub(super) until: String,
    /// Delivered in them, by the ledger, and what the stream still has.
    pub(super) delivered: u64,
    pub(super) events: u64,
    pub(super) why: String,
}

/// Why a minute cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    BeforeLedger,
    NotKept,
}

impl Comparison {
    /// Whether all that could be compared fits, and something could.
    pub(super) fn is_well(&self) -> bool {
        let nothing_compared = self.minutes == 0 && self.not_compared.iter().any(|part| part.delivered > 0);
        self.differences.is_empty() && self.strangers == 0 && !nothing_compared
    }
}

/// Compares each stream of Kinesis of the configuration, or the one of the sink `only`.
pub(super) fn compare_all(
    config: &Config,
    only: Option<&str>,
    millis: Range<i64>,
    runtime: &Runtime,
    mut read: impl FnMut() -> anyhow::Result<LedgerRows>,
) -> anyhow::Result<Vec<Comparison>> {
    let whole = minute_of(millis.start)..minute_of(millis.end.saturating_add(59_999));
    let mut comparisons = Vec::new();
    for (sink, kinesis) in streams(config, only)? {
        let before = read()?;
        let delivered = of_sink(&before, &sink).values().map(|row| row.endings.delivered).sum::<u64>();
        ensure!(
            delivered <= STREAM_READ_BACK_EVENTS_MAX as u64,
            "{delivered} events were delivered to {sink} in that time, and {STREAM_READ_BACK_EVENTS_MAX} are compared at once; ask \
             for a shorter time with --since and --until"
        );
        let found = runtime.block_on(async {
            let stream = KinesisStream::connect_to_read(&kinesis).await;
            let say = |progress: &ReadProgress| notice(&said(&sink, progress));
            read_back(&stream, minute_start(whole.start)..minute_start(whole.end), say).await
        });
        let found = found.with_context(|| {
            format!("the stream {} of the sink {sink} cannot be read; it takes {PERMISSIONS}", kinesis.stream)
        })?;
        let now = unix_millis(SystemTime::now());
        let mut comparison = compare(&sink, &before, &read()?, &found, &whole, now);
        comparison.stream = kinesis.stream;
        comparisons.push(comparison);
    }
    Ok(comparisons)
}

/// The sinks that can be read back.
fn streams(config: &Config, only: Option<&str>) -> anyhow::Result<Vec<(String, KinesisConfig)>> {
    let sinks = config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
    let (mut streams, mut lakes, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for sink in sinks.into_iter().filter(|sink| only.is_none_or(|only| only == sink.name)) {
        match sink.settings {
            SinkSettings::Kinesis(kinesis) => streams.push((sink.name, kinesis)),
            SinkSettings::Lake(_) => lakes.push(format!("{} is a lake: use --check lake", sink.name)),
            SinkSettings::Firehose(_) => others.push(format!(
                "{} is a delivery stream of Firehose, which nobody can read back: count the rows of its destination by \
                 received_datetime, and compare them with `lakegate ledger`",
                sink.name
            )),
            SinkSettings::Kafka(_) => others.push(format!(
                "{} is Kafka, which this command does not read: count what a consumer gets by received_datetime, each event_uuid \
                 once, and compare it with `lakegate ledger`",
                sink.name
            )),
        }
    }
    if !streams.is_empty() {
        others.iter().for_each(|text| notice(text));
        return Ok(streams);
    }
    lakes.extend(others);
    match only {
        Some(only) if lakes.is_empty() => bail!("the configuration has no sink with the name {only}"),
        _ => bail!("there is no stream of Kinesis to compare with; {}", lakes.join("; ")),
    }
}

fn said(sink: &str, progress: &ReadProgress) -> String {
    let ReadProgress { shards, shards_read, records, bytes, tried_again } = progress;
    let again = if *tried_again > 0 { format!(", {tried_again} reads tried again") } else { String::new() };
    format!("{sink}: {shards_read} of {shards} shards read, {records} records, {} MiB{again}", bytes >> 20)
}

/// The sink's part of each minute.
fn of_sink(ledger: &LedgerRows, sink: &str) -> BTreeMap<i64, SinkRow> {
    let rows = ledger.minutes.iter();
    rows.filter_map(|row| Some((minute_of(row.start_millis()?), *row.sinks.get(sink)?))).collect()
}

fn compare(
    sink: &str,
    before: &LedgerRows,
    after: &LedgerRows,
    found: &ReadBack,
    whole: &Range<i64>,
    now_millis: i64,
) -> Comparison {
    let (least, most) = (of_sink(before, sink), of_sink(after, sink));
    let ReadBack { stream, read, events } = found;
    let mut comparison = Comparison {
        sink: sink.to_owned(),
        since: minute_text(whole.start),
        until: minute_text(whole.end),
        strangers: events.strangers,
        first_stranger: events.first_stranger.clone(),
        created: minute_text(minute_of(stream.created_millis)),
        shards: read.shards,
        records: read.records,
        bytes: read.bytes,
        ..Comparison::default()
    };
    let kept = kept_from(now_millis, stream.retention);
    let why = |minute: i64| match &after.since {
        Some(since) if minute_text(minute) >= *since => (minute < kept).then_some(Why::NotKept),
        _ => Some(Why::BeforeLedger),
    };
    let mut not_compared: BTreeMap<Why, (Range<i64>, u64, u64)> = BTreeMap::new();
    let minutes: BTreeSet<i64> = events.minutes.keys().chain(most.keys()).copied().collect();
    for minute in minutes {
        let in_stream = events.minutes.get(&minute).copied().unwrap_or_default();
        let (least, most) =
            (least.get(&minute).copied().unwrap_or_default().endings.delivered, most.get(&minute).copied().unwrap_or_default());
        let delivered = most.endings.delivered;
        if let Some(why) = why(minute) {
            let (range, all_delivered, all_events) = not_compared.entry(why).or_insert((minute..minute + 1, 0, 0));
            range.end = minute + 1;
            *all_delivered += delivered;
            *all_events += in_stream.events;
            continue;
        }
        let maybe_sent = most.spooled + most.endings.dropped + most.endings.erased + most.endings.lost;
        comparison.minutes += usize::from(delivered + in_stream.events > 0);
        comparison.delivered += delivered;
        comparison.events += in_stream.events;
        comparison.doubles += in_stream.copies - in_stream.events;
        comparison.waiting += most.spooled;
        let more = in_stream.events.saturating_sub(delivered);
        comparison.unanswered += more.min(maybe_sent);
        let (missing, too_many) = (least.saturating_sub(in_stream.events), more.saturating_sub(maybe_sent));
        if missing + too_many > 0 {
            let minute = minute_text(minute);
            comparison.differences.push(Difference { minute, delivered, events: in_stream.events, missing, too_many });
        }
    }
    let parts = not_compared.into_iter().map(|(why, (range, delivered, events))| NotCompared {
        since: minute_text(range.start),
        until: minute_text(range.end),
        delivered,
        events,
        why: match (why, &after.since) {
            (Why::NotKept, _) => format!("the stream keeps a record for {} hours", stream.retention.as_secs() / 3_600),
            (Why::BeforeLedger, Some(since)) => format!("the ledger begins at {since}"),
            (Why::BeforeLedger, None) => "the ledger is empty".to_owned(),
        },
    });
    comparison.not_compared = parts.collect();
    comparison
}

/// The first minute of which the stream still has every record.
fn kept_from(now_millis: i64, retention: Duration) -> i64 {
    let kept = i64::try_from(retention.saturating_sub(STREAM_READ_BACK_SKEW).as_millis()).unwrap_or(i64::MAX);
    minute_of(now_millis.saturating_sub(kept)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Endings, MinuteRow},
        sink::{
            kinesis::StreamSummary,
            stream::{EventsByMinute, MinuteOfStream},
        },
    };

    const HOUR: i64 = 60;

    /// A ledger of these minutes, which begins with the first of them.
    fn ledger(minutes: &[(i64, Endings, u64)]) -> LedgerRows {
        let row = |(minute, endings, spooled): &(i64, Endings, u64)| MinuteRow {
            minute: minute_text(*minute),
            received: 0,
            replayed: 0,
            answers: crate::ledger::Answers::default(),
            sinks: [("kinesis".to_owned(), SinkRow { endings: *endings, spooled: *spooled })].into(),
            keys: BTreeMap::new(),
            event_names: BTreeMap::new(),
        };
        let since = minutes.first().map(|(minute, _, _)| minute_text(*minute));
        LedgerRows { since, imbalance: 0, minutes: minutes.iter().map(row).collect() }
    }

    fn delivered(delivered: u64) -> Endings {
        Endings { delivered, ..Endings::default() }
    }

    /// A stream that keeps a day, with events of these minutes.
    fn stream(minutes: &[(i64, u64, u64)]) -> ReadBack {
        let minutes =
            minutes.iter().map(|(minute, events, copies)| (*minute, MinuteOfStream { events: *events, copies: *copies }));
        ReadBack {
            stream: StreamSummary { retention: Duration::from_secs(24 * 3_600), created_millis: 0 },
            read: ReadProgress::default(),
            events: EventsByMinute { minutes: minutes.collect(), ..EventsByMinute::default() },
        }
    }

    fn compared(before: &LedgerRows, after: &LedgerRows, found: &ReadBack) -> Comparison {
        compare("kinesis", before, after, found, &(0..100 * HOUR), 30 * HOUR * 60_000)
    }

    #[test]
    fn a_minute_fits_if_its_events_are_between_what_was_delivered_before_and_after() {
        let (before, after) = (ledger(&[(1_000, delivered(5), 4)]), ledger(&[(1_000, delivered(8), 1)]));
        for (events, missing, too_many) in [(4, 1, 0), (5, 0, 0), (8, 0, 0), (9, 0, 0), (10, 0, 1)] {
            let found = compared(&before, &after, &stream(&[(1_000, events, events + 2)]));
            assert_eq!(found.is_well(), missing + too_many == 0, "{events}");
            assert_eq!((found.doubles, found.waiting, found.unanswered), (2, 1, events.saturating_sub(8).min(1)));
            let minute = minute_text(1_000);
            let difference = Difference { minute, delivered: 8, events, missing, too_many };
            assert!(found.is_well() || found.differences == [difference], "{found:?}");
        }
    }

    #[test]
    fn what_had_no_answer_and_was_dropped_erased_or_lost_meanwhile_may_be_in_the_stream() {
        let after = ledger(&[(1_000, Endings { dropped: 1, erased: 1, lost: 1, refused: 9, skipped: 9, ..delivered(5) }, 0)]);
        let found = compared(&after, &after, &stream(&[(1_000, 8, 8)]));
        assert!(found.is_well() && found.unanswered == 3, "{found:?}");
        assert!(!compared(&after, &after, &stream(&[(1_000, 9, 9)])).is_well());
    }

    #[test]
    fn minutes_that_nobody_can_compare_are_told_and_prove_nothing() {
        // The stream keeps the last 24 of 30 hours.
        let old = ledger(&[(HOUR, delivered(3), 0), (2 * HOUR, delivered(4), 0)]);
        let found = compared(&old, &old, &stream(&[(2 * HOUR, 1, 1), (10, 5, 5)]));
        let part = |since: i64, until: i64, delivered, events, why: &str| NotCompared {
            since: minute_text(since),
            until: minute_text(until),
            delivered,
            events,
            why: why.to_owned(),
        };
        let before = part(10, 11, 0, 5, "the ledger begins at 1970-01-01T01:00Z");
        let gone = part(HOUR, 2 * HOUR + 1, 7, 1, "the stream keeps a record for 24 hours");
        assert_eq!(found.not_compared, [before, gone]);
        assert!(!found.is_well() && found.differences.is_empty(), "{found:?}");
        let both = ledger(&[(HOUR, delivered(3), 0), (10 * HOUR, delivered(4), 0)]);
        assert!(compared(&both, &both, &stream(&[(10 * HOUR, 4, 4)])).is_well());
        let empty = compared(&ledger(&[]), &ledger(&[]), &stream(&[(10 * HOUR, 4, 4)]));
        assert_eq!(empty.not_compared[0].why, "the ledger is empty");
    }
}
