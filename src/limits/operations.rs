//! Limits of operations: traces, the access log, health, the repair of dead letters.

use std::time::Duration;

use super::units::KIB;

/// Fraction of the requests and deliveries that is traced (default).
/// Why: of 1 M requests/hour it keeps 10,000 an hour, enough for percentiles and few enough to store.
pub const TRACE_SAMPLE_RATIO: f64 = 0.01;

/// Spans that wait for the collector; more are dropped.
/// Why: about 2 MB; a collector that is down must cost neither memory nor a request.
pub const TRACE_QUEUE_SPANS_MAX: usize = 2048;

/// Timeout of one export of spans or metrics.
/// Why: the collector is beside the gateway or a region away; a longer export is an outage.
pub const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes read of a collector's response.
/// Why: it says how many spans or metrics the collector refused, and why; the rest is not used.
pub const COLLECTOR_ANSWER_BYTES_MAX: usize = 64 * KIB;

/// Seconds between two exports of metrics, to a collector or as lines for CloudWatch (default).
/// Why: dashboards and alarms look at minutes; CloudWatch stores a minute as one point, and each export costs a scrape.
pub const METRICS_INTERVAL_SECONDS: u64 = 60;

/// Most seconds between two exports of metrics.
/// Why: an hour without a number is an hour in which no alarm rings.
pub const METRICS_INTERVAL_SECONDS_MAX: u64 = 3600;

/// Bytes of the namespace and of a dimension's value for CloudWatch.
/// Why: CloudWatch takes 255 characters of a namespace; a name is shorter than that.
pub const EMF_NAME_BYTES_MAX: usize = 255;

/// Values of one metric in one line for CloudWatch.
/// Why: CloudWatch takes 100; there are fewer sinks than that.
pub const EMF_VALUES_MAX: usize = 100;

/// Most seconds of headroom in a line for CloudWatch.
/// Why: JSON has no infinity, which the headroom is while nothing is received; an alarm needs a number, and 30 days are more than any
/// alarm waits for.
pub const EMF_SECONDS_MAX: f64 = 30.0 * 86_400.0;

/// Lines of the log, and of the access log, that wait for their output; more are dropped and counted.
/// Why: a second of 8,000 requests; a reader that does not read the output must not stop the gateway.
pub const LOG_LINES_MAX: usize = 8192;

/// Bytes of the waiting log lines.
/// Why: a usual line has 300 bytes; a queue of long ones must not become a leak.
pub const LOG_BYTES_MAX: usize = 4 * 1024 * KIB;

/// Time that one line may take to be written before its output counts as stalled.
/// Why: a log shipper restarts in less time; and an alert should not be much later.
pub const LOG_STALLED_AFTER: Duration = Duration::from_secs(5);

/// First and longest pause between two attempts to write a line to a full output.
/// Why: only the next lines wait, and a second is soon enough once the output has space.
pub const LOG_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Bytes of a path, a user agent or another client text in one line of the access log, as received.
/// Why: an escaped byte takes three bytes; a line stays under the 4 KiB that one write to a pipe keeps whole.
pub const ACCESS_LOG_TEXT_BYTES_MAX: usize = 256;

/// Time that a stop gives the last spans and lines of the access log.
/// Why: well within the grace that supervisors give after `SIGTERM`.
pub const TELEMETRY_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time that `lakegate health` waits for an answer.
/// Why: a probe's usual period is 10 s or more; a gateway that answers more slowly is not healthy.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that `lakegate health` reads.
/// Why: all reasons together take a few KiB.
pub const HEALTH_ANSWER_BYTES_MAX: usize = 64 * KIB;

// ---- lakegate top ----------------------------------------------------------------------------------------------------

/// Time between two polls of `lakegate top` (default).
/// Why: a person sees each change, and a scrape takes a gateway about a millisecond.
pub const TOP_INTERVAL: &str = "1s";

/// Shortest time between two polls.
/// Why: ten scrapes a second are the most that should be asked of a gateway for one person.
pub const TOP_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Longest time between two polls.
/// Why: an hour is a report of a script, not a look.
pub const TOP_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Time that a gateway has to answer one poll.
/// Why: a gateway that takes longer is as good as away, and the others of a fleet must be shown.
pub const TOP_POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer of a gateway that is polled, by `lakegate top` or by the console for its fleet.
/// Why: the metrics of some thousand keys take a MiB; a wrong address must not fill the memory.
pub const POLLED_ANSWER_BYTES_MAX: usize = 16 * super::MIB;

/// Polls whose rate is in the history.
/// Why: the columns of a wide terminal, four minutes at one poll a second.
pub const TOP_HISTORY_POLLS: usize = 240;

/// Keys, shards, and codes in a report.
/// Why: the noisiest and hottest; nobody reads more, and a gateway may have thousands of keys.
pub const TOP_ROWS_MAX: usize = 100;

/// Rows of a table in plain text.
/// Why: a report fits a screen.
pub const TOP_TEXT_ROWS: usize = 20;

