//! Traces for an OpenTelemetry collector (OTLP over HTTP): a span for each sampled request and each sampled delivery.
//!
//! A span is created when its request or delivery is over, from times that are measured anyway, so that a request carries no
//! span. Without a configured collector, nothing is done. If a client sends `traceparent` (W3C Trace Context), the request is
//! part of the client's trace, and the client's sampling decision counts. Spans wait in a bounded queue and are dropped if the
//! collector is away.

use std::{fmt, pin::Pin, time::Duration, time::SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, Response};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Span, SpanKind, Status, TraceId, Tracer, TracerProvider},
};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use prometheus_client::metrics::counter::Counter;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::runtime::Handle;

use crate::{
    config::TelemetryConfig,
    limits::{TELEMETRY_CLOSE_TIMEOUT, TRACE_ANSWER_BYTES_MAX, TRACE_EXPORT_TIMEOUT, TRACE_QUEUE_SPANS_MAX},
};

/// Creates spans, or does nothing.
#[derive(Clone, Default)]
pub struct Traces(Option<Tracing>);

#[derive(Clone)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Traces(on)" } else { "Traces(off)" })
    }
}

/// An answered request.
#[derive(Debug)]
pub struct RequestSpan<'a> {
    /// Its method.
    pub method: &'static str,
    /// The route's pattern.
    pub route: &'static str,
    /// Its id.
    pub request_id: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// A batch given to the sink, or a call to the stream.
#[derive(Debug)]
pub struct DeliverySpan<'a> {
    /// Name of the sink.
    pub sink: &'a str,
    /// Events in it.
    pub events: usize,
    /// Bytes of those events.
    pub bytes: usize,
    /// Why some of it was not taken, if so.
    pub failing: Option<&'a str>,
    /// Its duration; it ended now.
    pub took: Duration,
}

impl Traces {
    /// Starts as configured. Runs its client on the current runtime; `failures` counts exports that the collector did not
    /// take.
    ///
    /// # Errors
    /// If the exporter cannot be created, for example without any certificate authority.
    pub fn start(config: &TelemetryConfig, failures: Counter) -> Result<Self, String> {
        let base = config.otlp_endpoint.trim_end_matches('/');
        if base.is_empty() {
            return Ok(Self::default());
        }
        let wrong = |error: &dyn fmt::Display| format!("telemetry.otlp_endpoint: {error}");
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(base.starts_with("https:"), failures).map_err(|error| wrong(&error))?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{base}/v1/traces"))
            .with_timeout(TRACE_EXPORT_TIMEOUT)
            .build()
            .map_err(|error| wrong(&error))?;
        let queue = BatchConfigBuilder::default().with_max_queue_size(TRACE_QUEUE_SPANS_MAX).build();
        let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        // `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have priority.
        let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource = if named { resource } else { resource.with_service_name("lakegate") };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_sample_ratio))))
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("lakegate");
        Ok(Self(Some(Tracing { provider, tracer })))
    }

    /// The trace context in a request's headers; `None` if traces are off.
    #[must_use]
    pub fn parent(&self, headers: &HeaderMap) -> Option<Context> {
        self.0.as_ref()?;
        Some(TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers)))
    }

    /// Records the span of a request. Returns the id of its trace.
    pub fn request(&self, parent: Option<&Context>, span: &RequestSpan<'_>) -> Option<TraceId> {
        let Tracing { tracer, .. } = self.0.as_ref()?;
        let RequestSpan { method, route, request_id, status, started, took } = *span;
        let builder = tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_start_time(started)
            .with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", route),
                KeyValue::new("http.response.status_code", i64::from(status)),
                KeyValue::new("lakegate.request_id", request_id.to_owned()),
            ]);
        let mut span = tracer.build_with_context(builder, parent.unwrap_or(&Context::new()));
        if status >= 500 {
            span.set_status(Status::error(status.to_string()));
        }
        span.end_with_timestamp(started + took);
        Some(span.span_context().trace_id())
    }

    /// Records the span of a delivery.
    pub fn delivery(&self, span: &DeliverySpan<'_>) {
        let Some(Tracing { tracer, .. }) = &self.0 else { return };
        let DeliverySpan { sink, events, bytes, failing, took } = *span;
        let ended = SystemTime::now();
        let builder = tracer
            .span_builder(format!("send {sink}"))
            .with_kind(SpanKind::Producer)
            .with_start_time(ended - took)
            .with_attributes([
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.batch.message_count", events as i64),
                KeyValue::new("lakegate.sink", sink.to_owned()),
                KeyValue::new("lakegate.batch_bytes", bytes as i64),
            ]);
        let mut span = tracer.build_with_context(builder, &Context::new());
        if let Some(reason) = failing {
            span.set_status(Status::error(reason.to_owned()));
        }
        span.end_with_timestamp(ended);
    }

    /// Sends the queued spans, within [`TELEMETRY_CLOSE_TIMEOUT`]. Blocks.
    pub fn close(&self) {
        if let Some(Tracing { provider, .. }) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(TELEMETRY_CLOSE_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans were not taken");
        }
    }
}

/// HTTP client for the collector. The exporter's own thread calls it and has no runtime, so the gateway's runtime does the
/// work.
struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    failures: Counter,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    fn new(is_https: bool, failures: Counter) -> Result<Self, HttpError> {
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions()?;
        let tls = if is_https { tls.with_native_roots()? } else { tls.with_root_certificates(RootCertStore::empty()) };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, runtime: Handle::current(), failures })
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
                let body = Limited::new(body, TRACE_ANSWER_BYTES_MAX).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            };
            tokio::time::timeout(TRACE_EXPORT_TIMEOUT, ask).await?
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
