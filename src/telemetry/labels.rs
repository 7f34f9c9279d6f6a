//! The labels of the metrics.

use std::sync::{Arc, OnceLock};

use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter};

/// The outcomes as labels.
pub(super) const OUTCOMES: [&str; 4] = ["accepted", "duplicate", "rejected", "retry"];

/// Labels of the count of events.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SourceOutcome {
    /// Name of the key.
    pub source: Arc<str>,
    /// `accepted`, `duplicate`, `rejected` or `retry`.
    pub outcome: &'static str,
}

/// Counter of a key's accepted events, cached after the first lookup, because nearly all events are counted there.
#[derive(Debug, Default)]
pub struct AcceptedEvents(pub(super) OnceLock<Counter>);

/// Label of metrics by key.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SourceLabel {
    /// Name of the key.
    pub source: Arc<str>,
}

/// Label of the count of replayed events.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Replayed {
    /// `accepted`, `duplicate`, `rejected` or `retry`.
    pub outcome: &'static str,
}

/// Labels of the count of refused requests; bounded by the number of keys and the number of codes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RefusedRequest {
    /// Name of the key; `-` without a valid one.
    pub source: Arc<str>,
    /// Code of the answer.
    pub code: &'static str,
}

/// A stable code.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Code {
    /// See `outcome.rs` and `http/problem.rs`.
    pub code: &'static str,
}

/// Labels of the count of requests.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RouteStatus {
    /// The route's pattern, never the client's path.
    pub(super) route: &'static str,
    /// The HTTP status code.
    pub(super) status: u16,
}

/// Routes that are asked every few seconds by probes, scrapes, `lakegate top` and the console: they are not logged, and are left out of the number of
/// requests.
pub const PROBE_ROUTES: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/admin/overview", "/admin/fleet"];

/// Accepted events.
pub(super) const USUAL_REQUEST: RouteStatus = RouteStatus { route: "/v1/events", status: 202 };
