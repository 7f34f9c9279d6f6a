//! The spool: what was accepted, durable on disk until it is delivered.
//!
//! It takes opaque bodies and gives them back in order. It is an append-only log in segment files with one writer; all
//! who append at the same time share one `fdatasync`.
//!
//! # Guarantees
//!
//! - An append is acknowledged only after an `fdatasync` covered all its frames, and a segment's name is durable before a
//!   frame in it is acknowledged. What is acknowledged survives `kill -9`, power loss and a full disk.
//! - A crash never leaves a part of a frame, nor a frame of an append that was refused. Of appends that were being written
//!   when it came, whole frames may be found: all in order, none twice.
//! - Sequence numbers are contiguous from 0 and never given twice to acknowledged frames.
//! - A failed `fdatasync` is never tried again, since the next one would lie: the spool takes nothing more, says so
//!   ([`Spool::watch_failed`]), and a restart finds out what is on the disk.
//! - A full disk, a full quota and a write error refuse the appends they meet, and it goes on by itself. So does a missing
//!   descriptor; a segment that cannot be followed by the next one is written on meanwhile.
//! - What the disk would drop is not acknowledged: before a group is, the writer looks whether its segment still has its name
//!   and the file system takes writes (see `missing_files.rs`).
//! - A place that cannot be read is waited for (see `unreadable.rs`), by all readers together.
//! - Decay costs the frames that it hits. The [`Reader`] reports exactly which, writes them down in `quarantine/lost.ndjson`,
//!   keeps the file in `quarantine/`, whole, until a person removes it, and goes on. It never keeps the spool from opening.
//!
//! # On disk
//!
//! ```text
//! lock                       held (flock) while the spool is open
//! spool.id                   magic "LKGSPID1" | spool id (UUID, 16 B) | crc u32
//! cursor                     magic "LKGCURS1" | spool id | delivered u64 | planned end u64 (2^64-1: none) | crc u32
//! end                        magic "LKGSEND1" | spool id | segment u64 | its bytes u64 | end u64 | crc u32: see `end_mark.rs`
//! *.tmp                      a file being replaced: written, fsynced, renamed, the folder fsynced
//! 00000000000000000000.seg   a segment, named by the sequence number of its first frame
//! quarantine/                damaged segments (a second link until they are unlinked) and files of other spools
//! quarantine/lost.ndjson     what was lost: numbers, probable identities, segment, bytes, reason, time
//!
//! segment = magic "LKGSPOOL" | version u32 (1) | spool id 16 B | first_seq u64 | crc u32      40 bytes
//!           frame*
//! frame   = length u32 | crc u32 | seq u64 | body                                             16 bytes + body
//! ```
//!
//! All numbers are little-endian, all checksums CRC32C, over the bytes before them, except a frame's: it goes over the
//! spool id, the length, the sequence number and the body. The spool id is in it so that nobody outside can write a body
//! that holds what looks like a frame. Bit 31 of the length says that the frame began a group commit, so that all before
//! it was durable when it was written: that tells decay from a torn write (see `tail.rs`).
//!
//! The newest segment ends at its last whole frame; all others are as long as they are, and end where the next begins.
//!
//! # The way through the code
//!
//! `handle` what users hold · `queue` and `writer` the way in · `frame`, `segment` the format · `scan`, `reader` the way
//! out · `unreadable`, `losses` what cannot be read, and what is lost · `missing_files` what is gone while it runs · `cursor` how
//! far · `recovery`, `tail`, `end_mark` the start · `inspect` from outside · `shared` what they have in common · `folder`,
//! `disk`, `fault` what is below

mod cursor;
mod disk;
mod end_mark;
mod fault;
mod folder;
mod frame;
mod handle;
mod inspect;
mod losses;
mod missing_files;
mod queue;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;
mod tail;
mod unreadable;
mod writer;

#[cfg(test)]
mod fault_disk;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, CursorError};
pub use disk::{Disk, DiskDir, DiskFile, DiskLock, FileId, RealDisk, Space};
pub use frame::{BodyTooLong, Frame, FrameBuffer};
pub use handle::{Spool, SpoolConfig, SpoolStats};
pub use inspect::{
    Inspection, SALVAGED_NAME, Salvageable, SegmentContent, SegmentFile, inspect, remove_quarantined, salvageable,
};
pub use losses::{Loss, LostEvent};
pub use queue::{AppendError, Appended};
pub use reader::{ReadBatch, Reader};
pub use recovery::{OpenError, RecoveryReport, spool_id};
pub use shared::{GroupMetrics, Quarantined};
