//! Amazon Kinesis: the format of a record, its shard, and one PutRecords call.
//!
//! The flow (`deliver/stream.rs`) decides which records go into which call, and when a record is sent again.
//!
//! `hash` and `shards`: the shard of a key · `entry`, `record`, `kpl`: the records · `body`: the request body · `call`,
//! `results`: the response · `client`: the SDK

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

/// A future that a [`Stream`] returns.
pub type StreamFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream with shards: Kinesis, or a script in tests.
pub trait Stream: Send + Sync {
    /// Its name, for logs.
    fn name(&self) -> &str;

    /// One call with these records, once, without retries.
    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer>;

    /// The open shards, or why they are not known.
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
