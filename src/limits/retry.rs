//! How long refused clients wait: the bounds of `Retry-After`.

/// Seconds named by `Retry-After`, from and to, when the cause is over in a moment: too much in flight, a share of the bodies
/// used up, another request with the same event, a gateway that is replaced.
/// Why: requests take milliseconds; the random part halves the crowd that comes back in one second.
pub const RETRY_SOON_SECONDS: (u64, u64) = (1, 2);

/// The same when the dedup window cannot answer, or the sink was slow.
/// Why: a seal of the window, a failover of its disk or a flush of the lake takes seconds.
pub const RETRY_SHORTLY_SECONDS: (u64, u64) = (2, 5);

/// The same when the spool or the disk is full or failed.
/// Why: room comes as the sink takes events; a crowd that comes back sooner only pays for a refusal again.
pub const RETRY_STORAGE_SECONDS: (u64, u64) = (10, 30);

/// The same when the dead letters are full.
/// Why: a person, or `dead_letters.hold_minutes_when_full`, makes room; neither takes less than a minute.
pub const RETRY_DEAD_LETTERS_SECONDS: (u64, u64) = (60, 120);

/// Percent by which the wait for a rate is prolonged at most, at random.
/// Why: the clients of one key learn of the same moment; a quarter more spreads them, and costs a client little.
pub const RETRY_RATE_JITTER_PERCENT: u32 = 25;
