//! Sinks: where records are delivered. A sink returns a result for every record of a batch.

mod aws;
pub mod firehose;
pub mod kafka;
pub mod kinesis;
pub mod lake;
pub mod stream;

use std::{future::Future, pin::Pin};

use uuid::Uuid;

use crate::event::Record;

/// Records of one contiguous range of the spool.
///
/// A batch that is sent again after a partial failure, or after a crash, keeps its identity (`spool_id`, `first_seq_inclusive`,
/// `end_seq_exclusive`) and holds only the undelivered records.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Identity of the spool, created with its folder: two gateways never name the same range.
    pub spool_id: Uuid,
    /// Sequence number of the first event of the range.
    pub first_seq_inclusive: u64,
    /// Sequence number after its last event.
    pub end_seq_exclusive: u64,
    /// The records to deliver, in the order of the spool.
    pub records: Vec<Record>,
}

/// The result for one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The sink has stored the record durably.
    Delivered,
    /// The record may or may not have arrived; send it again. The text is the reason, for the log.
    Retry(String),
    /// The sink will never accept the record; it becomes a dead letter with this reason.
    Refused(String),
}

/// A destination for batches.
pub trait Sink: Send + Sync {
    /// Name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Delivers `batch`: one [`Delivery`] per record, in order. Implementations prefill with [`Delivery::Retry`], so that a
    /// record without a result never counts as delivered. The call does not fail as a whole and does not wait to retry.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>>;

    /// The place of `record` in the sink: records with the same place succeed or fail together, and a failing place delays only
    /// itself. Empty if the sink has no places.
    fn place_of(&self, _record: &Record) -> String {
        String::new()
    }

    /// Whether a replay after a crash must repeat the same ranges, because the sink names its files by them. The deliverer then
    /// makes each range durable before its first delivery.
    fn replays_by_range(&self) -> bool;
}
