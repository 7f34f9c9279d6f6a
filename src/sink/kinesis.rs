//! Amazon Kinesis: the place of a key, the body and the results of a PutRecords call, the shards; and how a stream is read back.
//!
//! `hash`: the place of a key · `body`: the request body · `results`: the response · `client`: the SDK · `settings`: how to deliver ·
//! `read`: the calls that read · `read_back`: the events of a stream

mod body;
mod client;
mod hash;
mod read;
mod read_back;
mod results;
mod settings;

pub use body::put_records_body;
pub use client::KinesisStream;
pub use hash::hash_key;
pub use read::{StreamSummary, Unreadable};
pub use read_back::{ReadBack, ReadProgress, read_back};
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
