//! Amazon Data Firehose, put to directly: the body and the results of a PutRecordBatch call. A delivery stream has no shards and
//! no keys: it is one lane, whose quota counts for all records.
//!
//! `body`: the request body · `results`: the response · `error`: the meaning of an error · `client`: the SDK ·
//! `settings`: how to deliver

mod body;
mod client;
mod error;
mod results;
mod settings;

pub use body::put_record_batch_body;
pub use client::DeliveryStream;
pub use settings::settings;

use super::stream::{Answer, ShardMap, ShardsUnknown, Stream, StreamFuture, StreamRecord};

impl Stream for DeliveryStream {
    fn name(&self) -> &str {
        self.name()
    }

    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer> {
        Box::pin(self.put(records))
    }

    fn shards(&self) -> StreamFuture<'_, Result<ShardMap, ShardsUnknown>> {
        Box::pin(self.look())
    }
}
