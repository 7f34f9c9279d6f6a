//! The map of shards: who takes which hashes, how much, and what became of whom.

use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Where a partition key belongs.
pub fn hash_of_key(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
}

/// A sequence number as clients see it.
pub fn sequence_text(sequence: u64) -> String {
    format!("4959033827149025660855969253836157{sequence:022}")
}

/// The other way round.
pub fn sequence_of(text: &str) -> Option<u64> {
    text.get(34..)?.parse().ok()
}

/// What a shard answers every record with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardFault {
    Throttled,
    Failing,
}

/// How much a shard takes in each second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShardRate {
    pub records: f64,
    pub bytes: f64,
}

impl ShardRate {
    /// The real one.
    pub const AWS: Self = Self { records: 1000.0, bytes: 1024.0 * 1024.0 };

    /// A part of it, or a multiple.
    pub fn times(self, factor: f64) -> Self {
        Self { records: self.records * factor, bytes: self.bytes * factor }
    }
}

/// A token bucket that holds one second's worth.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: ShardRate,
    at: Instant,
}

/// A shard, open or closed.
#[derive(Clone, Debug)]
pub struct Shard {
    pub id: String,
    /// The hashes that it takes.
    pub start_inclusive: u128,
    pub end_inclusive: u128,
    /// The shards that it came from, as indices.
    pub parents: Vec<usize>,
    pub first_sequence: u64,
    /// Its last sequence number, once it is closed.
    pub closed_at: Option<u64>,
    pub fault: Option<ShardFault>,
    bucket: Option<Bucket>,
}

impl Shard {
    fn new(index: usize, range: (u128, u128), parents: Vec<usize>, first_sequence: u64) -> Self {
        Self {
            id: format!("shardId-{index:012}"),
            start_inclusive: range.0,
            end_inclusive: range.1,
            parents,
            first_sequence,
            closed_at: None,
            fault: None,
            bucket: None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    pub fn contains(&self, hash: u128) -> bool {
        (self.start_inclusive..=self.end_inclusive).contains(&hash)
    }

    /// As ListShards describes it.
    pub fn describe(&self, all: &[Self]) -> Value {
        let mut shard = json!({
            "ShardId": self.id,
            "HashKeyRange": {
                "StartingHashKey": self.start_inclusive.to_string(),
                "EndingHashKey": self.end_inclusive.to_string(),
            },
            "SequenceNumberRange": {"StartingSequenceNumber": sequence_text(self.first_sequence)},
        });
        if let Some(closed_at) = self.closed_at {
            shard["SequenceNumberRange"]["EndingSequenceNumber"] = sequence_text(closed_at).into();
        }
        for (parent, name) in self.parents.iter().zip(["ParentShardId", "AdjacentParentShardId"]) {
            shard[name] = all[*parent].id.clone().into();
        }
        shard
    }
}

/// All shards that a stream ever had.
pub struct Shards {
    all: Vec<Shard>,
    rate: Option<ShardRate>,
}

impl Shards {
    pub fn equal(count: usize) -> Self {
        assert!(count > 0, "a stream has shards");
        // 2^128 divided by the count, as AWS does it; 2^128 itself is one more than fits.
        let width = u128::MAX / count as u128 + u128::from(count > 1 && count.is_power_of_two());
        let range = |index: usize| {
            let start = width * index as u128;
            (start, if index + 1 == count { u128::MAX } else { start + (width - 1) })
        };
        Self { all: (0..count).map(|index| Shard::new(index, range(index), Vec::new(), 0)).collect(), rate: None }
    }

    pub fn all(&self) -> &[Shard] {
        &self.all
    }

    pub fn set_fault(&mut self, shard: usize, fault: Option<ShardFault>) {
        self.all[shard].fault = fault;
    }

    pub fn set_rate(&mut self, rate: Option<ShardRate>) {
        self.rate = rate;
        self.all.iter_mut().for_each(|shard| shard.bucket = None);
    }

    /// The open shard that takes `hash`.
    pub fn route(&self, hash: u128) -> usize {
        let found = self.all.iter().position(|shard| shard.is_open() && shard.contains(hash));
        found.expect("the open shards cover all hashes")
    }

    /// Whether the shard has room for a record of `bytes`, which then is used up.
    pub fn takes(&mut self, shard: usize, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let bucket = self.all[shard].bucket.get_or_insert(Bucket { left: rate, at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.at = now;
        bucket.left.records = (bucket.left.records + rate.records * passed).min(rate.records);
        bucket.left.bytes = (bucket.left.bytes + rate.bytes * passed).min(rate.bytes);
        // The full bucket takes a record that is larger than itself, or such a record would never pass.
        let has_room = bucket.left.records >= 1.0 && bucket.left.bytes >= (bytes as f64).min(rate.bytes);
        if has_room {
            bucket.left.records -= 1.0;
            bucket.left.bytes -= bytes as f64;
        }
        has_room
    }

    pub fn split(&mut self, shard: usize, sequence: u64) -> [usize; 2] {
        let parent = &mut self.all[shard];
        assert!(parent.is_open() && parent.start_inclusive < parent.end_inclusive, "{parent:?} cannot be split");
        parent.closed_at = Some(sequence);
        let (start, end) = (parent.start_inclusive, parent.end_inclusive);
        let middle = start + (end - start) / 2;
        let first = self.all.len();
        for range in [(start, middle), (middle + 1, end)] {
            self.all.push(Shard::new(self.all.len(), range, vec![shard], sequence));
        }
        [first, first + 1]
    }

    pub fn merge(&mut self, shard: usize, adjacent: usize, sequence: u64) -> usize {
        let (lower, upper) = if self.all[shard].start_inclusive < self.all[adjacent].start_inclusive {
            (shard, adjacent)
        } else {
            (adjacent, shard)
        };
        let are_adjacent = self.all[lower].end_inclusive.checked_add(1) == Some(self.all[upper].start_inclusive);
        assert!(
            are_adjacent && self.all[lower].is_open() && self.all[upper].is_open(),
            "{shard} and {adjacent} cannot be merged"
        );
        let range = (self.all[lower].start_inclusive, self.all[upper].end_inclusive);
        for parent in [lower, upper] {
            self.all[parent].closed_at = Some(sequence);
        }
        self.all.push(Shard::new(self.all.len(), range, vec![shard, adjacent], sequence));
        self.all.len() - 1
    }
}
