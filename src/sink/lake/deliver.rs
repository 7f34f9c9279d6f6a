//! The sink: sorts a batch into partitions; encodes and writes each one separately, a few at a time.

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use tokio::{
    sync::Mutex,
    task::{JoinSet, spawn_blocking},
};

use super::{
    LakeConfig, LakeError, TableFormat,
    adopt::{adopt, is_being_adopted, open_for_adoption},
    encode::{SeqRange, encode},
    partition::{Partition, group},
    store::Store,
    table::{Change, Operation, Table, TableError, TableFile},
    write::{UnwrittenRecords, Writer},
};
use crate::limits::LAKE_PARTITIONS_AT_ONCE;
use crate::{
    event::Record,
    sink::{Batch, Delivery, Sink},
};

/// The sink that writes the lake.
#[derive(Debug)]
pub struct LakeSink {
    writer: Arc<Writer>,
    /// `None` if the lake has no table.
    table: Option<Mutex<Option<Arc<Table>>>>,
}

impl LakeSink {
    /// Opens the lake, and creates its folder if it is missing. Removes unfinished files of an earlier crash. Sends no request
    /// to S3 yet, because the gateway must accept events even if the bucket is unreachable.
    ///
    /// This sink stores no identities: if its spool is copied, a delivery that a crash interrupts may be in the lake twice. A
    /// gateway calls [`LakeSink::open_with_memory`].
    ///
    /// # Errors
    /// [`LakeError`] if the root is invalid, or its folder cannot be created.
    pub fn open(config: &LakeConfig) -> Result<Self, LakeError> {
        Self::of(config, None)
    }

    /// Like [`LakeSink::open`], but stores the identities of its files in `folder`, which is created when needed.
    ///
    /// # Errors
    /// Like [`LakeSink::open`].
    pub fn open_with_memory(config: &LakeConfig, folder: &Path) -> Result<Self, LakeError> {
        Self::of(config, Some(folder))
    }

    fn of(config: &LakeConfig, folder: Option<&Path>) -> Result<Self, LakeError> {
        let table = (config.table == TableFormat::Delta).then(Mutex::default);
        Ok(Self { writer: Arc::new(Writer::open(config, folder)?), table })
    }

    /// The table, opened at the first delivery: until then the store may be unreachable. It is opened again if its log was
    /// removed.
    async fn table(&self) -> Result<Option<Arc<Table>>, String> {
        let Some(known) = &self.table else { return Ok(None) };
        let mut known = known.lock().await;
        let (store, opened) = (Arc::clone(self.writer.store()), known.take());
        let open = move || match opened.filter(|table| !table.is_gone()) {
            Some(table) => Ok(table),
            None => open_table(store).map(Arc::new),
        };
        let table = spawn_blocking(open).await.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())?;
        *known = Some(Arc::clone(&table));
        Ok(Some(table))
    }

    async fn deliver_batch(&self, batch: &Batch) -> Vec<Delivery> {
        let mut deliveries = vec![Delivery::Retry("the lake has not spoken of it".to_owned()); batch.records.len()];
        let range = SeqRange::of(batch);
        // Records share their bytes: this copies only handles, so that blocking threads can own them.
        let records: Arc<[Record]> = batch.records.as_slice().into();
        let grouping = Arc::clone(&records);
        let partitions = match spawn_blocking(move || group(&grouping)).await {
            Ok(partitions) => partitions,
            Err(panic) => {
                deliveries.fill(Delivery::Retry(format!("sorting into partitions: {panic}")));
                return deliveries;
            }
        };
        let table = match self.table().await {
            Ok(table) => table,
            Err(cause) => {
                deliveries.fill(Delivery::Retry(cause));
                return deliveries;
            }
        };
        let mut waiting = partitions.into_iter();
        let mut running = JoinSet::new();
        let mut written = Vec::new();
        loop {
            while running.len() < LAKE_PARTITIONS_AT_ONCE {
                let Some((partition, positions)) = waiting.next() else { break };
                let parts = PartitionParts { range, records: Arc::clone(&records), partition, positions };
                running.spawn(write(Arc::clone(&self.writer), table.clone(), parts));
            }
            match running.join_next().await {
                Some(Ok(partition)) => written.push(partition),
                // The records keep the prefilled Retry.
                Some(Err(panic)) => tracing::error!(%panic, "writing a partition of the lake"),
                None => break,
            }
        }
        let committed = commit(table, &mut written).await;
        for WrittenPartition { outcomes, needs_commit, .. } in written {
            for (position, delivery) in outcomes {
                deliveries[position] = match (&committed, delivery) {
                    (Err(cause), Delivery::Delivered) if needs_commit => Delivery::Retry(cause.clone()),
                    (_, delivery) => delivery,
                };
            }
        }
        assert_eq!(deliveries.len(), batch.records.len(), "one delivery per record");
        deliveries
    }
}

