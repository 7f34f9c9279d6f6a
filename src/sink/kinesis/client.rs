//! The AWS SDK, configured to make single calls and to report the result: without its retries, with our time-outs.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_kinesis::{
    Client,
    config::{
        BehaviorVersion, ConfigBag, Intercept, Region, RuntimeComponents, StalledStreamProtectionConfig,
        interceptors::BeforeDeserializationInterceptorContextMut, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Limited};

use super::{
    body::put_records_body,
    call::{Answer, read_service_error},
    hash::HashRange,
    record::StreamRecord,
    results::read_results,
    shards::{Shard, ShardMap, ShardsUnknown},
};
use crate::{
    config::KinesisConfig,
    limits::{KINESIS_ANSWER_BYTES_MAX, KINESIS_CONNECT_TIMEOUT, KINESIS_IDLE_TIMEOUT, KINESIS_SHARDS_MAX},
};

/// A stream, by name or ARN, and its client.
#[derive(Clone, Debug)]
pub struct KinesisStream {
    client: Client,
    stream: String,
    call_timeout: Duration,
}

impl KinesisStream {
    /// The stream `stream` with the settings of `config`; missing credentials and region come from the SDK's usual chain. Sends
    /// nothing yet.
    pub async fn connect(config: &KinesisConfig, stream: &str) -> Self {
        let http =
            Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).pool_idle_timeout(KINESIS_IDLE_TIMEOUT).build_https();
        let call_timeout = Duration::from_millis(config.call_timeout_ms);
        let timeouts =
            TimeoutConfig::builder().connect_timeout(KINESIS_CONNECT_TIMEOUT).operation_attempt_timeout(call_timeout).build();
        let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if !config.region.is_empty() {
            chain = chain.region(Region::new(config.region.clone()));
        }
        if !config.endpoint.is_empty() {
            chain = chain.endpoint_url(&config.endpoint);
        }
        let shared = chain.load().await;
        let config = aws_sdk_kinesis::config::Builder::from(&shared)
            // A retry of the whole call would store records again: the deliverer sends only failed records again.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), stream: stream.to_owned(), call_timeout }
    }

    /// Name or ARN of the stream.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.stream
    }

    fn arn_or_name(&self) -> (Option<String>, Option<String>) {
        let stream = Some(self.stream.clone());
        if self.stream.starts_with("arn:") { (stream, None) } else { (None, stream) }
    }

    /// Makes one PutRecords call, without retries.
    pub async fn put(&self, records: &[StreamRecord]) -> Answer {
        let (arn, name) = self.arn_or_name();
        let body = Bytes::from(put_records_body(&self.stream, records));
        // The SDK resolves the endpoint, signs, sends and parses errors; this module writes the records and reads the results.
        let results = GoodAnswer::default();
        let call = self.client.put_records().set_stream_arn(arn).set_stream_name(name).set_records(Some(Vec::new()));
        let call = call.customize().mutate_request(move |request| {
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = body.clone().into();
        });
        match call.interceptor(results.clone()).send().await {
            Ok(_) => match tokio::time::timeout(self.call_timeout, results.read()).await {
                Ok(Ok(body)) => read_results(records.len(), &body),
                Ok(Err(reason)) => Answer::Unknown(reason),
                Err(_) => Answer::Unknown("the answer did not end in time".into()),
            },
            Err(error) => read_error(&error),
        }
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

/// The body of a successful response, taken before the SDK reads it.
#[derive(Clone, Debug, Default)]
struct GoodAnswer(Arc<Mutex<Option<SdkBody>>>);

impl GoodAnswer {
    async fn read(&self) -> Result<Bytes, String> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let body = Limited::new(body.ok_or("there was no answer")?, KINESIS_ANSWER_BYTES_MAX).collect().await;
        body.map(Collected::to_bytes).map_err(|error| format!("the answer broke off: {error}"))
    }
}

impl Intercept for GoodAnswer {
    fn name(&self) -> &'static str {
        "GoodAnswer"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            // The SDK reads this empty result instead, and it is ignored.
            let body = std::mem::replace(response.body_mut(), SdkBody::from("{\"Records\":[]}"));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
        Ok(())
    }
}

fn read_error<E>(error: &SdkError<E>) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => Answer::Held(in_words(error)),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            // With status 2xx the service reported no error: the SDK could not read the body.
            let code = service.err().code().filter(|_| status >= 300);
            read_service_error(code, status, service.err().message().unwrap_or_default())
        }
        SdkError::DispatchFailure(dispatch) => {
            let has_no_connection = dispatch.as_connector_error().is_some_and(|error| error.is_timeout() || is_connect(error));
            let met_the_network = dispatch.is_io() || causes(error).any(<dyn std::error::Error>::is::<hyper::Error>);
            match (has_no_connection, met_the_network) {
                (true, _) => Answer::Refused(in_words(error)),
                (false, true) => Answer::Unknown(in_words(error)),
                // The request was not sent: no credentials, no region.
                (false, false) => Answer::Held(in_words(error)),
            }
        }
        _ => Answer::Unknown(in_words(error)),
    }
}

/// Whether no connection could be made. The connector's only own time-out is that of connecting.
fn is_connect(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper_util::client::legacy::Error::is_connect))
}

fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The error with its causes, each once, without causes that only name layers of the SDK.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = String::new();
    for cause in causes(error).map(ToString::to_string) {
        let is_layer = matches!(&*cause, "dispatch failure" | "service error" | "io error" | "other" | "timeout");
        if !is_layer && !words.contains(&cause) {
            words.push_str(if words.is_empty() { "" } else { ": " });
            words.push_str(&cause);
        }
    }
    words
}
