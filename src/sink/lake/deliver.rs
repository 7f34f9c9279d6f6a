//! The sink: sorts a batch into partitions; encodes and writes each one separately, a few at a time.

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use tokio::task::{JoinSet, spawn_blocking};

use super::{
    LakeConfig, LakeError,
    encode::{SeqRange, encode},
    partition::{Partition, group},
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
        Ok(Self { writer: Arc::new(Writer::open(config, None)?) })
    }

    /// Like [`LakeSink::open`], but stores the identities of its files in `folder`, which is created when needed.
    ///
    /// # Errors
    /// Like [`LakeSink::open`].
    pub fn open_with_memory(config: &LakeConfig, folder: &Path) -> Result<Self, LakeError> {
        Ok(Self { writer: Arc::new(Writer::open(config, Some(folder))?) })
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
        let mut waiting = partitions.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < LAKE_PARTITIONS_AT_ONCE {
                let Some((partition, positions)) = waiting.next() else { break };
                running.spawn(write(Arc::clone(&self.writer), range, Arc::clone(&records), partition, positions));
            }
            match running.join_next().await {
                Some(Ok(outcomes)) => {
                    for (position, delivery) in outcomes {
                        deliveries[position] = delivery;
                    }
                }
                // The records keep the prefilled Retry.
                Some(Err(panic)) => tracing::error!(%panic, "writing a partition of the lake"),
                None => break,
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

/// Encodes and writes one partition; returns the result for each of its records.
async fn write(
    writer: Arc<Writer>,
    range: SeqRange,
    records: Arc<[Record]>,
    partition: Partition,
    positions: Vec<usize>,
) -> Vec<(usize, Delivery)> {
    let all = |delivery: Delivery| -> Vec<_> { positions.iter().map(|&position| (position, delivery.clone())).collect() };
    let encoding = {
        let (records, positions) = (Arc::clone(&records), positions.clone());
        spawn_blocking(move || encode(&range, &records, &positions)).await
    };
    let encoded = match encoding {
        Ok(Ok(encoded)) => encoded,
        Ok(Err(error)) => return all(Delivery::Retry(format!("{partition}: encoding: {error}"))),
        Err(panic) => return all(Delivery::Retry(format!("{partition}: encoding: {panic}"))),
    };
    let mut outcomes = all(Delivery::Delivered);
    if let Some(file) = encoded.file {
        // Records that the file can never hold are not retried, whether or not the file is written.
        let is_refused = |position: &usize| encoded.refused.binary_search_by_key(position, |(refused, _)| *refused).is_ok();
        let held = positions.iter().copied().filter(|position| !is_refused(position)).collect();
        let unwritten = UnwrittenRecords { range, partition: partition.clone(), records, positions: held, file: file.into() };
        if let Err(cause) = writer.write(unwritten).await {
            outcomes = all(Delivery::Retry(format!("{partition}: {cause}")));
        }
    }
    for (refused, reason) in encoded.refused {
        if let Ok(at) = outcomes.binary_search_by_key(&refused, |(position, _)| *position) {
            outcomes[at].1 = Delivery::Refused(reason);
        }
    }
    outcomes
}
