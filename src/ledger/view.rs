//! The ledger for people and programs: names instead of numbers, and what waits.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    account::{Account, Answers, Endings},
    handle::Ledger,
    minutes::{minute_of, minute_start},
    names::{LedgerNames, NameId, Names},
    reading,
    tables::LedgerError,
};
use crate::{
    event::{iso_millis, millis_of_iso},
    progress::Settlement,
};

/// What keys and names beyond the limit are called.
pub const OTHER_NAMES: &str = "(other)";

/// What a row has besides its sums. What is not asked for is not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// [`MinuteRow::keys`]
    pub by_key: bool,
    /// [`MinuteRow::event_names`]
    pub by_event_name: bool,
}

/// The accounts of some minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRows {
    /// The first minute of the ledger, such as `2026-11-28T09:15Z`; `None` if it is empty.
    pub since: Option<String>,
    /// By how many events the ledger does not balance. 0, or a bug.
    pub imbalance: u64,
    /// One row for each minute, ascending; minutes without events have none.
    pub minutes: Vec<MinuteRow>,
}

/// The account of one minute of receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteRow {
    /// Such as `2026-11-28T09:15Z`.
    pub minute: String,
    /// Events read from request bodies.
    pub received: u64,
    /// Events that were stored again from dead letters or from the quarantine.
    pub replayed: u64,
    /// `received` and `replayed` by their answer.
    #[serde(flatten)]
    pub answers: Answers,
    /// The accepted events by sink and ending.
    pub sinks: BTreeMap<String, SinkRow>,
    /// By key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Answers>,
    /// By event name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event_names: BTreeMap<String, Answers>,
}

/// The accepted events of one sink, by ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRow {
    /// Those that the sink has settled.
    #[serde(flatten)]
    pub endings: Endings,
    /// In the spool: the sink has not settled them yet.
    pub spooled: u64,
}

impl SinkRow {
    fn add(&mut self, other: &Self) {
        self.endings.add(&other.endings);
        self.spooled += other.spooled;
    }

    /// Those that are not zero, for people: `120 delivered, 3 spooled`.
    #[must_use]
    pub fn text(&self) -> String {
        let Endings { delivered, refused, lost, erased, skipped, dropped } = self.endings;
        let all = [
            (delivered, "delivered"),
            (refused, "refused"),
            (lost, "lost"),
            (erased, "erased"),
            (skipped, "skipped"),
            (dropped, "dropped"),
            (self.spooled, "spooled"),
        ];
        let some = all.iter().filter(|(events, _)| *events > 0).map(|(events, what)| format!("{events} {what}"));
        let some: Vec<String> = some.collect();
        if some.is_empty() { "-".to_owned() } else { some.join(", ") }
    }
}

/// What the ledger knows of one accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedEvent {
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
    /// Its key, unless there were too many.
    pub key: Option<Box<str>>,
    /// Its event name, unless there were too many.
    pub event_name: Option<Box<str>>,
    /// How the sinks settled it; a sink that has not is missing.
    pub settled: Vec<SettledEvent>,
}

/// How one sink settled an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledEvent {
    /// The name of the sink.
    pub sink: Box<str>,
    /// How.
    pub settlement: Settlement,
    /// When, Unix milliseconds.
    pub at_millis: i64,
    /// Where in the sink: the shard of a stream.
    pub place: Option<Box<str>>,
}

/// How often an event was sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedEvent {
    /// How often.
    pub times: u64,
    /// For the first time, Unix milliseconds.
    pub first_millis: i64,
    /// For the last time, Unix milliseconds.
    pub last_millis: i64,
    /// The key that sent it last.
    pub key: Option<Box<str>>,
}

