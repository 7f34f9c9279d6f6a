//! Apache Kafka: the topic of an event, the place of a key, the headers, and the producer (librdkafka), which is idempotent and
//! reports each record.
//!
//! `topics`: the topic of an event · `hash`: the place of a key · `headers`: CloudEvents · `settings`: how to deliver ·
//! `client`: the stream · `producer`: the configuration of librdkafka · `reports`: the report of each record · `token`: OAUTHBEARER

#[cfg(feature = "kafka")]
mod client;
mod hash;
mod headers;
#[cfg(feature = "kafka")]
mod producer;
#[cfg(feature = "kafka")]
mod reports;
mod settings;
#[cfg(feature = "kafka")]
mod setup_error;
#[cfg(feature = "kafka")]
mod token;
mod topics;

#[cfg(feature = "kafka")]
pub use client::KafkaStream;
pub use hash::{murmur2, place_of};
pub use headers::{read_headers, write_headers};
pub use settings::settings;
#[cfg(feature = "kafka")]
pub use setup_error::SetupError;
pub use topics::Topics;

#[cfg(feature = "kafka")]
use super::stream::{Answer, MapNeed, ShardMap, ShardsUnknown, Stream, StreamFuture, StreamRecord};

#[cfg(feature = "kafka")]
impl Stream for KafkaStream {
    fn name(&self) -> &str {
        self.name()
    }

    fn put<'a>(&'a self, records: &'a [StreamRecord]) -> StreamFuture<'a, Answer> {
        Box::pin(self.put(records))
    }

    fn shards(&self) -> StreamFuture<'_, Result<ShardMap, ShardsUnknown>> {
        Box::pin(self.partitions())
    }

    fn map_need(&self) -> MapNeed {
        self.map_need()
    }
}
