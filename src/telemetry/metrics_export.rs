//! Metrics for an OpenTelemetry collector (OTLP over HTTP).
//!
//! The request is made of the text of `/metrics`. So the collector has the same metrics under the same names, and an event is
//! counted once. A counter is a monotonic sum since the start of the process, a gauge is a gauge, a histogram has the same
//! buckets, and the facts of an info are attributes of the resource. Units are those of the names: `s`, `By`.
//!
//! Every export has the whole, so one that fails is not repeated: the next one has its numbers.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use hyper::{HeaderMap, Request, Uri, header, http::HeaderValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_proto::tonic::{
    Attributes,
    collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
        Sum, metric::Data, number_data_point::Value,
    },
    resource::v1::Resource,
};
use prometheus_client::metrics::counter::Counter;
use prost::Message;

use super::{
    collector::{Collector, headers_for_metrics, resource},
    exposition::{Exposition, Labels, MetricFamily, MetricKind, Sample},
};
use crate::config::TelemetryConfig;

/// Sends metrics to the collector.
#[derive(Debug)]
pub struct MetricsExport {
    collector: Collector,
    to: Uri,
    headers: HeaderMap,
    resource: Resource,
    is_failing: AtomicBool,
}

impl MetricsExport {
    /// As configured; `None` without a collector. Runs its client on the current runtime. `instance` tells this gateway from
    /// others; `failures` counts exports that the collector did not take.
    ///
    /// # Errors
    /// If the client cannot be created, for example without any certificate authority.
    pub fn start(config: &TelemetryConfig, instance: Option<String>, failures: Counter) -> Result<Option<Self>, String> {
        let base = config.otlp_endpoint.trim_end_matches('/');
        if base.is_empty() || !config.otlp_metrics {
            return Ok(None);
        }
        let to = format!("{base}/v1/metrics").parse().map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
        let collector = Collector::new(base.starts_with("https:"), failures);
        let collector = collector.map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
        let resource = resource(instance);
        let attributes = resource.iter().map(|(key, value)| opentelemetry::KeyValue::new(key.clone(), value.clone()));
        let attributes = Attributes::from(attributes.collect::<Vec<_>>()).0;
        let resource = Resource { attributes, ..Resource::default() };
        Ok(Some(Self { collector, to, headers: headers_for_metrics(), resource, is_failing: AtomicBool::new(false) }))
    }