impl Ledger {
    /// The accounts of the minutes that begin in `millis`. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn rows(&self, millis: Range<i64>, detail: Detail) -> Result<LedgerRows, LedgerError> {
        let imbalance = self.imbalance();
        self.read(|database, names| {
            let minutes = minute_of(millis.start.saturating_add(59_999))..minute_of(millis.end.saturating_add(59_999));
            let starts = reading::sink_starts(database, names)?;
            let row = |(minute, account): (i64, Account)| minute_row(minute, &account, detail, &starts, names);
            let since = reading::first_minute(database)?.map(minute_text);
            Ok(LedgerRows { since, imbalance, minutes: reading::minutes(database, minutes)?.into_iter().map(row).collect() })
        })
    }

    /// What the ledger knows of the accepted event `seq`; `None` if it is forgotten. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn accepted_event(&self, seq: u64) -> Result<Option<AcceptedEvent>, LedgerError> {
        self.read(|database, names| {
            let Some(run) = reading::run_of(database, seq)? else { return Ok(None) };
            let mut settled = Vec::new();
            for (id, sink) in names.sinks.after(0) {
                if let Some((at_millis, settlement, place)) = reading::settled(database, id, seq)? {
                    settled.push(SettledEvent { sink, settlement, at_millis, place: names.places.text(place) });
                }
            }
            Ok(Some(AcceptedEvent {
                received_millis: run.received_millis,
                key: names.keys.text(run.key),
                event_name: names.events.text(run.name),
                settled,
            }))
        })
    }

    /// How often the event with this identity in the dedup window was sent again. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn repeats(&self, identity: Uuid) -> Result<Option<RepeatedEvent>, LedgerError> {
        self.read(|database, names| {
            let found = reading::repeats(database, identity)?;
            Ok(found.map(|repeats| RepeatedEvent {
                times: repeats.times,
                first_millis: repeats.first_millis,
                last_millis: repeats.last_millis,
                key: names.keys.text(repeats.key),
            }))
        })
    }

    /// The first event that is remembered as such: its number, and when it was received in Unix milliseconds.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn first_event(&self) -> Result<Option<(u64, i64)>, LedgerError> {
        self.read(|database, _| reading::first_event(database))
    }
}

impl MinuteRow {
    /// Adds `other`, whatever its minute.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.replayed += other.replayed;
        self.answers.add(&other.answers);
        for (mine, others) in [(&mut self.keys, &other.keys), (&mut self.event_names, &other.event_names)] {
            for (name, answers) in others {
                mine.entry(name.clone()).or_default().add(answers);
            }
        }
        for (sink, endings) in &other.sinks {
            self.sinks.entry(sink.clone()).or_default().add(endings);
        }
    }

    /// When the minute begins, in Unix milliseconds.
    #[must_use]
    pub fn start_millis(&self) -> Option<i64> {
        millis_of_iso(&self.minute.replace('Z', ":00Z"))
    }
}

/// A minute for people: `2026-11-28T09:15Z`.
#[must_use]
pub fn minute_text(minute: i64) -> String {
    let text = iso_millis(minute_start(minute));
    format!("{}Z", text.as_str().get(..16).unwrap_or_default())
}

fn minute_row(minute: i64, account: &Account, detail: Detail, starts: &[(NameId, i64)], names: &LedgerNames) -> MinuteRow {
    let mut sinks: BTreeMap<String, SinkRow> = BTreeMap::new();
    for (id, endings) in &account.by_sink {
        let start = starts.iter().find(|(sink, _)| sink == id);
        // A sink that is gone gets nothing more.
        let owed = if start.is_some_and(|(_, start)| *start <= minute) { account.answers.accepted } else { 0 };
        sinks.insert(text(&names.sinks, *id), SinkRow { endings: *endings, spooled: owed.saturating_sub(endings.total()) });
    }
    for (id, _) in starts.iter().filter(|(id, start)| *start <= minute && !account.by_sink.contains_key(id)) {
        sinks.insert(text(&names.sinks, *id), SinkRow { spooled: account.answers.accepted, ..SinkRow::default() });
    }
    let named = |is_wanted: bool, names: &Names, by_id: &BTreeMap<NameId, Answers>| {
        if !is_wanted {
            return BTreeMap::new();
        }
        by_id.iter().map(|(id, answers)| (text(names, *id), *answers)).collect()
    };
    MinuteRow {
        minute: minute_text(minute),
        received: account.received,
        replayed: account.replayed,
        answers: account.answers,
        sinks,
        keys: named(detail.by_key, &names.keys, &account.by_key),
        event_names: named(detail.by_event_name, &names.events, &account.by_name),
    }
}

fn text(names: &Names, id: NameId) -> String {
    names.text(id).map_or_else(|| OTHER_NAMES.to_owned(), Into::into)
}