/// Time for which `lakegate top` waits for a key before it looks for news.
/// Why: no person sees the delay, and it costs next to no CPU time.
pub const TOP_KEY_WAIT: Duration = Duration::from_millis(50);

// ---- the console -----------------------------------------------------------------------------------------------------

/// Time for which the figures of the console are kept: a page that asks again within it is told the same.
/// Why: a page asks each second; so the pages of several people together cost one poll a second.
pub const OVERVIEW_KEPT: Duration = Duration::from_millis(900);

/// Age of the last poll from which rates begin anew.
/// Why: a rate over the minutes in which nobody looked is not the rate of now; a browser asks once a second or two.
pub const OVERVIEW_INTERVAL_MAX: Duration = Duration::from_secs(15);

/// Time that another gateway of the fleet has to answer one poll of the console.
/// Why: the page waits for the slowest; a gateway beside this one answers within milliseconds.
pub const FLEET_POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// Other gateways that the console shows.
/// Why: a person compares some; each is polled for each look.
pub const FLEET_SHOWN_MAX: usize = 32;

/// Keys in one answer for the console.
/// Why: nobody reads more rows, and a gateway may have thousands of keys.
pub const CONSOLE_KEYS_MAX: usize = 500;

/// Bytes of all files of the console.
/// Why: the page is there at once over any line, and stays small enough to be read and reviewed whole.
pub const CONSOLE_BYTES_MAX: usize = 60 * 1000;

// ---- the repair of dead letters --------------------------------------------------------------------------------------

/// Operations of one patch.
/// Why: each reads the event again; a repair has a handful.
pub const PATCH_OPERATIONS_MAX: usize = 100;

/// Conditions of one filter.
/// Why: each is evaluated for each letter; there are twelve kinds.
pub const FILTER_CONDITIONS_MAX: usize = 64;

/// Bytes of one condition.
/// Why: a list of some names; patterns are matched step by step.
pub const FILTER_TEXT_BYTES_MAX: usize = 4 * KIB;

/// Difference between the wall clock and the monotonic clock that counts as a jump.
/// Why: a time server slews a smaller difference, or steps it once at the start; a person sets a clock only for more.
pub const CLOCK_JUMP_MIN: Duration = Duration::from_secs(5);

/// Time without a jump after which the wall clock is trusted again.
/// Why: longer than the usual interval of a scrape, so that every jump is seen.
pub const CLOCK_STEADY_AFTER: Duration = Duration::from_secs(120);

/// Places of one condition that are listed; the rest are only logged.
/// Why: a person reads some; a fault of the whole disk must not make a list of 40,000 partitions.
pub const CONDITION_PLACES_MAX: usize = 32;

/// Groups in which letters are counted; letters of all further groups are counted together.
/// Why: some MB; clients choose names and pointers, and no person reads more.
pub const DEAD_LETTER_GROUPS_MAX: usize = 10_000;

/// Bytes at which the repair journal of one source is rewritten without obsolete lines.
/// Why: some 50,000 repairs, a part of the quota of the source's letters; every read of the letters reads the whole journal.
pub const REPAIR_JOURNAL_BYTES_MAX: u64 = 16 * super::MIB as u64;

/// Letters that are replayed together.
/// Why: they share an fsync of the spool and one of the journal; letters that a crash interrupts are validated again.
pub const REPLAY_LETTERS: usize = 1_000;

/// Bytes of letters that are replayed together.
/// Why: held in memory in addition to the requests; some largest events.
pub const REPLAY_BYTES: usize = 8 * super::MIB;

/// Letters that one answer shows whole.
/// Why: a person reads some; programs read the files.
pub const LETTERS_SHOWN_MAX: usize = 1_000;

/// Bytes of the letters that one answer shows.
/// Why: sixteen of the longest; a person reads some of them in a page or a pipe.
pub const LETTERS_SHOWN_BYTES_MAX: usize = 16 * super::MIB;

/// Time that an operator has to read a streamed answer.
/// Why: on the gateway's own machine 16 MiB take a second; a slower reader keeps other operators waiting.
pub const OPERATOR_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// `Retry-After` for an operator who came while another operator was answered.
/// Why: a read of full dead letters takes about a second.
pub const OPERATOR_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Metric scrapes answered at one time.
/// Why: two Prometheus servers and some people; each takes a text of a hundred KiB or, with thousands of keys, some MiB.
pub const SCRAPES_MAX: usize = 8;

/// Questions for events and for the ledger that are answered at one time.
/// Why: a script that looks for a list of events, and some people; each holds a thread while it reads the disk.
pub const QUESTIONS_MAX: usize = 4;

/// Names in `admin.hosts`.
/// Why: each is compared for each request; a gateway has a handful.
pub const ADMIN_HOSTS_MAX: usize = 64;

/// Bytes of letters from another gateway that are sent to a gateway at one time.
/// Why: with their quotes escaped once more they stay below the limit of a request body.
pub const GIVEN_LETTERS_BYTES: usize = 2 * super::MIB;

