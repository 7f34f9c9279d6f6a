//! The spool: keeps accepted events durable on disk until they are delivered.
//!
//! It takes opaque bodies and returns them in order. It is an append-only log in segment files with one writer. Appends that
//! arrive at the same time share one `fdatasync`.
//!
//! # Guarantees
//!
//! - An append is acknowledged only after an `fdatasync` covered all its frames. A segment's name is durable before a frame in
//!   it is acknowledged. Acknowledged frames survive `kill -9`, power loss and a full disk.
//! - After a crash, a start never finds a part of a frame, nor a frame of a refused append. It may find whole frames of
//!   appends that were being written: all in order, none twice.
//! - Sequence numbers are contiguous from 0 and never given twice to acknowledged frames.
//! - A failed `fdatasync` is never retried, because the next call may succeed without writing the data. The spool takes no
//!   more appends, reports that ([`Spool::watch_failed`]), and a restart checks the disk.
//! - A full disk, a full quota and a write error refuse only the current appends; the spool recovers by itself. The same holds
//!   for a missing descriptor: if the next segment cannot be created, the writer continues in the current one.
//! - Frames that the disk would drop are not acknowledged: before the writer acknowledges a group, it checks that its segment
//!   still has its name and that the file system takes writes (see `missing_files.rs`).
//! - A place that cannot be read is retried for a limited time, which all readers share (see `unreadable.rs`).
//! - Damage costs only the damaged frames. The [`Reader`] reports exactly which, lists them in `quarantine/lost.ndjson`, keeps
//!   the whole file in `quarantine/` until a person removes it, and continues. Damage never prevents the spool from opening.
//!
//! # On disk
//!
//! ```text
//! lock                       held (flock) while the spool is open
//! spool.id                   magic "LKGSPID1" | spool id (UUID, 16 B) | crc u32
//! cursor                     the position of each sink: see `cursor/stored.rs`
//! end                        magic "LKGSEND1" | spool id | segment u64 | its bytes u64 | end u64 | crc u32: see `end_mark.rs`
//! erased                     the numbers of events that no sink gets any more: see `erased.rs`
//! history                    which line of sequence numbers this is, once a backup was restored: see `history.rs`
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
//! All numbers are little-endian. All checksums are CRC32C over the bytes before them, except a frame's, which covers the
//! spool id, the length, the sequence number and the body. The spool id is included so that nobody outside can write a body
//! that contains a valid frame. Bit 31 of the length says that the frame began a group commit, so that everything before it
//! was durable when it was written: that tells damage from a torn write (see `tail.rs`).
//!
//! The newest segment ends at its last whole frame. Every other segment ends where the next begins.
//!
//! # Modules
//!
//! `handle`: the public API · `queue`, `writer`: appending · `frame`, `segment`: the format · `scan`, `reader`: reading ·
//! `unreadable`, `losses`: unreadable places and lost events · `missing_files`: files that vanish at runtime · `cursor`: the
//! delivered position · `erased`, `erase`, `scrub`: events that were erased · `history`, `keep_history`: restored backups · `recovery`, `tail`, `end_mark`: the start · `inspect`: reading from outside · `shared`: common state ·
//! `folder`, `disk`, `fault`: the layer below

mod cursor;
mod disk;
mod end_mark;
mod erase;
mod erased;
mod fault;
mod folder;
mod frame;
mod handle;
mod history;
mod inspect;
mod keep_history;
mod losses;
mod missing_files;
mod queue;
mod reader;
mod recovery;
mod scan;
mod scrub;
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

pub use cursor::{AssignedPosition, Cursor, CursorError, CursorName, SinkCursor, SinkPosition};
pub use disk::{Disk, DiskDir, DiskFile, DiskLock, FileId, RealDisk, Space};
pub use erased::{AttemptGuard, EarlierAttempts};
pub use frame::{BodyTooLong, Frame, FrameBuffer};
pub use handle::{Spool, SpoolConfig, SpoolStats};
pub use inspect::{
    Inspection, SALVAGED_NAME, Salvageable, SegmentContent, SegmentFile, inspect, remove_quarantined, salvageable,
};
pub use losses::{Loss, LostEvent};
pub use queue::{AppendError, Appended};
pub use reader::{ReadBatch, Reader};
pub use recovery::{OpenError, RecoveryReport, spool_id};
pub use scrub::SearchedFile;
pub use shared::{GroupMetrics, Quarantined};