impl Sink for LakeSink {
    fn name(&self) -> &'static str {
        "lake"
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>> {
        Box::pin(self.deliver_batch(batch))
    }

    fn place_of(&self, record: &Record) -> String {
        Partition::of(record).to_string()
    }

    fn replays_by_range(&self) -> bool {
        true
    }
}

/// The records of one partition.
struct PartitionParts {
    range: SeqRange,
    records: Arc<[Record]>,
    partition: Partition,
    positions: Vec<usize>,
}

/// The result of writing one partition.
struct WrittenPartition {
    /// The result for each of its records.
    outcomes: Vec<(usize, Delivery)>,
    /// Files that the table must have before its records count as delivered.
    files: Vec<TableFile>,
    /// Whether there are such files.
    needs_commit: bool,
}

/// Opens or creates the table. A lake of an earlier release is taken over first.
fn open_table(store: Arc<Store>) -> Result<Table, TableError> {
    let table = open_for_adoption(store)?;
    if is_being_adopted(&table) {
        let adopted = adopt(&table)?;
        tracing::info!(files = adopted.files, rows = adopted.rows, "the lake is a table now: its files are in the log");
    }
    Ok(table)
}

/// One commit for the files of all partitions.
async fn commit(table: Option<Arc<Table>>, written: &mut [WrittenPartition]) -> Result<(), String> {
    let Some(table) = table else { return Ok(()) };
    let mut change = Change::new(Operation::Write, true);
    for partition in written {
        partition.needs_commit = !partition.files.is_empty();
        change.add.append(&mut partition.files);
    }
    if change.add.is_empty() {
        return Ok(());
    }
    let committed = spawn_blocking(move || table.commit(&change)).await.map_err(|panic| panic.to_string())?;
    committed.map(drop).map_err(|error| error.to_string())
}

/// Encodes and writes one partition.
async fn write(writer: Arc<Writer>, table: Option<Arc<Table>>, parts: PartitionParts) -> WrittenPartition {
    let PartitionParts { range, records, partition, positions } = parts;
    let all = |delivery: Delivery| -> Vec<_> { positions.iter().map(|&position| (position, delivery.clone())).collect() };
    let none = |delivery: Delivery| WrittenPartition { outcomes: all(delivery), files: Vec::new(), needs_commit: false };
    let encoding = {
        let (records, positions) = (Arc::clone(&records), positions.clone());
        spawn_blocking(move || encode(&range, &records, &positions)).await
    };
    let encoded = match encoding {
        Ok(Ok(encoded)) => encoded,
        Ok(Err(error)) => return none(Delivery::Retry(format!("{partition}: encoding: {error}"))),
        Err(panic) => return none(Delivery::Retry(format!("{partition}: encoding: {panic}"))),
    };
    let mut written = none(Delivery::Delivered);
    if let Some(file) = encoded.file {
        // Records that the file can never hold are not retried, whether or not the file is written.
        let is_refused = |position: &usize| encoded.refused.binary_search_by_key(position, |(refused, _)| *refused).is_ok();
        let held = positions.iter().copied().filter(|position| !is_refused(position)).collect();
        let (statistics, file) = (encoded.statistics, file.into());
        let unwritten = UnwrittenRecords { range, partition: partition.clone(), records, positions: held, file, statistics };
        match writer.write(unwritten, table.as_ref()).await {
            Ok(files) => written.files = files,
            Err(cause) => written.outcomes = all(Delivery::Retry(format!("{partition}: {cause}"))),
        }
    }
    for (refused, reason) in encoded.refused {
        if let Ok(at) = written.outcomes.binary_search_by_key(&refused, |(position, _)| *position) {
            written.outcomes[at].1 = Delivery::Refused(reason);
        }
    }
    written
}
