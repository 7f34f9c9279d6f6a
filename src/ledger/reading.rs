//! Reads the ledger's tables. A read sees one commit, and delays no other.

use std::{collections::BTreeMap, ops::Range};

use redb::{Database, ReadableDatabase, ReadableTable};
use uuid::Uuid;

use super::{
    accepted::Run,
    account::Account,
    books::SinkBook,
    encode::{decode_account, decode_runs, settled_in_row},
    names::{LedgerNames, NameId},
    tables::{CHUNK_EVENTS, LedgerError, MINUTES, POSITIONS, REPEATS, RUNS, Repeats, SETTLED, SINK, damaged},
};
use crate::progress::Settlement;

/// The accounts of these minutes.
pub(super) fn minutes(database: &Database, minutes: Range<i64>) -> Result<BTreeMap<i64, Account>, LedgerError> {
    let read = database.begin_read()?;
    let table = read.open_table(MINUTES)?;
    let mut accounts = BTreeMap::new();
    for row in table.range(minutes)? {
        let (minute, row) = row?;
        accounts.insert(minute.value(), decode_account(row.value()).ok_or_else(damaged)?);
    }
    Ok(accounts)
}

/// The first minute of which there is an account.
pub(super) fn first_minute(database: &Database) -> Result<Option<i64>, LedgerError> {
    Ok(database.begin_read()?.open_table(MINUTES)?.first()?.map(|(minute, _)| minute.value()))
}

/// The runs from the one that has the event `seq` on, each with its first event.
pub(super) fn runs_from(database: &Database, seq: u64) -> Result<Vec<(u64, Vec<Run>)>, LedgerError> {
    let read = database.begin_read()?;
    let table = read.open_table(RUNS)?;
    let first = table.range(..=seq)?.next_back().transpose()?.map_or(seq, |(first, _)| first.value());
    let mut found = Vec::new();
    for row in table.range(first..)? {
        let (first, row) = row?;
        found.push((first.value(), decode_runs(row.value()).ok_or_else(damaged)?));
    }
    Ok(found)
}

/// The run of the event `seq`.
pub(super) fn run_of(database: &Database, seq: u64) -> Result<Option<Run>, LedgerError> {
    let read = database.begin_read()?;
    let table = read.open_table(RUNS)?;
    let Some((first, row)) = table.range(..=seq)?.next_back().transpose()? else { return Ok(None) };
    let mut end = first.value();
    let runs = decode_runs(row.value()).ok_or_else(damaged)?;
    Ok(runs.into_iter().find(|run| {
        end += u64::from(run.events);
        seq < end
    }))
}

/// How `sink` settled the event `seq`.
pub(super) fn settled(database: &Database, sink: NameId, seq: u64) -> Result<Option<(i64, Settlement, NameId)>, LedgerError> {
    let chunk = seq / CHUNK_EVENTS;
    let read = database.begin_read()?;
    let table = read.open_table(SETTLED)?;
    let mut found = None;
    for row in table.range((sink, chunk, 0)..(sink, chunk + 1, 0))? {
        // The last one counts: after a crash an event may be settled again.
        found = settled_in_row(chunk * CHUNK_EVENTS, row?.1.value(), seq).or(found);
    }
    Ok(found)
}

/// How often this event was sent again.
pub(super) fn repeats(database: &Database, identity: Uuid) -> Result<Option<Repeats>, LedgerError> {
    let read = database.begin_read()?;
    let mut all: Option<Repeats> = None;
    for definition in REPEATS {
        if let Some(row) = read.open_table(definition)?.get(identity.as_u128())? {
            let found = Repeats::of(row.value());
            all = Some(all.map_or(found, |known| known.with(found)));
        }
    }
    Ok(all)
}

/// The sinks that the ledger counts for, each with its first minute.
pub(super) fn sink_starts(database: &Database, names: &LedgerNames) -> Result<Vec<(NameId, i64)>, LedgerError> {
    let mut starts = Vec::new();
    for row in database.begin_read()?.open_table(POSITIONS)?.iter()? {
        let (name, position) = row?;
        let Some(name) = name.value().strip_prefix(SINK) else { continue };
        let id = names.sinks.id(name);
        starts.push((id, SinkBook::decode(name, id, position.value()).ok_or_else(damaged)?.start_minute));
    }
    Ok(starts)
}

/// The first event that is remembered: its number, and its time of receipt in Unix milliseconds.
pub(super) fn first_event(database: &Database) -> Result<Option<(u64, i64)>, LedgerError> {
    let read = database.begin_read()?;
    let table = read.open_table(RUNS)?;
    let Some((first, row)) = table.first()? else { return Ok(None) };
    let runs = decode_runs(row.value()).ok_or_else(damaged)?;
    Ok(runs.first().map(|run| (first.value(), run.received_millis)))
}
