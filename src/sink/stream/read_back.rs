//! Counts the events of records that were read back from a stream: by minute of receipt, each once.
//!
//! A record that was sent twice has the same bytes twice, so an event is the same if its identity, its time of receipt and its
//! source are. The `event_uuid` alone is not enough: in the scopes of two browser keys, and after the dedup window has forgotten
//! it, it may be accepted, and delivered, more than once.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use serde::Deserialize;
use uuid::Uuid;

use super::kpl;
use crate::{event::millis_of_iso, limits::STREAM_READ_BACK_EVENTS_MAX};

/// What a line has in either format.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event_uuid: Cow<'a, str>,
    #[serde(borrow)]
    received_datetime: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// The events of some minutes as they come.
#[derive(Debug)]
pub struct EventCounter {
    /// Unix milliseconds.
    received: Range<i64>,
    minutes: BTreeMap<i64, Copies>,
    held: usize,
    held_max: usize,
    strangers: u64,
    first_stranger: Option<String>,
    hasher: RandomState,
}

/// The copies of a minute: 64 bits of each stand for it. Of a million events in a minute two have the same by chance in one of
/// 37 million such minutes.
#[derive(Debug, Default)]
struct Copies {
    copies: u64,
    hashes: Vec<u64>,
}

/// The events of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteOfStream {
    /// Each once.
    pub events: u64,
    /// As often as they are there.
    pub copies: u64,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsByMinute {
    /// By minutes since 1970.
    pub minutes: BTreeMap<i64, MinuteOfStream>,
    /// Lines that are no events of a gateway.
    pub strangers: u64,
    /// Where the first of them is, and what it lacks.
    pub first_stranger: Option<String>,
}

/// More events than are held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyEvents;

impl EventCounter {
    /// Counts events that were received in these Unix milliseconds.
    #[must_use]
    pub fn new(received: Range<i64>) -> Self {
        Self {
            received,
            minutes: BTreeMap::new(),
            held: 0,
            held_max: STREAM_READ_BACK_EVENTS_MAX,
            strangers: 0,
            first_stranger: None,
            hasher: RandomState::new(),
        }
    }

    /// Counts the events of a record; `place` says where it is.
    ///
    /// # Errors
    /// [`TooManyEvents`]
    pub fn add(&mut self, record: &[u8], place: impl Fn() -> String) -> Result<(), TooManyEvents> {
        match kpl::decode(record) {
            Some(events) => events.into_iter().for_each(|event| self.add_lines(event, &place)),
            None => self.add_lines(record, &place),
        }
        if self.held > self.held_max {
            self.forget_doubles();
        }
        if self.held > self.held_max { Err(TooManyEvents) } else { Ok(()) }
    }

    fn add_lines(&mut self, lines: &[u8], place: impl Fn() -> String) {
        for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
            if let Err(lack) = self.add_line(line) {
                self.strangers += 1;
                self.first_stranger.get_or_insert_with(|| format!("{}: {lack}", place()));
            }
        }
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        let Line { event_uuid, received_datetime, source } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let event_uuid = Uuid::try_parse(&event_uuid).map_err(|error| format!("event_uuid: {error}"))?;
        let millis = millis_of_iso(&received_datetime).ok_or("received_datetime is no time")?;
        if self.received.contains(&millis) {
            let minute = self.minutes.entry(millis.div_euclid(60_000)).or_default();
            minute.copies += 1;
            minute.hashes.push(self.hasher.hash_one((event_uuid.as_u128(), millis, &*source)));
            self.held += 1;
        }
        Ok(())
    }

    fn forget_doubles(&mut self) {
        for minute in self.minutes.values_mut() {
            minute.hashes.sort_unstable();
            minute.hashes.dedup();
        }
        self.held = self.minutes.values().map(|minute| minute.hashes.len()).sum();
    }

    /// Everything that was counted.
    #[must_use]
    pub fn finish(mut self) -> EventsByMinute {
        self.forget_doubles();
        let minutes = self.minutes.into_iter();
        let minutes =
            minutes.map(|(minute, of)| (minute, MinuteOfStream { events: of.hashes.len() as u64, copies: of.copies })).collect();
        EventsByMinute { minutes, strangers: self.strangers, first_stranger: self.first_stranger }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Aggregation,
        sink::stream::{Entry, Packing},
    };

    fn line(uuid: u128, received: &str, source: &str) -> String {
        let uuid = Uuid::from_u128(uuid);
        format!(
            r#"{{"event_uuid":"{uuid}","n":1e400,"received_datetime":"1970-01-01T00:0{received}Z","source":"{source}"}}{}"#,
            "\n"
        )
    }

    fn counted(records: &[Vec<u8>]) -> EventsByMinute {
        let mut counter = EventCounter::new(60_000..240_000);
        for (index, record) in records.iter().enumerate() {
            counter.add(record, || format!("record {index}")).unwrap();
        }
        counter.finish()
    }

    #[test]
    fn an_event_counts_once_however_often_and_in_whichever_packing_it_comes() {
        let lines = [line(1, "1:00.000", "web"), line(2, "1:59.999", "web"), line(3, "2:00.000", "web")];
        let packed = |aggregation| {
            let packing = Packing { aggregation, bytes_max: 10_000, events_max: 500, shares_key: false };
            let entry = |data: &String| Entry {
                seq: 0,
                key: "k".into(),
                place: 7,
                data: data.as_bytes().into(),
                headers_bytes: 0,
                is_maybe_sent: false,
            };
            packing.record(lines.iter().map(entry).collect()).data().to_vec()
        };
        let once = lines[1].clone().into_bytes();
        let found = counted(&[packed(Aggregation::Kpl), packed(Aggregation::Ndjson), once]);
        let minutes = [(1, MinuteOfStream { events: 2, copies: 5 }), (2, MinuteOfStream { events: 1, copies: 2 })];
        assert_eq!(found, EventsByMinute { minutes: minutes.into(), ..EventsByMinute::default() });
    }

    #[test]
    fn the_same_uuid_from_another_source_or_at_another_time_is_another_event() {
        let records =
            [line(1, "1:00.000", "web"), line(1, "1:00.000", "app"), line(1, "1:00.001", "web"), line(1, "1:00.000", "web")];
        let found = counted(&records.map(String::into_bytes));
        assert_eq!(found.minutes[&1], MinuteOfStream { events: 3, copies: 4 });
    }

    #[test]
    fn what_was_received_at_another_time_does_not_count_and_what_is_no_event_is_told() {
        let early = line(1, "0:59.999", "web").into_bytes();
        let late = line(1, "4:00.000", "web").into_bytes();
        let found = counted(&[early, late, b"{}\n".to_vec(), b"\xff".to_vec(), Vec::new()]);
        assert_eq!((found.minutes.len(), found.strangers), (0, 3));
        assert!(found.first_stranger.unwrap().starts_with("record 2: missing field `event_uuid`"));
    }

    #[test]
    fn doubles_do_not_fill_the_memory_and_what_does_is_refused() {
        let mut counter = EventCounter { held_max: 3, ..EventCounter::new(0..i64::MAX) };
        let mut add = |uuid| counter.add(line(uuid, "1:00.000", "web").as_bytes(), String::new);
        assert!((0..30).all(|round| add(round % 3).is_ok()));
        assert_eq!(add(7), Err(TooManyEvents));
        assert_eq!(counter.finish().minutes[&1], MinuteOfStream { events: 4, copies: 31 });
    }
}
