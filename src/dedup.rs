//! The dedup window: tells which identities were accepted before. An identity is an `event_uuid` within its scope: see
//! [`ScopeSecret`](crate::event::ScopeSecret).
//!
//! # Guarantees
//!
//! - **Exact.** An identity is the whole UUID. Hashes and filters only spare lookups; nothing is a [`Claim::Duplicate`]
//!   unless its 16 bytes were compared. A damaged page holds nothing: damage is counted, said and never a duplicate. A page that
//!   cannot be read *at the moment* makes nothing fresh either: [`Claim::Unreadable`], for as long as patience lasts.
//! - **Told apart, not decided, by payload.** Beside each identity lies a fingerprint of its payload ([`Identity`]), so that a
//!   duplicate says whether it certainly differs from what was accepted. The caller computes it; 0 is *unknown*.
//! - **Two steps.** [`Window::claim`] makes an unknown identity *in flight*; its [`Claims`] are confirmed once the event is
//!   durable, or dropped, after which a retry finds the identity unknown. Of twins, anywhere, exactly one is fresh.
//! - **Nothing confirmed is forgotten** for [`WindowConfig::window`], across restarts and crashes: what is not sealed yet is
//!   still in the spool. The spool drops segments only below a mark that [`Window::checkpoint`] has made durable, and gives
//!   back ([`Window::restore`]) what it holds from [`Window::sealed_mark`] on. A mark is an event's sequence number there.
//!   Beyond [`WindowConfig::identities_max`] the oldest identities go early; [`Stats`] and the log say so.
//! - **Bounded memory.** Two hot generations (42 bytes an identity, claims in flight included), and some 1.2 bytes for each
//!   sealed identity. On disk one takes 21.3 bytes: 16 of the UUID, 4 of the fingerprint, the rest of filter and index.
//!   Where sealing cannot keep up, claims are refused ([`ClaimError::Full`]); a confirmation is never.
//! - **Confirmed time.** An identity ages only while the gateway runs, by the monotonic clock ([`crate::clock`]); the window goes
//!   on where its newest identity was. No wall clock expires anything.
//! - **Nothing is unlinked at once.** A run that leaves the window is renamed, kept for a day at least ([`crate::limits::DEDUP_SET_ASIDE_FOR`]) and until
//!   others leave, a quarter of the window at most, and taken back by a start that finds it has not expired.
//! - **Not promised:** that an identity is forgotten on time. It is remembered up to a quarter of the window longer, and longer by
//!   the time in which no gateway ran. Where the dedup folder was removed or restored from a backup, identities whose events
//!   have left the spool are forgotten; the start says so.
//!
//! # Faults
//!
//! | fault | what is done | condition |
//! |---|---|---|
//! | a page cannot be read | tried again for two minutes, its events answered with retry; then its identities are forgotten | `dedup_unreadable`, then `dedup_damaged` |
//! | a page is damaged | its identities are forgotten; a merge passes over it and keeps the input as `.damaged` | `dedup_damaged` |
//! | a run cannot be opened or read at a start | tried again for seconds, then set aside whole as `.damaged` | `dedup_damaged` |
//! | a run cannot be written | a new file each time, with growing pauses; memory holds two generations meanwhile | `dedup_unwritable`, then `dedup_full`, which blocks |
//! | the folder or a run loses its name | noticed within a second, and written anew from the open files | `dedup_unwritable` where that fails |
//! | the spool is another, or older | the marks are worth nothing: all that the spool holds is restored | |
//! | more identities than configured | the oldest are forgotten early | `dedup_forgetting` |
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
//! inside another's is a leftover of that merge. `.tmp` is an unfinished file, `.expired` one that has left the window, and
//! `.damaged` one that was set aside for a person, who may remove it, or rename it to `.run` to have it tried again.
//!
//! A run (format 2, little-endian), every byte of which is under a CRC32C:
//!
//! ```text
//! header    4096 B           magic "LG-DEDUP", version u32, identities per page u32, seed of the hash 2 × u64,
//!                            zeros, CRC u32
//! pages     4096 B each      204 entries of 20 B (identity 16 B, fingerprint u32), ascending by hash, then by identity;
//!                            each page padded with zeros
//! filters   ~1.13 B each id  fingerprints of the slices' binary fuse filters, one after the other
//! tables    fence            u64 a page: the hash of its first identity
//!           page CRCs        u32 a page
//!           slices           32 B a slice: kind u32 (0 empty, 1 filtered, 2 without filter), fingerprint bytes u32,
//!                            their CRC u32, segment length u32, segment count × length u32, zero u32, seed u64
//! footer    96 B             identities u64, slice bits u32, CRC of the tables u32, filter bytes u64, oldest and newest
//!                            confirmation i64 (Unix milliseconds), one past the last mark u64, the spool whose numbers
//!                            the marks are (UUID, 16 B), zeros, CRC u32
//! ```
//!
//! Format 1 is read too, and becomes format 2 when it is merged: 256 entries of 16 B a page without fingerprints, and a footer
//! of 64 B that names no spool. An older version of Lakegate does not read format 2, and says so.
//!
//! Slice `s` of `2^bits` holds the identities whose hash begins with the bits of `s`. All runs of a folder have one seed; one with another is set aside.

mod claim;
mod claims;
mod config;
mod deduplicator;
mod errors;
mod filter;
mod fleet;
mod folder;
mod folder_watch;
mod format;
mod identity;
mod memtable;
mod merge;
mod recovery;
mod retry;
mod run;
mod runs;
mod scope;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod unreadable_pages;
mod window;
mod worker;
mod writer;

pub use claim::{Claim, ClaimError};
pub use claims::Claims;
pub use config::{OpenReport, WindowConfig};
pub use deduplicator::{Claimed, Deduplicator};
pub use errors::{OpenError, SealError};
pub use fleet::{Fleet, FleetConfig, FleetError};
pub use identity::Identity;
pub use memtable::Place;
pub use scope::Scopes;
pub use stats::{Sealing, Stats};
pub use window::Window;
