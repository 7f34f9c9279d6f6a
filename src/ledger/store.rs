//! Writes the ledger: each commit is one atomic step.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError, Value,
    WriteTransaction, backends::FileBackend,
};
use uuid::Uuid;

use super::{
    accepted::Run,
    account::{Account, Endings},
    encode::{SettledEvents, decode_account, decode_runs, encode_account, encode_runs, encode_settled},
    names::{KINDS, NameId, Names},
    tables::{
        CHUNK_EVENTS, EVENTS, LedgerError, MINUTES, NAMES, NEWER_REPEATS, POSITIONS, REPEATS, RUNS, Repeats, SETTLED, SINK,
        damaged,
    },
};
use crate::{
    durable,
    limits::{LEDGER_CACHE_BYTES, LEDGER_REPEATS_MAX, LEDGER_ROWS_REMOVED_AT_ONCE},
};

const FILE: &str = "ledger.redb";

/// What changes in one commit.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// To be added to what the minutes have.
    pub(super) minutes: BTreeMap<i64, Account>,
    /// To be taken from what the minutes have, by minute and sink.
    pub(super) undone: BTreeMap<(i64, NameId), Endings>,
    pub(super) runs: Vec<(u64, Vec<Run>)>,
    pub(super) settled: Vec<(NameId, SettledEvents)>,
    pub(super) repeats: BTreeMap<Uuid, Repeats>,
    /// The numbers of events begin again: another spool.
    pub(super) forgets_numbers: bool,
    pub(super) removed_sinks: Vec<Box<str>>,
}

/// Where the ledger stands, stored with each commit.
#[derive(Debug, Default)]
pub(super) struct StoredPositions {
    pub(super) events: Vec<u8>,
    /// By the name of the sink.
    pub(super) sinks: Vec<(Box<str>, Vec<u8>)>,
}

/// What is older is removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) minutes_from: i64,
    /// Events received earlier.
    pub(super) events_from_millis: i64,
    /// Events with smaller numbers.
    pub(super) events_from_seq: u64,
    /// No event with this number or a larger one is removed.
    pub(super) settled_exclusive: u64,
}

/// The open database.
pub(super) struct Store {
    database: Arc<Database>,
    /// Names of each kind that are stored.
    stored_names: [usize; KINDS],
    serial: u64,
}

impl Store {
    /// Opens the ledger in `folder`; creates both if they are missing. A damaged file is set aside, and the second result says why.
    ///
    /// # Errors
    /// [`LedgerError`]: try again.
    pub(super) fn open(folder: &Path) -> Result<(Self, Option<String>), LedgerError> {
        durable::make_folder(folder)?;
        let path = folder.join(FILE);
        match Self::open_file(&path) {
            Err(LedgerError::Damaged(reason)) => {
                let aside = path.with_extension("damaged");
                fs::rename(&path, &aside)?;
                durable::sync_folder(folder)?;
                Ok((Self::open_file(&path)?, Some(format!("{reason}; it is kept as {}", aside.display()))))
            }
            opened => opened.map(|store| (store, None)),
        }
    }

