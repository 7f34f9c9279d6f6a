//! Limits of what operators see: traces, the access log, health.

use std::time::Duration;

use super::KIB;

/// Part of the requests and deliveries that is traced (default).
/// Why: of 1 M requests/hour it leaves 10,000 an hour, enough for percentiles and little enough to keep.
pub const TRACE_SAMPLE_RATIO: f64 = 0.01;

/// Spans that wait for the collector; beyond it they are dropped.
/// Why: about 2 MB; a collector that is away must cost neither memory nor a request.
pub const TRACE_QUEUE_SPANS_MAX: usize = 2048;

/// Time that one export of spans may take.
/// Why: the collector is beside the gateway or a region away; what takes longer is an outage.
pub const TRACE_EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a collector's answer that are read.
/// Why: it says how many spans it refused, and why; the rest is of no use.
pub const TRACE_ANSWER_BYTES_MAX: usize = 64 * KIB;

/// Lines of the access log that wait for standard output; beyond it they are dropped and counted.
/// Why: a second of 8,000 requests; whoever does not read the output must not stop the gateway.
pub const ACCESS_LOG_LINES_MAX: usize = 8192;

/// Bytes of a path, a user agent or another text of the client in one line of the access log, as they arrived.
/// Why: with the three bytes that an escaped one takes, a line stays under the 4 KiB that one write to a pipe keeps whole.
pub const ACCESS_LOG_TEXT_BYTES_MAX: usize = 256;

/// Time that the last spans and lines of the access log are given when the gateway stops.
/// Why: well within the grace that supervisors give after `SIGTERM`.
pub const TELEMETRY_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time that `lakegate health` waits for an answer.
/// Why: a probe's usual period is 10 s or more; a gateway that takes longer to say that it is well is not.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that `lakegate health` reads.
/// Why: all reasons together take a few KiB.
pub const HEALTH_ANSWER_BYTES_MAX: usize = 64 * KIB;

// ---- the repair of dead letters --------------------------------------------------------------------------------------

/// Operations of one patch.
/// Why: each reads the event anew; a repair has a handful.
pub const PATCH_OPERATIONS_MAX: usize = 100;
