//! What the server remembers: calls, and the records that were stored.

use bytes::Bytes;
use tokio::time::Instant;

use super::{fault::Fault, shards::hash_of_key};

/// What became of the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not yet given.
    Pending,
    /// It was handed to the connection, and it was true.
    Answered,
    /// It never came, or nobody can make sense of it, or the client had hung up.
    Lost,
}

/// A call that came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it had been read whole.
    pub at: Instant,
    /// The operation, such as `PutRecords`.
    pub target: String,
    /// The stream that it named, if it did.
    pub stream: String,
    /// Which connection, counted from zero.
    pub connection: u64,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// Records of a PutRecords.
    pub records: usize,
    /// How many of them were stored.
    pub stored: usize,
    /// What struck it as a whole.
    pub fault: Option<Fault>,
    /// The status of its answer; zero where there is none.
    pub status: u16,
    /// What became of its answer.
    pub fate: Fate,
    /// When that was settled.
    pub settled_at: Option<Instant>,
}

/// A record in the stream.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The call that brought it, as its index in [`super::KinesisServer::calls`], and its place there.
    pub call: usize,
    pub place: usize,
    /// What became of the answer to that call.
    pub fate: Fate,
    /// Index of its shard, in [`super::Stream::shards`].
    pub shard: usize,
    /// Rises over all shards.
    pub sequence: u64,
    pub partition_key: String,
    pub explicit_hash_key: Option<u128>,
    pub data: Bytes,
    /// When it came, in seconds since 1970.
    pub arrived: f64,
}

impl Stored {
    /// What decided the shard.
    pub fn effective_hash(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_of_key(&self.partition_key))
    }

    /// What a provisioned stream bills it as: units of 25 KB, rounded up.
    pub fn put_units(&self) -> usize {
        self.data.len().div_ceil(25 * 1024).max(1)
    }
}
