//! Limits of watching events live (`lakegate tail`), and of the log of rejections.

use std::time::Duration;

use super::units::{KIB, MIB};

/// Watchers at one time.
/// Why: some people look while something is wrong. Each costs every event a comparison, and holds a MiB at most.
pub const WATCHERS_MAX: usize = 8;

/// Events a second that a watcher is shown (default).
/// Why: more than a person reads; what is rarer is shown whole.
pub const WATCH_RATE: u32 = 50;

/// Events a second that a watcher may ask for.
/// Why: each that is shown costs some 5 µs, so all watchers at this rate take some 2 % of a processor; a program that wants every
/// event reads the lake.
pub const WATCH_RATE_MAX: u32 = 500;

/// Time between two looks of a watcher at what came. Shorter or longer only for a rate below some events in this time.
/// Why: a person takes it for "at once", and a sample of it is a sample of the traffic.
pub const WATCH_TICK: Duration = Duration::from_millis(200);

/// Ticks after which a watcher that did not look is told what it missed.
/// Why: a busy machine delays a tick by one; a reader that lags lags more.
pub const WATCH_LATE_TICKS: u32 = 3;

/// Time after which a silent stream says that it is still there.
/// Why: a watcher that is gone is noticed by what cannot be sent to it, and gives its place back; and no proxy takes the stream for
/// dead.
pub const WATCH_HEARTBEAT: Duration = Duration::from_secs(5);

/// Time without a byte after which `lakegate tail` takes the gateway for gone.
/// Why: three heartbeats.
pub const WATCH_SILENCE_MAX: Duration = Duration::from_secs(15);

/// Time between two attempts of `lakegate tail` to find the gateway again.
/// Why: a restart takes a second or more.
pub const WATCH_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two lines of `lakegate tail` that tell how much of the traffic is shown.
/// Why: often enough to believe it, and rarely enough to read the events.
pub const WATCH_NOTE_INTERVAL: Duration = Duration::from_secs(2);

/// Patterns of a watcher for names, and for keys.
/// Why: each event is compared with each of them.
pub const WATCH_PATTERNS_MAX: usize = 16;

/// Bytes of a payload that a watcher is shown.
/// Why: usual events fit. A tick at the highest rate stays below a MiB.
pub const WATCH_PAYLOAD_BYTES_MAX: usize = 4 * KIB;

/// Bytes of an event that is copied to be written when it is shown; a longer one is written at once.
/// Why: most of the copies are replaced by others before they are shown. All copies of a tick stay below a MiB.
pub const WATCH_COPY_BYTES_MAX: usize = 8 * KIB;

/// Bytes of one line of the stream that `lakegate tail` reads.
/// Why: a payload, every byte of it escaped, with a detail and a pointer at their longest.
pub const WATCH_LINE_BYTES_MAX: usize = 64 * KIB;

/// Levels of a payload without its values that are shown; deeper ones are counted.
/// Why: events have five; each level costs stack.
pub const WATCH_LEVELS_MAX: usize = 8;

/// Elements of an array without its values that are shown; the others are counted.
/// Why: the elements of an array look alike.
pub const WATCH_ELEMENTS_MAX: usize = 3;

/// Columns of a line of `lakegate tail` on a terminal; the reason goes to a second line if it does not fit.
/// Why: the usual width of a terminal beside another window, as for tables.
pub const WATCH_COLUMNS: usize = 120;

/// Events that `lakegate dev` keeps.
/// Why: the tests of an application look at what they sent a moment ago, and reset in between.
pub const RECORDED_EVENTS_MAX: usize = 10_000;

/// Bytes of the lines of these events.
/// Why: 10,000 usual events have some 10 MiB; an event may have 1 MiB.
pub const RECORDED_BYTES_MAX: usize = 64 * MIB;

/// How long a test may wait for events at `/dev/wait`.
/// Why: a browser's library sends within some seconds; test runners themselves give up after half a minute.
pub const DEV_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a test waits if it does not say.
/// Why: a browser's library sends within a second, and a test that fails should say so soon.
pub const DEV_WAIT: Duration = Duration::from_secs(5);

/// Rejections that a wait in vain is told of.
/// Why: the newest say what is wrong; a test's report stays short.
pub const DEV_REJECTIONS_TOLD: usize = 10;

/// Bytes that a memory file system must have free for `lakegate dev` to keep its data there.
/// Why: containers often have 64 MiB of it, which the spool's first segment fills.
pub const DEV_MEMORY_FREE_MIN: u64 = 2 * 1024 * MIB as u64;

/// Delay of each request that a test may ask for.
/// Why: longer than any client waits; a typing error does not stop the rig for an hour.
pub const DEV_LATENCY_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(WATCHERS_MAX <= 8, "a bit of a byte for each");
const _: () = assert!(WATCH_COPY_BYTES_MAX * WATCH_RATE_MAX as usize / 5 <= 1024 * KIB);
const _: () = assert!(WATCH_LINE_BYTES_MAX >= 6 * WATCH_PAYLOAD_BYTES_MAX + 16 * KIB);
const _: () = assert!(WATCH_SILENCE_MAX.as_secs() >= 3 * WATCH_HEARTBEAT.as_secs());

/// Keys, names, codes and places whose rejected events are counted separately for the log.
/// Why: some hundred bytes each; beyond it they are counted together.
pub const REJECTION_KINDS_MAX: usize = 2_048;

/// The same of one key; more are counted by their code.
/// Why: a person reads some of them a minute, and a key that everyone has must not take the places of others.
pub const REJECTION_KINDS_PER_KEY_MAX: usize = 64;
