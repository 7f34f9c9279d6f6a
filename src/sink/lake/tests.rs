//! The lake's tests: writing, reading, views. Helpers for all of them are here.

mod backup;
mod check;
mod columns;
mod damage;
mod delivery;
mod erase;
mod lives;
mod looking;
mod merge;
mod minutes;
mod near;
mod places;
mod queries;
mod removed;
mod typed;
mod upkeep;
mod views;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Change, Filters, Lake, LakeConfig, LakeSink, Operation, SpoolRange, Table, TableFile, TableFormat};
use crate::{
    event::{CreatedAt, Envelope, EventName, Record},
    sink::{Batch, Delivery, Sink},
};

/// 2026-11-21 00:00 UTC.
const NOW: i64 = 1_795_219_200_000;
const DAY: i64 = 86_400_000;

/// A lake in a temporary folder.
struct TestLake {
    folder: TempDir,
    sink: LakeSink,
    table: TableFormat,
}

impl TestLake {
    fn new() -> Self {
        Self::with(TableFormat::Delta)
    }

    /// Without a log: as gateways up to 2026-11 wrote it.
    fn without_log() -> Self {
        Self::with(TableFormat::None)
    }

    fn with(table: TableFormat) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = LakeConfig { table, ..LakeConfig::at(folder.path().to_str().unwrap()) };
        let sink = LakeSink::open(&config).unwrap();
        Self { folder, sink, table }
    }

    fn config(&self) -> LakeConfig {
        LakeConfig { table: self.table, ..LakeConfig::at(self.root().to_str().unwrap()) }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn reader(&self) -> Lake {
        Lake::open_with(&self.config()).unwrap()
    }

    /// The table, as another process opens it.
    fn table(&self) -> Table {
        Table::open(&LakeConfig::at(self.root().to_str().unwrap())).unwrap().unwrap()
    }

    /// Delivers `records` as the range that begins at `first`; all of them must arrive.
    async fn write(&self, first: u64, records: Vec<Record>) {
        let batch = batch(first, records);
        let deliveries = self.sink.deliver(&batch).await;
        assert_eq!(deliveries, vec![Delivery::Delivered; batch.records.len()]);
    }

    /// Every file below the root that a query engine sees, sorted.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        files
    }

    /// The identities in the lake, repeated if they occur more than once, sorted.
    fn identities(&self) -> Vec<Uuid> {
        identities(&self.reader())
    }

    /// The same of all files in its folders, whether or not the table has them.
    fn identities_in_folders(&self) -> Vec<Uuid> {
        let config = LakeConfig { table: TableFormat::None, ..self.config() };
        identities(&Lake::open_with(&config).unwrap())
    }
}

fn identities(lake: &Lake) -> Vec<Uuid> {
    let mut identities = Vec::new();
    let export = lake.export(&Filters::default(), false, &mut |row| {
        identities.push(Uuid::parse_str(row.event_uuid).unwrap());
        Ok(())
    });
    assert_eq!(export.unwrap().left_out, []);
    identities.sort();
    identities
}

/// Replaces all files of the only partition by one with the same rows, as a compaction does, and removes the old ones.
fn merge_by_hand(lake: &TestLake, table: &Table) {
    let snapshot = table.known();
    let (partition, files) = snapshot.partitions().next().unwrap();
    let mut rows = Vec::new();
    for file in lake.files() {
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
        rows.extend(reader.build().unwrap().map(Result::unwrap));
    }
    let path = format!("{partition}/rewritten-1.parquet");
    let merged = File::create(lake.root().join(&path)).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(merged, rows[0].schema(), None).unwrap();
    rows.iter().for_each(|rows| writer.write(rows).unwrap());
    writer.close().unwrap();
    let mut change = Change::new(Operation::Optimize, false);
    change.remove = files.to_vec();
    change.add = vec![TableFile {
        bytes: lake.root().join(&path).metadata().unwrap().len(),
        path,
        ranges: vec![SpoolRange { identity: Uuid::from_u128(1), first_inclusive: 0, end_exclusive: 3 }],
        ..(*files[0]).clone()
    }];
    table.commit(&change).unwrap();
    files.iter().for_each(|file| std::fs::remove_file(lake.root().join(&file.path)).unwrap());
}

fn batch(first: u64, records: Vec<Record>) -> Batch {
    let end = first + records.len() as u64;
    Batch { spool_id: Uuid::from_u128(1), first_seq_inclusive: first, end_seq_exclusive: end, records }
}

/// An event's default envelope, which tests modify.
fn envelope(number: u128, name: &str) -> Envelope<'_> {
    Envelope {
        event_uuid: Uuid::from_u128(number),
        event_name: EventName::parse(name).unwrap(),
        schema_version: Some(1),
        created_at: created(NOW),
        received_millis: NOW + 250,
        source: "web",
        client_address: None,
        has_reserved_fields: false,
        names_its_version: false,
        dedup_unchecked: false,
        replayed: false,
        is_scoped: false,
        is_late: false,
    }
}

fn created(millis: i64) -> CreatedAt {
    CreatedAt { seconds: millis as f64 / 1e3, millis }
}

fn record(envelope: &Envelope<'_>, payload: &[u8]) -> Record {
    let mut buffer = Vec::new();
    envelope.encode(payload, &mut buffer);
    Record::decode(Bytes::from(buffer)).unwrap()
}

fn event(number: u128, name: &str) -> Record {
    record(&envelope(number, name), format!(r#"{{"number":{number}}}"#).as_bytes())
}

/// Received so many milliseconds after [`NOW`].
fn received(number: u128, name: &str, millis: i64) -> Record {
    record(&Envelope { received_millis: NOW + millis, ..envelope(number, name) }, b"{}")
}

fn event_at(number: u128, name: &str, millis: i64) -> Record {
    record(&Envelope { created_at: created(millis), ..envelope(number, name) }, b"{}")
}

fn uuids(numbers: impl IntoIterator<Item = u128>) -> Vec<Uuid> {
    numbers.into_iter().map(Uuid::from_u128).collect()
}
