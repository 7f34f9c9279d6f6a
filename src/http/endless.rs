//! An answer without an end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Whether the answer on a connection has no end. Its client then need not have read all of it within a time, but must read some
/// of it. Requests have it among their extensions on the operators' listener only.
#[derive(Clone, Debug, Default)]
pub(super) struct Endless(Arc<AtomicBool>);

impl Endless {
    /// From now on the answer has no end.
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it has none.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}
