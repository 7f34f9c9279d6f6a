//! The dedup window: tells which identities were accepted before. An identity is an `event_uuid` within its scope: see
//! [`ScopeSecret`](crate::event::ScopeSecret).
//!
//! # Guarantees
//!
//! - **Exact.** An identity is the whole UUID. Hashes and filters only save lookups. A claim is a [`Claim::Duplicate`] only if
//!   all 16 bytes are equal. A damaged page holds no identities: damage is counted and reported, and never makes a duplicate.
//!   While a page cannot be read and is still retried, its identities are not fresh either: [`Claim::Unreadable`].
//! - **The payload decides nothing.** Each identity is stored with a fingerprint of its payload ([`Identity`]), so a duplicate
//!   tells whether its payload certainly differs from the accepted one. The caller computes the fingerprint; 0 is *unknown*.
//! - **Two steps.** [`Window::claim`] makes an unknown identity *in flight*. Its [`Claims`] are confirmed when the event is
//!   durable, or dropped; after a drop, a retry finds the identity unknown. Of equal identities, in one batch or several,
//!   exactly one is fresh.
//! - **Nothing confirmed is forgotten** for [`WindowConfig::window`], across restarts and crashes, because the spool still
//!   holds unsealed identities. The spool drops segments only below a mark that [`Window::checkpoint`] has made durable. At a
//!   start, it restores ([`Window::restore`]) what it holds from [`Window::sealed_mark`] on. A mark is an event's sequence
//!   number in the spool. Beyond [`WindowConfig::identities_max`] the oldest identities are forgotten early; [`Stats`] and the
//!   log say so.
//! - **Bounded memory.** Two hot generations (42 bytes for each identity, claims in flight included), and about 1.2 bytes for
//!   each sealed identity. A sealed identity takes 25.3 bytes on disk: 16 for the UUID, 4 for the fingerprint, 4 for the place,
//!   the rest for filter and index. If sealing cannot keep up, claims are refused ([`ClaimError::Full`]); a confirmation is never refused.
//! - **Confirmed time.** An identity ages only while the gateway runs, by the monotonic clock ([`crate::clock`]). A restart
//!   continues at the time of the newest identity. The wall clock expires nothing.
//! - **A place is right or unknown.** [`Window::look_up`] tells for each identity where its event is in the spool, when it was
//!   confirmed, and whether that can be told at all. A place counts only in the history of the spool in which it was stored
//!   ([`WindowConfig::spool_history`]): not after the spool was replaced, nor after it was restored from an older backup. Unknown
//!   are the places of runs of older formats, of events that could be read only late, and those too far from the others in a run.
//! - **Nothing is unlinked at once.** A run that leaves the window is renamed. It is kept for a day
//!   ([`crate::limits::DEDUP_SET_ASIDE_FOR`]) and until other runs leave; less only if kept runs exceed a quarter of the
//!   window. A start takes a run back if it has not expired.
//! - **Not promised:** that an identity is forgotten on time. It is remembered up to a quarter of the window longer, plus the
//!   time in which no gateway ran. If the dedup folder was removed or restored from a backup, identities whose events have
//!   left the spool are forgotten; the start says so.
//!
//! # Faults
//!
//! | fault | what is done | condition |
//! |---|---|---|
//! | a page cannot be read | retried for two minutes, its events are answered with retry; then its identities are forgotten | `dedup_unreadable`, then `dedup_damaged` |
//! | a page is damaged | its identities are forgotten; a merge skips it and keeps the input as `.damaged` | `dedup_damaged` |
//! | a run cannot be opened or read at a start | retried for seconds, then set aside whole as `.damaged` | `dedup_damaged` |
//! | a run cannot be written | retried with a new file and growing pauses; memory holds two generations meanwhile | `dedup_unwritable`, then `dedup_full`, which blocks |
//! | the folder or a run loses its name | detected within a second, and written again from the open files | `dedup_unwritable` if that fails |
//! | the spool is another | the marks and places are ignored: everything in the spool is restored | |
//! | the spool is older than a run, also than one that was set aside | likewise, and a new history begins | |
//! | more identities than configured | the oldest are forgotten early | `dedup_forgetting` |
//!
//! This is the embedded window of one gateway. [`Deduplicator`] adds the shared store of a fleet, if configured, with the same
//! claim, confirm and release; see `fleet.rs`.
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
//! A claim looks up the runs without a lock: for each run one filter probe, and if that says *maybe*, one page of 4 KiB. Then
//! it looks up the tables in memory, under the window's only lock. A background thread sorts and writes a full generation,
//! merges runs (four neighbours of a tier become one of the next tier) and unlinks what has left the window. A run holds at
//! most a quarter of the window, in identities and in time, because it is forgotten as a whole. Every file is written under a
//! temporary name, synced, read back and renamed, and the folder is synced. Only then does the file count, and only then are
//! the inputs of a merge unlinked.
//!
//! # On disk
//!
//! A folder of `{first}-{last}.run`: the range of generations in the run, 16 hexadecimal digits each. A run whose range is
//! inside another's is a leftover of that merge. `.tmp` is an unfinished file, `.expired` a run that has left the window,
//! `.damaged` a run that was set aside. A person may remove a `.damaged` run, or rename it to `.run` to try it again.
//!
//! A run (format 3, little-endian), every byte of which is under a CRC32C:
//!
//! ```text
//! header    4096 B           magic "LG-DEDUP", version u32, identities per page u32, seed of the hash 2 × u64,
//!                            zeros, CRC u32
//! pages     4096 B each      170 entries of 24 B (identity 16 B, fingerprint u32, place u32), ascending by hash, then by
//!                            identity; each page padded with zeros. The place is the event's sequence number in the spool
//!                            minus the first mark; all bits set if it is unknown
//! filters   ~1.13 B each id  fingerprints of the slices' binary fuse filters, one after the other
//! tables    fence            u64 a page: the hash of its first identity
//!           page CRCs        u32 a page
//!           slices           32 B a slice: kind u32 (0 empty, 1 filtered, 2 without filter), fingerprint bytes u32,
//!                            their CRC u32, segment length u32, segment count × length u32, zero u32, seed u64
//! footer    96 B             identities u64, slice bits u32, CRC of the tables u32, filter bytes u64, oldest and newest
//!                            confirmation i64 (Unix milliseconds), one past the last mark u64, the history of the spool
//!                            whose numbers the marks are (UUID, 16 B), first mark u64, zeros, CRC u32
//! ```
//!
//! Older formats are read too, and become format 3 in a merge, with unknown places. Format 2 has 204 entries of 20 B in each
//! page, without places, and zeros for the first mark. Format 1 has 256 entries of 16 B, also without fingerprints, and a footer
//! of 64 B that names no spool. An older version of Lakegate does not read format 3, and says so.
//!
//! Slice `s` of `2^bits` holds the identities whose hash begins with the bits of `s`. All runs of a folder have the same seed;
//! a run with another seed is set aside.

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
mod look_up;
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
pub use deduplicator::{Claimed, Deduplicator, StoreClaims};
pub use errors::{OpenError, SealError};
pub use fleet::{Fleet, FleetConfig, FleetError};
pub use identity::Identity;
pub use look_up::{Doubt, KnownIdentity, LookUp, Place};
pub use scope::Scopes;
pub use stats::{Sealing, Stats};
pub use window::Window;