/// Bytes of a gateway's answer that `lakegate dead-letters` reads.
/// Why: the largest number of groups, with their longest texts.
pub const OPERATOR_ANSWER_BYTES_MAX: usize = 64 * super::MIB;

/// Time that a gateway has to close after its disk failed or a component ended.
/// Why: requests in flight are given 10 s, and nothing is drained; the supervisor (75 s in the unit) must not kill the gateway,
/// because then the reason is not printed.
pub const FAILED_STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Inodes that the file system should have free.
/// Why: every segment, every run of the dedup window and every file of the lake takes one. At one file a second these last for
/// a quarter of an hour; small file systems have some ten thousand in all.
pub const INODES_LEFT_MIN: u64 = 1_000;

/// Time for which refusals of one kind are counted before they are logged together.
/// Why: soon enough for a person who reads the log, and a flood of refusals writes one line a minute.
pub const REFUSALS_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Keys and codes whose refused requests are counted separately for the log.
/// Why: some keys times some codes; refusals without a key have ten codes at most, so clients without a key cannot fill it.
pub const REFUSALS_MAX: usize = 512;

// ---- keys ------------------------------------------------------------------------------------------------------------

/// Secrets of one key at one time.
/// Why: a new one each day, while each is good for a week more; each is a line of two metrics.
pub const KEY_SECRETS_MAX: usize = 8;

/// Time before the end of a secret from which `/readyz` warns, if the secret is still used.
/// Why: the owner of a service needs some working days to roll out another secret.
pub const SECRET_EXPIRES_SOON: Duration = Duration::from_secs(7 * 86_400);

/// Time since its last use for which a secret counts as used.
/// Why: a job of each night uses it once a day; what has not used it for longer has changed to another one.
pub const SECRET_IN_USE: Duration = Duration::from_secs(86_400);

/// Longest time for which the old secrets of a key stay good after `lakegate keys rotate`.
/// Why: a year and a day; who wants more wants no rotation.
pub const SECRET_OVERLAP_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Time that `lakegate keys` waits for another process that changes the configuration file.
/// Why: a change takes some milliseconds; longer is a process that hangs, and a person should look.
pub const CONFIG_LOCK_WAIT: Duration = Duration::from_secs(10);

/// Pause between two attempts to lock the folder of the configuration file.
/// Why: a person does not notice it, and it costs no CPU time.
pub const CONFIG_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Conditions, and patterns of event names, of one erasure.
/// Why: a person is known by a handful of fields.
pub const ERASURE_CLAUSES_MAX: usize = 16;

/// Values of one erasure.
/// Why: each payload is looked up among them, which costs the same for any number; the file of a request stays small. More
/// values are several erasures.
pub const ERASURE_VALUES_MAX: usize = 20_000;

/// Bytes of one value of an erasure.
/// Why: identifiers are short; a longer text is a mistake.
pub const ERASURE_VALUE_BYTES_MAX: usize = 1024;

/// Bytes of all values of one erasure.
/// Why: escaped, and with everything else, they are below the limit of a request body.
pub const ERASURE_VALUES_BYTES_MAX: usize = super::MIB;

/// Values up to which an erasure searches a payload for their text before it parses the payload.
/// Why: each is searched on its own; about ten searches cost as much as parsing.
pub const ERASURE_NEEDLES_MAX: usize = 8;

/// Events of the spool that an erasure reads at one time.
/// Why: at most some MiB in memory; the disk is read in pieces of 128 KiB anyway.
pub const ERASURE_READ_EVENTS: usize = 1_000;

/// Bytes of events of the spool that an erasure reads at one time.
/// Why: some of the largest events.
pub const ERASURE_READ_BYTES: usize = 4 * super::MIB;

/// Time that an erasure waits for deliveries that were under way when it began.
/// Why: a call to a stream or a write to S3 gives up within two minutes; a delivery that takes longer hangs.
pub const ERASURE_ATTEMPTS_WAIT: Duration = Duration::from_secs(300);

/// Searches of the lake's table by one erasure.
/// Why: each search meets only files that were committed since the one before; a table that never rests must not keep an
/// erasure for ever.
pub const ERASURE_TABLE_ROUNDS_MAX: usize = 50;

/// Finished reports of erasures that are kept.
/// Why: some KiB each; an officer keeps them elsewhere for as long as the law wants.
pub const ERASURE_REPORTS_MAX: usize = 10_000;

/// Pause of an erasure that waits for files which a writer may commit.
/// Why: a gateway commits a file within moments, or when it delivers a range again after a start.
pub const ERASURE_TABLE_PAUSE: Duration = Duration::from_secs(1);

/// Pauses of an erasure that waits for files which a writer may commit.
/// Why: a gateway that delivers a range again after a start does so within seconds.
pub const ERASURE_TABLE_WAITS_MAX: u32 = 5;
