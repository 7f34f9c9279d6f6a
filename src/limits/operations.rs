//! Limits of what operators see: traces, the access log, health.

use std::time::Duration;

use super::units::KIB;

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

/// Lines of the log, and of the access log, that wait for their output; beyond it they are dropped and counted.
/// Why: a second of 8,000 requests; whoever does not read the output must not stop the gateway.
pub const LOG_LINES_MAX: usize = 8192;

/// Bytes of those lines.
/// Why: a usual line has 300 bytes; a queue of long ones must not become a leak.
pub const LOG_BYTES_MAX: usize = 4 * 1024 * KIB;

/// Time that one line may take to be written until its output counts as one that nobody reads.
/// Why: a shipper of logs that is restarted is back in less; whoever waits for an alert should not wait for much longer.
pub const LOG_STALLED_AFTER: Duration = Duration::from_secs(5);

/// First and longest pause between two tries to write a line to an output that is full.
/// Why: nobody waits for it but the next lines, and a second is soon enough once there is room.
pub const LOG_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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

/// A difference between the wall clock and the monotonic clock that is a jump.
/// Why: a time server slews what is smaller, or steps it once at the start; nobody sets a clock by hand for less.
pub const CLOCK_JUMP_MIN: Duration = Duration::from_secs(5);

/// Time without a jump after which the wall clock is believed again.
/// Why: longer than the usual interval of a scrape, so that every jump is seen.
pub const CLOCK_STEADY_AFTER: Duration = Duration::from_secs(120);

/// Places of one condition that are listed; those beyond it are logged only.
/// Why: a person reads some; a fault of the whole disk must not make a list of 40,000 partitions.
pub const CONDITION_PLACES_MAX: usize = 32;

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

/// Bytes of the letters that one answer shows.
/// Why: sixteen of the longest; they are read into a page or a pipe by a person who wants some.
pub const LETTERS_SHOWN_BYTES_MAX: usize = 16 * super::MIB;

/// Time that an operator has to read an answer that is written as it is read.
/// Why: on the gateway's own machine 16 MiB take a second; who reads more slowly keeps others from their turn.
pub const OPERATOR_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Time after which an operator who came while another one was answered is told to come back.
/// Why: a look at full dead letters takes about a second.
pub const OPERATOR_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Scrapes of the metrics that are answered at one time.
/// Why: two Prometheus servers and some people; each takes a text of a hundred KiB or, with thousands of keys, some MiB.
pub const SCRAPES_MAX: usize = 8;

/// Names in `admin.hosts`.
/// Why: each is looked at for each request; a gateway has a handful.
pub const ADMIN_HOSTS_MAX: usize = 64;

/// Bytes of letters from elsewhere that are given to a gateway at one time.
/// Why: with their quotes escaped once more they stay below what a request's body may have.
pub const GIVEN_LETTERS_BYTES: usize = 2 * super::MIB;

/// Bytes of a gateway's answer that `lakegate dead-letters` reads.
/// Why: as many groups as there may be, with their longest texts.
pub const OPERATOR_ANSWER_BYTES_MAX: usize = 64 * super::MIB;

/// Time that a gateway has to close once its disk failed or a part of it died.
/// Why: requests in flight are given 10 s, and nothing is drained; a supervisor's own patience (45 s in the unit) must not be
/// what ends it, because then nobody reads why.
pub const FAILED_STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Inodes that the file system should have free.
/// Why: every segment, every run of the dedup window and every file of the lake takes one. At one file a second these last for a
/// quarter of an hour; small file systems have some ten thousand in all.
pub const INODES_LEFT_MIN: u64 = 1_000;

/// Time for which refusals of one key and code are counted until they are logged together.
/// Why: soon enough for a person who reads the log, and a flood of refusals writes one line a minute.
pub const REFUSALS_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Keys and codes whose refusals are counted apart for the log.
/// Why: some keys times some codes; refusals without a key have ten codes at most, so nobody without a key can fill it.
pub const REFUSALS_MAX: usize = 512;
