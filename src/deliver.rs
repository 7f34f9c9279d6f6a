//! From the spool to the sink: read, deliver, move the cursor, unlink.
//!
//! ```text
//! batches   for the lake: one stretch after the other; what a partition owes of each is repeated until it is settled
//! stream    for Kinesis: many calls in flight, each record on its own, shard by shard
//! journal   for both: what is settled beyond the cursor, and which stretches were begun
//! ```
//!
//! In both each record's own result decides: what failed is sent again, and only that, until the sink has it or refuses
//! it for good. Nothing is given up. What fails holds up itself alone: a partition, a shard, a record, a block of the disk
//! each have their own pauses, and the rest goes on.

mod batches;
mod journal;
mod shared;
mod stream;
#[cfg(test)]
mod test_support;

pub use batches::{BatchBounds, BatchDeliverer};
pub use shared::{Shared, SinkState};
pub use stream::{EventFormat, StreamDeliverer, StreamFormat, StreamSettings};

use tokio::sync::watch;

/// Either way of delivering.
pub enum Deliverer {
    /// In batches.
    Batches(Box<BatchDeliverer>),
    /// To a stream.
    Stream(Box<StreamDeliverer>),
}

impl Deliverer {
    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        match self {
            Self::Batches(deliverer) => deliverer.run(stopping).await,
            Self::Stream(deliverer) => deliverer.run(stopping).await,
        }
    }
}
