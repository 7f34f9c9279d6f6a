//! The dedup window: tells which identities (`event_uuid`) were accepted before.
//!
//! # Guarantees
//!
//! - **Exact.** An identity is the whole UUID. Hashes and filters only spare lookups; nothing is a [`Claim::Duplicate`]
//!   unless its 16 bytes were compared. A damaged page holds nothing: damage is counted, logged and never a duplicate.
//! - **Two steps.** [`Window::claim`] makes an unknown identity *in flight*; its [`Claims`] are confirmed once the event is
//!   durable, or dropped, after which a retry finds the identity unknown. Of twins, anywhere, exactly one is fresh.
//! - **Nothing confirmed is forgotten** for [`WindowConfig::window`], across restarts and crashes: what is not sealed yet is
//!   still in the spool. The spool drops segments only below a mark that [`Window::checkpoint`] has made durable, and gives
//!   back ([`Window::restore`]) what it holds from [`Window::sealed_mark`] on. A mark is an event's sequence number there.
//!   Beyond [`WindowConfig::identities_max`] the oldest identities go early; [`Stats`] and the log say so.
//! - **Bounded memory.** Two hot generations, claims in flight included, and some 1.2 bytes for each sealed identity.
//!   Where sealing cannot keep up, claims are refused ([`ClaimError::Full`]); a confirmation is never.
//! - **Not promised:** that an identity is forgotten on time. It is remembered up to a quarter of the window longer.
//!
//! This is the embedded window, of one gateway. [`Deduplicator`] puts the store of a fleet behind it, where there is one,
//! with the same claim, confirm and release; `fleet.rs` says how.
//!
//! # How it works
//!
//! ```text
//! claim ──▶ in flight ──confirm──▶ hot generation ──full, or checkpoint──▶ being sealed ──▶ run ──merged──▶ larger run
//!              │ drop                 in memory                            in memory        on disk
//!              ▼
//!           unknown
//! ```
//!
//! A claim looks into the runs without a lock: for each run one filter probe, and where that says *maybe* one page of
//! 4 KiB. Then, under the one lock of the window, into the tables in memory. A full generation is sorted and written by a
//! background thread, which also merges runs (four neighbours of a tier become one of the next) and unlinks what has left
//! the window. A run holds at most a quarter of the window, in identities and in time, because it is forgotten as a whole.
//! Every file is written under a temporary name, synced, read back, renamed and the folder synced before it counts; only
//! then are the inputs of a merge unlinked.
//!
//! # On disk
//!
//! A folder of `{first}-{last}.run`: the range of generations inside, 16 hexadecimal digits each. A run whose range is
//! inside another's is a leftover of that merge. `.tmp` is an unfinished file, `.damaged` one that was set aside.
//!
//! A run (format 1, little-endian), every byte of which is under a CRC32C:
//!
//! ```text
//! header    4096 B           magic "LG-DEDUP", version u32, identities per page u32, seed of the hash 2 × u64,
//!                            zeros, CRC u32
//! pages     4096 B each      256 identities of 16 B, ascending by hash, then by identity; the last padded with zeros
//! filters   ~1.13 B each id  fingerprints of the slices' binary fuse filters, one after the other
//! tables    fence            u64 a page: the hash of its first identity
//!           page CRCs        u32 a page
//!           slices           32 B a slice: kind u32 (0 empty, 1 filtered, 2 without filter), fingerprint bytes u32,
//!                            their CRC u32, segment length u32, segment count × length u32, zero u32, seed u64
//! footer    64 B             identities u64, slice bits u32, CRC of the tables u32, filter bytes u64, oldest and newest
//!                            confirmation i64 (Unix milliseconds), one past the last mark u64, zeros, CRC u32
//! ```
//!
//! Slice `s` of `2^bits` holds the identities whose hash begins with the bits of `s`. All runs of a folder have one seed.

mod claims;
mod filter;
mod fleet;
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
pub use fleet::{Claimed, Deduplicator, Fleet, FleetConfig, FleetError};
pub use stats::{Sealing, Stats};
pub use window::{OpenError, OpenReport, SealError, Window, WindowConfig};
