//! Traces for an OpenTelemetry collector (OTLP over HTTP): a span for each sampled request and each sampled delivery.
//!
//! A span is created when its request or delivery is over, from times that are measured anyway, so that a request carries no
//! span. Without a configured collector, nothing is done. If a client sends `traceparent` (W3C Trace Context), the request is
//! part of the client's trace, and the client's sampling decision counts. Spans wait in a bounded queue and are dropped if the
//! collector is away.

use std::{fmt, time::Duration, time::SystemTime};

use hyper::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Span, SpanKind, Status, TraceId, Tracer, TracerProvider},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use prometheus_client::metrics::counter::Counter;

use super::collector::{Collector, resource};
use crate::{
    config::TelemetryConfig,
    limits::{COLLECTOR_TIMEOUT, TELEMETRY_CLOSE_TIMEOUT, TRACE_QUEUE_SPANS_MAX},
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
            .with_timeout(COLLECTOR_TIMEOUT)
            .build()
            .map_err(|error| wrong(&error))?;
        let queue = BatchConfigBuilder::default().with_max_queue_size(TRACE_QUEUE_SPANS_MAX).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_sample_ratio))))
            .with_resource(resource(None))
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
