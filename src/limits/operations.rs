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

/// Conditions of one filter.
/// Why: each is tried for each letter; there are twelve kinds.
pub const FILTER_CONDITIONS_MAX: usize = 64;

/// Bytes of one condition.
/// Why: a list of some names; patterns are tried step by step.
pub const FILTER_TEXT_BYTES_MAX: usize = 4 * KIB;

/// Groups that letters are counted in; those of further ones are counted together.
/// Why: some MB; names and pointers are what clients made up, and no person reads more.
pub const DEAD_LETTER_GROUPS_MAX: usize = 10_000;

/// Bytes at which the journal of repairs of one source is written anew, without what is of no use any more.
/// Why: some 50,000 repairs, a part of what the source's letters may have; it is read whole for each look at them.
pub const REPAIR_JOURNAL_BYTES_MAX: u64 = 16 * super::MIB as u64;

/// Letters that are replayed together.
/// Why: they share an fsync of the spool and one of the journal; what a crash interrupts is judged again.
pub const REPLAY_LETTERS: usize = 1_000;

/// Bytes of letters that are replayed together.
/// Why: held in memory, beside what requests hold; some largest events.
pub const REPLAY_BYTES: usize = 8 * super::MIB;

/// Letters that one answer shows whole.
/// Why: a person reads some; programs read the files.
pub const LETTERS_SHOWN_MAX: usize = 1_000;

/// Bytes of letters from elsewhere that are given to a gateway at one time.
/// Why: with their quotes escaped once more they stay below what a request's body may have.
pub const GIVEN_LETTERS_BYTES: usize = 2 * super::MIB;

/// Bytes of a gateway's answer that `lakegate dlq` reads.
/// Why: as many groups as there may be, with their longest texts.
pub const OPERATOR_ANSWER_BYTES_MAX: usize = 64 * super::MIB;
