//! The OpenTelemetry collector: how it is reached, and as what the gateway presents itself. For traces and for metrics.

use std::{env, fmt, pin::Pin};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, Response, header::HeaderName, http::HeaderValue};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_sdk::Resource;
use percent_encoding::percent_decode_str;
use prometheus_client::metrics::counter::Counter;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::runtime::Handle;

use crate::limits::{COLLECTOR_ANSWER_BYTES_MAX, COLLECTOR_TIMEOUT};

/// What the gateway is. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have priority. Metrics of several gateways need an
/// `instance`, because otherwise they would be one series.
pub(super) fn resource(instance: Option<String>) -> Resource {
    let named = Resource::builder().build();
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if let Some(instance) = instance.filter(|_| named.get(&Key::new("service.instance.id")).is_none()) {
        resource = resource.with_attribute(KeyValue::new("service.instance.id", instance));
    }
    let has_name = env::var_os("OTEL_SERVICE_NAME").is_some();
    let resource = if has_name { resource } else { resource.with_service_name("lakegate") };
    resource.build()
}

/// The headers that the environment wants: `OTEL_EXPORTER_OTLP_METRICS_HEADERS`, otherwise `OTEL_EXPORTER_OTLP_HEADERS`. What is no
/// header is left out, as in the SDK, which reads them for traces.
pub(super) fn headers_for_metrics() -> HeaderMap {
    let named = env::var("OTEL_EXPORTER_OTLP_METRICS_HEADERS").or_else(|_| env::var("OTEL_EXPORTER_OTLP_HEADERS"));
    headers(&named.unwrap_or_default())
}

/// Headers as `name=value,name=value`, with the values escaped as in addresses.
fn headers(text: &str) -> HeaderMap {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some((name, value))
    };
    text.split(',').filter_map(header).collect()
}

/// HTTP client for the collector. The traces' own thread calls it and has no runtime, so the gateway's runtime does the work.
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    /// Counts requests that the collector did not take.
    failures: Counter,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    /// Does its work on the current runtime.
    pub(super) fn new(is_https: bool, failures: Counter) -> Result<Self, HttpError> {
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions()?;
        let tls = if is_https { tls.with_native_roots()? } else { tls.with_root_certificates(RootCertStore::empty()) };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, runtime: Handle::current(), failures })
    }

    /// Counts a request that the collector took only in part.
    pub(super) fn count_failure(&self) {
        self.failures.inc();
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answer<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let asked = self.runtime.spawn(async move {
            let ask = async {
                let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, COLLECTOR_ANSWER_BYTES_MAX).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            };
            tokio::time::timeout(COLLECTOR_TIMEOUT, ask).await?
        });
        Box::pin(async move {
            let answer = asked.await.map_err(HttpError::from).flatten();
            if !answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                self.failures.inc();
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_environment_has_them() {
        let read = headers("x-team=menus, authorization=Bearer%20s3cret,nothing,=x,empty=,bad name=1,y=%zz");
        let text = |name: &str| read.get(name).and_then(|value| value.to_str().ok());
        assert_eq!((text("x-team"), text("authorization"), text("y")), (Some("menus"), Some("Bearer s3cret"), Some("%zz")));
        assert_eq!(read.len(), 3);
        assert!(!format!("{read:?}").contains("s3cret"));
        assert!(headers("").is_empty());
    }
}
