//! The dedup window.

mod claims;
mod filter;
mod folder;
mod format;
mod hot;
mod identity;
mod merge;
mod recovery;
mod run;
mod runs;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod window;
mod worker;
mod writer;

pub use claims::{Claim, ClaimError, Claims};
pub use stats::{Sealing, Stats};
pub use window::{OpenError, OpenReport, SealError, Window, WindowConfig};
