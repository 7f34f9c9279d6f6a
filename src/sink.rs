//! Where records are delivered. A sink answers for every record of a batch, one by one.

pub mod kinesis;
pub mod lake;

use std::{future::Future, pin::Pin};

use uuid::Uuid;

use crate::event::Record;

/// Records of one contiguous stretch of the spool.
///
/// A batch that is sent again after a partial failure, or after a crash, keeps its identity (`spool_id`,
/// `first_seq_inclusive`, `end_seq_exclusive`) and holds only the records that are still owed.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Identity of the spool, made once with its folder: two gateways never name the same stretch.
    pub spool_id: Uuid,
    /// Sequence number of the first event of the stretch.
    pub first_seq_inclusive: u64,
    /// Sequence number after its last event.
    pub end_seq_exclusive: u64,
    /// What is to be delivered, in the order of the spool.
    pub records: Vec<Record>,
}

/// What became of one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The sink holds it durably.
    Delivered,
    /// It may or may not have arrived; send it again. The text says why, for the log.
    Retry(String),
    /// The sink will never take it; it goes to the dead letters with this reason.
    Refused(String),
}

/// A place that takes batches.
pub trait Sink: Send + Sync {
    /// Name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Delivers `batch`: one [`Delivery`] per record, in order. Implementations prefill with [`Delivery::Retry`], so
    /// that a record nobody spoke of is never taken for delivered. Does not fail as a whole and does not wait to retry.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>>;

    /// Where the sink would put `record`: what has one place shares a fate, and a place that fails holds up itself alone.
    /// Empty where it makes no difference.
    fn place_of(&self, _record: &Record) -> String {
        String::new()
    }

    /// Whether a replay after a crash must repeat the same stretches, because the sink names what it writes by them.
    /// The deliverer then makes each stretch durable before its first delivery.
    fn replays_by_range(&self) -> bool;
}