    /// Sends the metrics of an exposition. Takes at most [`COLLECTOR_TIMEOUT`](crate::limits::COLLECTOR_TIMEOUT); a failure is
    /// counted, and logged if it is the first one.
    pub async fn export(&self, exposition: &str) {
        let failed = match self.send(exposition).await {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.is_failing.swap(failed.is_some(), Ordering::Relaxed);
        match failed {
            Some(error) if !was_failing => tracing::warn!(
                error,
                to = %self.to,
                "the collector does not take metrics; telemetry.otlp_metrics = false sends it none, and counts nothing"
            ),
            None if was_failing => tracing::info!(to = %self.to, "the collector takes metrics again"),
            _ => {}
        }
    }

    async fn send(&self, exposition: &str) -> Result<(), HttpError> {
        let body = request(&Exposition::parse(exposition)?, &self.resource, SystemTime::now()).encode_to_vec();
        let mut request = Request::post(&self.to).body(body.into())?;
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let answer = self.collector.send_bytes(request).await?;
        if !answer.status().is_success() {
            return Err(format!("HTTP {}", answer.status().as_u16()).into());
        }
        // An empty answer has no partial success.
        let answer = ExportMetricsServiceResponse::decode(answer.into_body()).unwrap_or_default();
        match answer.partial_success.filter(|partial| partial.rejected_data_points > 0) {
            None => Ok(()),
            Some(partial) => {
                self.collector.count_failure();
                Err(format!("{} numbers were refused: {}", partial.rejected_data_points, partial.error_message).into())
            }
        }
    }
}

/// When the numbers are of.
#[derive(Clone, Copy)]
struct Times {
    start_nanos: u64,
    now_nanos: u64,
}

fn nanos(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

fn request(exposition: &Exposition, resource: &Resource, now: SystemTime) -> ExportMetricsServiceRequest {
    let started = exposition.value("process_start_time_seconds").unwrap_or_default();
    let started = Duration::try_from_secs_f64(started).unwrap_or_default();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let times = Times { start_nanos: nanos(started), now_nanos: nanos(now).max(nanos(started)) };
    let mut resource = resource.clone();
    let infos = exposition.families.iter().filter(|family| family.kind == MetricKind::Info);
    for (name, value) in infos.flat_map(|family| &family.samples).flat_map(|sample| &sample.labels) {
        // The version is there already, as `service.version`.
        if name != "version" {
            resource.attributes.push(attribute(name, value));
        }
    }
    let scope = InstrumentationScope {
        name: "lakegate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = exposition.families.iter().filter_map(|family| metric(family, times)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: Some(resource), scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// `None` for what is no number, and for a metric without samples.
fn metric(family: &MetricFamily, times: Times) -> Option<Metric> {
    let first = family.samples.first()?;
    let temporality = AggregationTemporality::Cumulative.into();
    let (name, data) = match family.kind {
        // With `_total`, as in the exposition.
        MetricKind::Counter => {
            let data_points = family.samples.iter().map(|sample| number(sample, times)).collect();
            (first.name.clone(), Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic: true }))
        }
        MetricKind::Gauge => {
            // A gauge has no start.
            let times = Times { start_nanos: 0, ..times };
            let data_points = family.samples.iter().map(|sample| number(sample, times)).collect();
            (family.name.clone(), Data::Gauge(Gauge { data_points }))
        }
        MetricKind::Histogram => {
            let data_points = histograms(family, times);
            (family.name.clone(), Data::Histogram(Histogram { data_points, aggregation_temporality: temporality }))
        }
        MetricKind::Info | MetricKind::Other => return None,
    };
    Some(Metric { unit: unit(&name).to_owned(), description: family.help.clone(), name, data: Some(data), ..Metric::default() })
}

/// The unit that a name says, as UCUM writes it. What is counted has none.
fn unit(name: &str) -> &'static str {
    match name.trim_end_matches("_total") {
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_bytes") => "By",
        _ => "",
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn attributes<'a>(labels: impl Iterator<Item = &'a (String, String)>) -> Vec<KeyValue> {
    labels.map(|(name, value)| attribute(name, value)).collect()
}

fn number(sample: &Sample, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(sample.labels.iter()),
        start_time_unix_nano: times.start_nanos,
        time_unix_nano: times.now_nanos,
        value: Some(sample.integer.map_or(Value::AsDouble(sample.value), Value::AsInt)),
        ..NumberDataPoint::default()
    }
}

/// A point for each combination of labels. The text has the observations up to each bound, OTLP those of each bucket.
fn histograms(family: &MetricFamily, times: Times) -> Vec<HistogramDataPoint> {
    let mut points: BTreeMap<Labels, HistogramDataPoint> = BTreeMap::new();
    for sample in &family.samples {
        let labels: Labels = sample.labels.iter().filter(|(name, _)| name != "le").cloned().collect();
        let point = points.entry(labels).or_insert_with_key(|labels| HistogramDataPoint {
            attributes: attributes(labels.iter()),
            start_time_unix_nano: times.start_nanos,
            time_unix_nano: times.now_nanos,
            ..HistogramDataPoint::default()
        });
        match sample.name.strip_prefix(&*family.name) {
            Some("_sum") => point.sum = Some(sample.value),
            Some("_count") => point.count = sample.value as u64,
            Some("_bucket") => {
                let below: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push((sample.value as u64).saturating_sub(below));
                let bound = sample.label("le").and_then(|le| le.parse::<f64>().ok());
                point.explicit_bounds.extend(bound.filter(|bound| bound.is_finite()));
            }
            _ => {}
        }
    }
    points.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn exported(metrics: &Metrics) -> (Exposition, Vec<Metric>) {
        let exposition = Exposition::parse(&metrics.exposition()).unwrap();
        let mut request = request(&exposition, &Resource::default(), SystemTime::now());
        (exposition, request.resource_metrics.remove(0).scope_metrics.remove(0).metrics)
    }

    fn find<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
        metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn each_kind_of_metric_is_the_same_kind_with_its_unit_and_start() {
        let metrics = Metrics::new();
        metrics.count_request("/v1/events", 202);
        metrics.connections.set(7);
        metrics.spool_oldest_seconds.set(1.5);
        [0.000_1, 0.3, 100.0].into_iter().for_each(|seconds| metrics.request_seconds.observe(seconds));
        metrics.delivery.of("lake").batch_bytes.observe(5000.0);
        let (exposition, exported) = exported(&metrics);
        // Only the info is not a metric.
        let with_samples = exposition.families.iter().filter(|family| !family.samples.is_empty()).count();
        assert_eq!(exported.len(), with_samples - 1);

        let Some(Data::Sum(sum)) = &find(&exported, "lakegate_requests_total").data else { panic!() };
        assert!(sum.is_monotonic && sum.aggregation_temporality == AggregationTemporality::Cumulative as i32);
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(Value::AsInt(1)));
        assert_eq!(point.attributes, [attribute("route", "/v1/events"), attribute("status", "202")]);
        let started = exposition.value("process_start_time_seconds").unwrap();
        assert!((point.start_time_unix_nano as f64 / 1e9 - started).abs() < 1e-3);
        assert!(point.time_unix_nano >= point.start_time_unix_nano);

        let gauge = find(&exported, "lakegate_connections");
        let Some(Data::Gauge(points)) = &gauge.data else { panic!() };
        assert_eq!((points.data_points[0].value, &*gauge.unit), (Some(Value::AsInt(7)), ""));
        assert!(!gauge.description.is_empty());
        let Some(Data::Gauge(points)) = &find(&exported, "lakegate_spool_oldest_seconds").data else { panic!() };
        assert_eq!(points.data_points[0].value, Some(Value::AsDouble(1.5)));

        let histogram = find(&exported, "lakegate_request_seconds");
        assert_eq!(histogram.unit, "s");
        let Some(Data::Histogram(points)) = &histogram.data else { panic!() };
        let point = &points.data_points[0];
        assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (3, 3));
        assert!((point.sum.unwrap() - 100.3001).abs() < 1e-9);
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!((point.bucket_counts[0], point.bucket_counts.last()), (1, Some(&1)));
        let of_sink = find(&exported, "lakegate_delivery_batch_bytes");
        let Some(Data::Histogram(points)) = &of_sink.data else { panic!() };
        assert_eq!((&points.data_points[0].attributes, &*of_sink.unit), (&vec![attribute("sink", "lake")], "By"));
    }
}
