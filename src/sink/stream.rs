//! What the streams have in common: records, their packing, the shards, and the answer to one call.
//!
//! The flow (`deliver/stream.rs`) decides which records go into which call, and when a record is sent again. A stream makes the
//! call ([`Stream`]), and says what it counts and bounds by itself ([`StreamRules`]).
//!
//! `entry`, `record`, `kpl`: the records · `place`, `shards`: who takes them · `answer`: the response · `settings`: how to deliver ·
//! `read_back`: the events of records that were read back

use std::{future::Future, pin::Pin};

mod answer;
mod entry;
mod kpl;
mod place;
mod read_back;
mod record;
mod settings;
mod shards;

pub use answer::{Answer, RecordResult};
pub use entry::Entry;
pub use place::{HashKey, HashRange};
pub use read_back::{EventCounter, EventsByMinute, MinuteOfStream, TooManyEvents};
pub use record::{Packing, RecordBuilder, StreamRecord};
pub use settings::{KeyRules, StreamRules, StreamSettings};
pub use shards::{MapNeed, Shard, ShardMap, ShardsUnknown, place_in_topic, topic_of};

/// A future that a [`Stream`] returns.
pub type StreamFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream: a service that takes records in calls, or a script in tests.
pub trait Stream: Send + Sync {
    /// Its name, for logs.
    fn name(&self) -> &str;

    /// One call with these records, once, without retries.
    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer>;

    /// The open shards, or why they are not known.
    fn shards(&self) -> StreamFuture<'_, Result<ShardMap, ShardsUnknown>>;

    /// Whether the shards must be read again, because the last map lacks some that records need.
    fn map_need(&self) -> MapNeed {
        MapNeed::None
    }
}
