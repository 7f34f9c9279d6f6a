//! From the spool to the sink: read, deliver, move the cursor, unlink.
//!
//! ```text
//! batches   for the lake: one range after the other; a failed partition is retried until its records are settled
//! stream    for Kinesis and Firehose: many calls in flight, each record on its own, shard by shard
//! journal   for both: what is settled beyond the cursor, and which ranges were begun
//! ```
//!
//! In both modes the result of each record decides: only failed records are sent again, until the sink stores them or refuses
//! them permanently. No record is given up. A failure delays only its own partition, shard, record or disk block, because each
//! has its own pauses; the rest continues.

mod batches;
mod journal;
mod shared;
mod stream;
#[cfg(test)]
mod test_support;

pub use batches::{BatchBounds, BatchDeliverer};
pub use shared::{Shared, SinkState};
pub use stream::{EventFormat, KeySource, StreamDeliverer, StreamFormat};

use tokio::sync::watch;

/// One of the two delivery modes.
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
