//! `[telemetry]`: the log, the access log, traces, and where metrics are sent.

use hyper::http::Uri;
use serde::{Deserialize, Serialize};

use crate::limits;

/// `[telemetry]`
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The log filter, in the syntax of tracing's `EnvFilter`: a level, or levels per module.
    pub log_filter: String,
    /// The log format.
    pub log_format: LogFormat,
    /// One line of JSON for each request, on standard output.
    pub access_log: bool,
    /// OpenTelemetry collector for traces and metrics (OTLP, HTTP/protobuf). Empty: neither.
    pub otlp_endpoint: String,
    /// Whether that collector is sent metrics beside the traces.
    pub otlp_metrics: bool,
    /// Seconds between two exports of metrics to the collector.
    pub metrics_interval_seconds: u64,
    /// Fraction of the requests and deliveries that is traced, 0 to 1, unless the sender's `traceparent` decides.
    pub trace_sample_ratio: f64,
    /// Namespace of the metrics that are written to standard output for Amazon CloudWatch (embedded metric format). Empty: none.
    pub emf_namespace: String,
    /// Value of their dimension `gateway`: the same for all gateways whose figures belong together.
    pub emf_gateway: String,
    /// Seconds between two of these lines.
    pub emf_interval_seconds: u64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_filter: "info".into(),
            log_format: LogFormat::Auto,
            access_log: false,
            otlp_endpoint: String::new(),
            otlp_metrics: true,
            metrics_interval_seconds: limits::METRICS_INTERVAL_SECONDS,
            trace_sample_ratio: limits::TRACE_SAMPLE_RATIO,
            emf_namespace: String::new(),
            emf_gateway: "lakegate".into(),
            emf_interval_seconds: limits::METRICS_INTERVAL_SECONDS,
        }
    }
}

impl TelemetryConfig {
    /// Validates the section beyond its types.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, reason: &str| Err((format!("telemetry.{key}"), reason.to_owned()));
        if !(0.0..=1.0).contains(&self.trace_sample_ratio) {
            return wrong("trace_sample_ratio", &format!("found {}; 0 to 1 is allowed", self.trace_sample_ratio));
        }
        let most = limits::METRICS_INTERVAL_SECONDS_MAX;
        let intervals =
            [("metrics_interval_seconds", self.metrics_interval_seconds), ("emf_interval_seconds", self.emf_interval_seconds)];
        for (key, found) in intervals {
            if !(1..=most).contains(&found) {
                return wrong(key, &format!("found {found}; 1 to {most} is allowed"));
            }
        }
        // What CloudWatch takes as a namespace; it takes more as a value, but that is a name too.
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#' | ':');
        for (key, found) in [("emf_namespace", &self.emf_namespace), ("emf_gateway", &self.emf_gateway)] {
            if found.len() > limits::EMF_NAME_BYTES_MAX || !found.chars().all(is_in_name) || found.starts_with(':') {
                let allowed = "letters, digits and . - _ / # : are allowed, 255 at most, and no : at the start";
                return wrong(key, &format!("found {found:?}; {allowed}"));
            }
        }
        if self.emf_gateway.is_empty() {
            return wrong("emf_gateway", "found \"\"; a name is needed");
        }
        if self.emf_namespace.starts_with("AWS/") {
            return wrong("emf_namespace", "found a namespace of AWS itself; another one than AWS/… is needed");
        }
        // The error does not repeat the value: it may be a misplaced password.
        let is_base = |uri: Uri| {
            let bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && uri.query().is_none();
            bare && matches!(uri.scheme_str(), Some("http" | "https"))
        };
        if !self.otlp_endpoint.is_empty() && !self.otlp_endpoint.parse().is_ok_and(is_base) {
            return wrong(
                "otlp_endpoint",
                "found a text that is none; http://host:4318 or https://host:4318 is allowed, and no password in it: \
                 headers come from OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
        Ok(())
    }
}

/// The log format.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}
