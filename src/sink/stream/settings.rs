//! How to deliver to a stream: what is configured, and what the service counts and bounds by itself.

use std::time::Duration;

use super::{place::HashKey, record::Packing};

/// Settings of the delivery to a stream.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// What the service counts and bounds by itself.
    pub rules: StreamRules,
    /// How events are packed into records.
    pub packing: Packing,
    /// Records in one call.
    pub call_records_max: usize,
    /// Bytes of one call.
    pub call_bytes_max: usize,
    /// Bytes of one record with its key.
    pub record_bytes_max: usize,
    /// Calls in flight at one time.
    pub calls_in_flight_max: usize,
    /// How long an event waits for other events.
    pub linger: Duration,
    /// Bytes of events in memory.
    pub memory_bytes_max: usize,
    /// Percent of the throughput for a backlog while new events arrive.
    pub backlog_percent: u8,
    /// Whether events of one key arrive in order.
    pub ordered_by_key: bool,
}

/// What a service counts and bounds by itself, whatever is configured.
#[derive(Clone, Copy, Debug)]
pub struct StreamRules {
    /// What it does with the keys of records.
    pub keys: KeyRules,
    /// Bytes of the unit in which it bills every record, rounded up.
    pub billed_unit_bytes: usize,
    /// Records and bytes per second that an undisturbed shard takes.
    pub shard_per_second: (f64, f64),
    /// Least bytes of memory of each shard, for any number of shards.
    pub shard_bytes_min: usize,
    /// Whether a call has records of one shard, and a shard one call in flight. Then a shard without answers delays no other.
    pub calls_by_shard: bool,
}

impl StreamRules {
    /// Cost of a record of `bytes` bytes, in seconds of an undisturbed shard.
    #[must_use]
    pub fn cost(&self, bytes: usize) -> f64 {
        let (records_per_second, bytes_per_second) = self.shard_per_second;
        (1.0 / records_per_second).max(bytes as f64 / bytes_per_second)
    }
}

/// What a service does with the keys of records.
#[derive(Clone, Copy, Debug)]
pub struct KeyRules {
    /// The place of a key.
    pub place_of: fn(&str) -> HashKey,
    /// Characters of a key; a longer one is replaced by its place.
    pub chars_max: usize,
}
