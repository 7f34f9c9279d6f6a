//! Amazon Kinesis: the place of a key, the body and the results of a PutRecords call, and the shards.
//!
//! `hash`: the place of a key · `body`: the request body · `results`: the response · `client`: the SDK · `settings`: how to deliver

mod body;
mod client;
mod hash;
mod results;
mod settings;

pub use body::put_records_body;
pub use client::KinesisStream;
pub use hash::hash_key;
pub use settings::settings;

use super::stream::{Answer, ShardMap, ShardsUnknown, Stream, StreamFuture, StreamRecord};

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
