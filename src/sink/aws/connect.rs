//! The AWS SDK, configured to make single calls and to report the result: without its retries, with our time-outs.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use crate::limits::{AWS_CONNECT_TIMEOUT, AWS_IDLE_TIMEOUT};

/// Where a service is, and how long it may take.
pub(in crate::sink) struct Endpoint<'a> {
    /// AWS region. Empty: from the environment, the profile, or the machine.
    pub(in crate::sink) region: &'a str,
    /// Endpoint other than AWS's own. Empty: AWS.
    pub(in crate::sink) url: &'a str,
    /// Time after which a call counts as unanswered.
    pub(in crate::sink) call_timeout: Duration,
}

/// The settings of a client; missing credentials and region come from the SDK's usual chain. Sends nothing to the service yet.
pub(in crate::sink) async fn connect(endpoint: &Endpoint<'_>) -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).pool_idle_timeout(AWS_IDLE_TIMEOUT).build_https();
    let timeouts =
        TimeoutConfig::builder().connect_timeout(AWS_CONNECT_TIMEOUT).operation_attempt_timeout(endpoint.call_timeout).build();
    let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if !endpoint.region.is_empty() {
        chain = chain.region(Region::new(endpoint.region.to_owned()));
    }
    if !endpoint.url.is_empty() {
        chain = chain.endpoint_url(endpoint.url);
    }
    // Only the service's client has these settings, not the clients that fetch the credentials.
    let client = chain.load().await.into_builder();
    client
        // A retry of the whole call would store records again: the deliverer sends only failed records again.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}