    fn open_file(path: &Path) -> Result<Self, LedgerError> {
        // Made here, so that only the gateway's own user may read it.
        let file = durable::open_or_create(path)?;
        let database = Database::builder().set_cache_size(LEDGER_CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
        let write = begin(&database)?;
        {
            write.open_table(POSITIONS)?;
            write.open_table(NAMES)?;
            write.open_table(MINUTES)?;
            write.open_table(RUNS)?;
            write.open_table(SETTLED)?;
            write.open_table(REPEATS[0])?;
            write.open_table(REPEATS[1])?;
        }
        write.commit()?;
        let serial = last_serial(&database.begin_read()?)?;
        Ok(Self { database: Arc::new(database), stored_names: [0; KINDS], serial })
    }

    /// For readers.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The stored names of each kind.
    pub(super) fn names(&mut self) -> Result<[Vec<Box<str>>; KINDS], LedgerError> {
        let mut names: [Vec<Box<str>>; KINDS] = Default::default();
        for row in self.database.begin_read()?.open_table(NAMES)?.iter()? {
            let (key, text) = row?;
            // In the order of their numbers.
            if let Some(names) = names.get_mut(usize::from(key.value().0)) {
                names.push(text.value().into());
            }
        }
        for (stored, names) in self.stored_names.iter_mut().zip(&names) {
            *stored = names.len();
        }
        Ok(names)
    }

    /// Where the ledger stands.
    pub(super) fn positions(&self) -> Result<Option<StoredPositions>, LedgerError> {
        let mut positions = StoredPositions::default();
        for row in self.database.begin_read()?.open_table(POSITIONS)?.iter()? {
            let (name, bytes) = row?;
            match (name.value(), name.value().strip_prefix(SINK)) {
                (EVENTS, _) => positions.events = bytes.value().to_vec(),
                (_, Some(sink)) => positions.sinks.push((sink.into(), bytes.value().to_vec())),
                _ => {}
            }
        }
        Ok((!positions.events.is_empty()).then_some(positions))
    }

    /// Makes all of it durable, or nothing.
    pub(super) fn commit(
        &mut self,
        changes: &Changes,
        positions: &StoredPositions,
        names: [&Names; KINDS],
    ) -> Result<(), LedgerError> {
        let write = begin(&self.database)?;
        if changes.forgets_numbers {
            write.delete_table(RUNS)?;
            write.delete_table(SETTLED)?;
        }
        let mut stored_names = self.stored_names;
        let mut serial = self.serial;
        {
            let mut table = write.open_table(NAMES)?;
            for (kind, names) in names.into_iter().enumerate() {
                for (id, text) in names.after(stored_names[kind]) {
                    table.insert((kind as u8, id), &*text)?;
                    stored_names[kind] += 1;
                }
            }
            let mut minutes = write.open_table(MINUTES)?;
            for (minute, change) in &changes.minutes {
                let mut account = stored_account(minutes.get(minute)?.map(|row| row.value().to_vec()))?;
                account.add(change);
                minutes.insert(minute, &*encode_account(&account))?;
            }
            for ((minute, sink), undone) in &changes.undone {
                let mut account = stored_account(minutes.get(minute)?.map(|row| row.value().to_vec()))?;
                account.by_sink.entry(*sink).or_default().take(undone);
                minutes.insert(minute, &*encode_account(&account))?;
            }
            let mut runs = write.open_table(RUNS)?;
            for (first, row) in &changes.runs {
                runs.insert(first, &*encode_runs(row))?;
            }
            let mut settled = write.open_table(SETTLED)?;
            for (sink, events) in &changes.settled {
                for (base, part) in chunks(events) {
                    serial += 1;
                    settled.insert((*sink, base / CHUNK_EVENTS, serial), &*encode_settled(base, &part))?;
                }
            }
            let mut table = write.open_table(POSITIONS)?;
            table.insert(EVENTS, &*positions.events)?;
            for sink in &changes.removed_sinks {
                table.remove(&*format!("{SINK}{sink}"))?;
            }
            for (sink, position) in &positions.sinks {
                table.insert(&*format!("{SINK}{sink}"), &**position)?;
            }
        }
        count_repeats(&write, &changes.repeats)?;
        write.commit()?;
        (self.stored_names, self.serial) = (stored_names, serial);
        Ok(())
    }

    /// Removes what is too old; at most some thousand rows, so call it again while it returns `true`.
    pub(super) fn remove_old(&self, kept: Kept) -> Result<bool, LedgerError> {
        let mut left = LEDGER_ROWS_REMOVED_AT_ONCE;
        let write = begin(&self.database)?;
        {
            let mut minutes = write.open_table(MINUTES)?;
            while left > 0 && first_key(&minutes)?.is_some_and(|minute| minute < kept.minutes_from) {
                minutes.pop_first()?;
                left -= 1;
            }
            let mut runs = write.open_table(RUNS)?;
            let mut first = first_key(&runs)?;
            while left > 0
                && let Some((key, row)) = first_row(&runs)?
            {
                let decoded = decode_runs(&row).unwrap_or_default();
                let is_old =
                    key < kept.events_from_seq || decoded.iter().all(|run| run.received_millis < kept.events_from_millis);
                let end = key + decoded.iter().map(|run| u64::from(run.events)).sum::<u64>();
                // The newest row is kept, so that there is always a first event.
                if !is_old || end > kept.settled_exclusive || runs.len()? == 1 {
                    break;
                }
                runs.pop_first()?;
                left -= 1;
                first = first_key(&runs)?;
            }
            let first_chunk = first.unwrap_or(0) / CHUNK_EVENTS;
            let mut settled = write.open_table(SETTLED)?;
            let sinks: Vec<NameId> = sinks_of(&settled)?;
            for sink in sinks {
                let old: Vec<(NameId, u64, u64)> = settled
                    .range((sink, 0, 0)..(sink, first_chunk, 0))?
                    .take(left)
                    .map(|row| row.map(|(key, _)| key.value()))
                    .collect::<Result<_, _>>()?;
                left -= old.len();
                for key in old {
                    settled.remove(key)?;
                }
            }
        }
        write.commit()?;
        Ok(left == 0)
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, LedgerError> {
    let mut write = database.begin_write()?;
    // A ledger of a gigabyte must not delay the start after a crash.
    write.set_quick_repair(true);
    Ok(write)
}

fn count_repeats(write: &WriteTransaction, repeats: &BTreeMap<Uuid, Repeats>) -> Result<(), LedgerError> {
    if repeats.is_empty() {
        return Ok(());
    }
    let mut positions = write.open_table(POSITIONS)?;
    let mut newer = usize::from(positions.get(NEWER_REPEATS)?.is_some_and(|byte| byte.value() == [1]));
    if write.open_table(REPEATS[newer])?.len()? >= LEDGER_REPEATS_MAX {
        newer = 1 - newer;
        write.delete_table(REPEATS[newer])?;
        positions.insert(NEWER_REPEATS, [newer as u8].as_slice())?;
    }
    let mut table = write.open_table(REPEATS[newer])?;
    for (identity, repeats) in repeats {
        let known = table.get(identity.as_u128())?.map(|row| Repeats::of(row.value()));
        let Repeats { times, first_millis, last_millis, key } = known.map_or(*repeats, |known| known.with(*repeats));
        table.insert(identity.as_u128(), (times, first_millis, last_millis, key))?;
    }
    Ok(())
}

fn stored_account(row: Option<Vec<u8>>) -> Result<Account, LedgerError> {
    row.map_or_else(|| Ok(Account::default()), |row| decode_account(&row).ok_or_else(damaged))
}

fn first_key<K: Key + Copy + for<'a> Value<SelfType<'a> = K> + 'static>(
    table: &impl ReadableTable<K, &'static [u8]>,
) -> Result<Option<K>, StorageError> {
    Ok(table.first()?.map(|(key, _)| key.value()))
}

fn first_row(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
    Ok(table.first()?.map(|(key, row)| (key.value(), row.value().to_vec())))
}

fn sinks_of(table: &impl ReadableTable<(NameId, u64, u64), &'static [u8]>) -> Result<Vec<NameId>, StorageError> {
    let mut sinks = Vec::new();
    let mut from = 0;
    while let Some(row) = table.range((from, 0, 0)..)?.next() {
        let sink = row?.0.value().0;
        sinks.push(sink);
        let Some(next) = sink.checked_add(1) else { break };
        from = next;
    }
    Ok(sinks)
}

fn last_serial(read: &ReadTransaction) -> Result<u64, LedgerError> {
    let table = read.open_table(SETTLED)?;
    let mut last = 0;
    for sink in sinks_of(&table)? {
        if let Some(row) = table.range((sink, 0, 0)..=(sink, u64::MAX, u64::MAX))?.next_back() {
            last = last.max(row?.0.value().2);
        }
    }
    Ok(last)
}

/// The parts of `events`, each with the first number of its chunk.
fn chunks(events: &SettledEvents) -> Vec<(u64, SettledEvents)> {
    let mut parts: Vec<(u64, SettledEvents)> = Vec::new();
    for range in &events.ranges {
        let mut at = range.start;
        while at < range.end {
            let base = at - at % CHUNK_EVENTS;
            let end = range.end.min(base + CHUNK_EVENTS);
            match parts.last_mut().filter(|(known, _)| *known == base) {
                Some((_, part)) => part.ranges.push(at..end),
                None => {
                    let ranges = vec![at..end];
                    let SettledEvents { at_millis, settlement, place, .. } = *events;
                    parts.push((base, SettledEvents { at_millis, settlement, place, ranges }));
                }
            }
            at = end;
        }
    }
    parts
}
