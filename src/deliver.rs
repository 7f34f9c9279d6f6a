//! From the spool to the sink: read, deliver, move the cursor, unlink.
//!
//! ```text
//! batches   for the lake: one range after the other; a failed partition is retried until its records are settled
//! stream    for Kinesis, Firehose and Kafka: many calls in flight, each record on its own, shard by shard
//! journal   for both: what is settled beyond the cursor, and which ranges were begun
//! dropping  for a sink that may lose its oldest events instead of filling the spool
//! ```
//!
//! Each sink has its own deliverer, cursor and journal, so that no sink waits for another.
//!
//! In both modes the result of each record decides: only failed records are sent again, until the sink stores them or refuses
//! them permanently. No record is given up. A failure delays only its own partition, shard, record or disk block, because each
//! has its own pauses; the rest continues.

mod batches;
mod dropping;
mod journal;
mod mode;
mod quota;
mod shared;
mod sink_names;
mod stream;
#[cfg(test)]
mod test_support;

pub use batches::{BatchBounds, BatchDeliverer};
pub use dropping::Dropping;
pub use mode::Mode;
pub use quota::SinkQuota;
pub use shared::{Shared, SinkState};
pub use sink_names::SinkNames;
pub use stream::{EventFormat, KeySource, StreamDeliverer, StreamFormat};

use tokio::sync::watch;

/// Delivers to one sink.
pub struct Deliverer {
    /// How it delivers.
    pub mode: Mode,
    /// Drops the oldest events if those that wait for the sink fill its part of the quota. `None` if it never drops any.
    pub dropping: Option<Dropping>,
}

impl Deliverer {
    /// Delivers until `stopping` is true and the spool is drained.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        let Self { mut mode, dropping } = self;
        let Some(dropping) = dropping else { return mode.run(stopping).await };
        loop {
            let (interrupt, interrupted) = watch::channel(false);
            let delivering = mode.run_until_interrupted(stopping.clone(), interrupted);
            tokio::pin!(delivering);
            tokio::select! {
                () = &mut delivering => return,
                () = dropping.when_due() => drop(interrupt.send_replace(true)),
            }
            // It ends after its current attempt. If it has drained the spool instead, it is opened once more, and ends at once.
            delivering.await;
            mode = dropping.drop_and_open().await;
        }
    }
}
