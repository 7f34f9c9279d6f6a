//! A stream of Kinesis: PutRecords and ListShards through the AWS SDK.

use std::time::Duration;

use aws_sdk_kinesis::{Client, error::ProvideErrorMetadata};
use bytes::Bytes;

use super::{body::put_records_body, results::read_results};
use crate::{
    config::KinesisConfig,
    limits::KINESIS_SHARDS_MAX,
    sink::{
        aws::{Endpoint, GoodAnswer, connect, in_words, read_answer, read_service_error, set_body},
        stream::{Answer, HashRange, Shard, ShardMap, ShardsUnknown, StreamRecord},
    },
};

/// A stream, by name or ARN, and its client.
#[derive(Clone, Debug)]
pub struct KinesisStream {
    pub(super) client: Client,
    stream: String,
    call_timeout: Duration,
}

impl KinesisStream {
    /// The stream `stream` with the settings of `config`; missing credentials and region come from the SDK's usual chain. Sends
    /// nothing yet.
    pub async fn connect(config: &KinesisConfig, stream: &str) -> Self {
        let call_timeout = Duration::from_millis(config.call_timeout_ms);
        let endpoint = Endpoint { region: &config.region, url: &config.endpoint, call_timeout };
        Self { client: Client::new(&connect(&endpoint).await), stream: stream.to_owned(), call_timeout }
    }

    /// Name or ARN of the stream.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.stream
    }

    pub(super) fn arn_or_name(&self) -> (Option<String>, Option<String>) {
        let stream = Some(self.stream.clone());
        if self.stream.starts_with("arn:") { (stream, None) } else { (None, stream) }
    }

    /// Makes one PutRecords call, without retries.
    pub async fn put(&self, records: &[StreamRecord]) -> Answer {
        let (arn, name) = self.arn_or_name();
        let body = Bytes::from(put_records_body(&self.stream, records));
        let answer = GoodAnswer::new("{\"Records\":[]}");
        let call = self.client.put_records().set_stream_arn(arn).set_stream_name(name).set_records(Some(Vec::new()));
        let call = call.customize().mutate_request(move |request| set_body(request, &body)).interceptor(answer.clone());
        let results = |body: &[u8]| read_results(records.len(), body);
        read_answer(call.send().await, &answer, self.call_timeout, results, read_service_error).await
    }

    /// The stream's open shards.
    ///
    /// # Errors
    /// Why the shards are not known.
    pub async fn shards(&self) -> Result<ShardMap, ShardsUnknown> {
        let unknown = |reason: &str| ShardsUnknown { reason: reason.to_owned(), is_denied: false };
        let (arn, name) = self.arn_or_name();
        let mut call = self.client.list_shards().set_stream_arn(arn).set_stream_name(name);
        let mut open = Vec::new();
        loop {
            let page = call.send().await.map_err(|error| ShardsUnknown {
                reason: in_words(&error),
                is_denied: error.code() == Some("AccessDeniedException"),
            })?;
            for shard in page.shards() {
                let is_closed = shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some());
                if let (Some(range), false) = (shard.hash_key_range(), is_closed) {
                    let (first, last) = (range.starting_hash_key().parse(), range.ending_hash_key().parse());
                    let (Ok(first), Ok(last)) = (first, last) else { return Err(unknown("a shard's hash keys are no numbers")) };
                    open.push(Shard { id: shard.shard_id().to_owned(), range: HashRange { first, last } });
                }
            }
            if open.len() > KINESIS_SHARDS_MAX {
                return Ok(ShardMap::unknown());
            }
            match page.next_token() {
                // The token identifies the stream; do not name the stream too.
                Some(token) => call = self.client.list_shards().next_token(token),
                None => break,
            }
        }
        ShardMap::new(open).ok_or_else(|| unknown("the open shards do not own every hash key once: a reshard goes on"))
    }
}
