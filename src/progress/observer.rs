//! Who is told what a sink settles: the ledger.

use std::{fmt, ops::Range};

use super::endings::Settlement;

/// Called with how, where in the sink (a shard; empty if unknown), and which events. Called often: it must be short.
pub type OnSettled = Box<dyn Fn(Settlement, &str, Vec<Range<u64>>) + Send + Sync>;

/// Called with what a sink settles.
pub struct Observer {
    /// See [`OnSettled`].
    pub settled: OnSettled,
    /// Makes what it was told durable, and waits for that. Called with the number below which no event is needed any more.
    pub make_durable: Box<dyn Fn(u64) + Send + Sync>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
