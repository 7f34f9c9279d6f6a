//! A delivery stream: PutRecordBatch and DescribeDeliveryStream through the AWS SDK.

use std::time::Duration;

use aws_sdk_firehose::{Client, error::ProvideErrorMetadata};
use bytes::Bytes;

use super::{body::put_record_batch_body, error::read_error, results::read_results};
use crate::{
    config::FirehoseConfig,
    sink::{
        aws::{Endpoint, GoodAnswer, connect, in_words, read_answer, set_body},
        stream::{Answer, ShardMap, ShardsUnknown, StreamRecord},
    },
};

/// The name of the only lane, in metrics and conditions.
const LANE: &str = "all";

/// A delivery stream, by name, and its client.
#[derive(Clone, Debug)]
pub struct DeliveryStream {
    client: Client,
    name: String,
    call_timeout: Duration,
}

impl DeliveryStream {
    /// The delivery stream `name` with the settings of `config`; missing credentials and region come from the SDK's usual chain.
    /// Sends nothing yet.
    pub async fn connect(config: &FirehoseConfig, name: &str) -> Self {
        let call_timeout = Duration::from_millis(config.call_timeout_ms);
        let endpoint = Endpoint { region: &config.region, url: &config.endpoint, call_timeout };
        Self { client: Client::new(&connect(&endpoint).await), name: name.to_owned(), call_timeout }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes one PutRecordBatch call, without retries.
    pub async fn put(&self, records: &[StreamRecord]) -> Answer {
        let body = Bytes::from(put_record_batch_body(&self.name, records));
        let answer = GoodAnswer::new("{\"FailedPutCount\":0,\"RequestResponses\":[]}");
        let call = self.client.put_record_batch().delivery_stream_name(&self.name).set_records(Some(Vec::new()));
        let call = call.customize().mutate_request(move |request| set_body(request, &body)).interceptor(answer.clone());
        let results = |body: &[u8]| read_results(records.len(), body);
        read_answer(call.send().await, &answer, self.call_timeout, results, read_error).await
    }

    /// Looks whether the delivery stream is there. It is one lane, also if looking is not allowed: the policy may allow putting
    /// only.
    ///
    /// # Errors
    /// Why it is not known to be there.
    pub async fn look(&self) -> Result<ShardMap, ShardsUnknown> {
        match self.client.describe_delivery_stream().delivery_stream_name(&self.name).send().await {
            Ok(_) => Ok(ShardMap::one(LANE)),
            Err(error) if error.code() == Some("AccessDeniedException") => Ok(ShardMap::one(LANE)),
            Err(error) => Err(ShardsUnknown { reason: in_words(&error), is_denied: false }),
        }
    }
}
