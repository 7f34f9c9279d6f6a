//! What gateways do at the moment, in figures: for `lakegate top`, and for the console.
//!
//! ```text
//! /metrics and /readyz of a gateway, polled twice ─▶ Watched ─▶ Figures: rates, gauges, quantiles ─▶ Report: one document
//! ```
//!
//! Rates are the differences between two polls. So a gateway that nobody watches does nothing for it. `lakegate top` and the fleet
//! of the console ask over HTTP ([`ask`]); the console asks its own gateway without a detour.

mod ask;
mod figures;
mod report;
mod watched;

pub(crate) use ask::ask;
#[cfg(test)]
pub(crate) use report::ProcessReport;
pub(crate) use report::{CodeReport, GatewayReport, KeyReport, LATENCIES, Report, ShardReport, sort_by_number};
pub(crate) use watched::{Polled, Readiness, Reason, Watched};
