//! Amazon Kinesis: what a record is, where it belongs, and one honest PutRecords call.
//!
//! Which records go into which call, and when a record is sent again, is decided by the flow (`deliver/stream.rs`).
//!
//! `hash` and `shards` where a key belongs · `entry`, `record`, `kpl` what is sent · `body` how · `call`, `results` what came of it · `client` the SDK

use std::{future::Future, pin::Pin};

mod body;
mod call;
mod client;
mod entry;
mod hash;
mod kpl;
mod record;
mod results;
mod shards;

pub use body::put_records_body;
pub use call::{Answer, RecordResult, read_service_error};
pub use client::KinesisStream;
pub use entry::Entry;
pub use hash::{HashKey, HashRange, hash_key};
pub use record::{Packing, RecordBuilder, StreamRecord};
pub use shards::{Shard, ShardMap, ShardsUnknown};

/// A future that a [`Stream`] answers with.
pub type StreamFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream with shards: Kinesis, or a script in tests.
pub trait Stream: Send + Sync {
    /// Its name, for logs.
    fn name(&self) -> &str;

    /// One call with these records, once, without retries.
    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer>;

    /// Its open shards, or why they are not known.
    fn shards(&self) -> StreamFuture<'_, Result<ShardMap, ShardsUnknown>>;
}

impl Stream for KinesisStream {
    fn name(&self) -> &str {
        self.name()
    }

    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer> {
        Box::pin(self.put(records))
    }

    fn shards(&self) -> StreamFuture<'_, Result<ShardMap, ShardsUnknown>> {
        Box::pin(self.shards())
    }
}
