//! The cursor: the position up to which each sink has the events of the spool. The events below the lowest position are not
//! needed any more.

mod assign;
mod position;
mod stored;

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    fault::{Fault, replace_file},
    shared::Shared,
};
pub use assign::{AssignedPosition, SinkPosition};
pub use position::{Cursor, CursorName};
pub(super) use stored::{CURSOR_NAME, Cursors, StoredCursors};

/// Why the cursor was not moved.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Below the cursor (it never moves back) or above the durable end.
    #[error("sequence number {seq} is outside {from_inclusive}..={to_inclusive}")]
    OutOfRange {
        /// The requested number.
        seq: u64,
        /// Least number allowed.
        from_inclusive: u64,
        /// Greatest number allowed.
        to_inclusive: u64,
    },
    /// The disk refused. The cursor did not move, and the next attempt may succeed.
    #[error("the cursor was not written: {0}")]
    Refused(#[source] io::Error),
    /// The spool has failed; the process must restart.
    #[error("the spool has failed")]
    Failed,
}

/// The cursor of an open spool. Its lock is held while its file is written, so that the values read from it are durable. No
/// append waits for it.
#[derive(Debug)]
pub(super) struct CursorCell(Mutex<Cursors>);

impl CursorCell {
    pub(super) fn new(cursors: Cursors) -> Self {
        Self(Mutex::new(cursors))
    }

    /// The position of the sink that has come the least far.
    pub(super) fn lowest(&self) -> Cursor {
        self.lock().lowest()
    }

    /// Writes the cursor's file again because it is gone. A cursor that was never written is not written.
    pub(super) fn restore(&self, shared: &Shared) -> Result<(), Fault> {
        let cursors = self.lock();
        if *cursors == Cursors::default() { Ok(()) } else { write(shared, &cursors) }
    }

    /// The positions of `sinks` if they replace those that were there: see `assign.rs`.
    pub(super) fn assign(&self, sinks: &[SinkPosition], spooled: Range<u64>) -> Vec<AssignedPosition> {
        self.lock().assign(sinks, spooled)
    }

    /// Makes these the positions. The order of the sinks is the order of their [`SinkCursor`]s.
    pub(super) fn take(&self, shared: &Shared, assigned: &[AssignedPosition]) -> Result<(), CursorError> {
        let new = assigned.iter().map(|one| (one.stored_name.clone(), one.cursor)).collect();
        store(shared, &mut self.lock(), Cursors(new))
    }

    fn lock(&self) -> MutexGuard<'_, Cursors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The position of one sink.
#[derive(Clone)]
pub struct SinkCursor {
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<CursorCell>,
    /// Which of the sinks it is.
    pub(super) index: usize,
}

impl SinkCursor {
    /// The position. Durable.
    #[must_use]
    pub fn get(&self) -> Cursor {
        self.cell.lock().0[self.index].1
    }

    /// Durably records that the sink has everything below `seq`. Ends a plan that ends there or before. Blocks on the disk.
    ///
    /// # Errors
    /// See [`CursorError`].
    pub fn commit(&self, seq: u64) -> Result<(), CursorError> {
        self.change(|cursor, durable_end| {
            check_range(seq, cursor.delivered_exclusive, durable_end)?;
            let planned_end_exclusive = cursor.planned_end_exclusive.filter(|end| *end > seq);
            Ok(Cursor { delivered_exclusive: seq, planned_end_exclusive })
        })
    }

    /// Durably records that the delivery of the range from the cursor to `end_seq` begins. Blocks on the disk.
    ///
    /// # Errors
    /// See [`CursorError`].
    pub fn plan(&self, end_seq: u64) -> Result<(), CursorError> {
        self.change(|cursor, durable_end| {
            check_range(end_seq, cursor.delivered_exclusive.saturating_add(1), durable_end)?;
            Ok(Cursor { planned_end_exclusive: Some(end_seq), ..cursor })
        })
    }

    fn change(&self, new: impl FnOnce(Cursor, u64) -> Result<Cursor, CursorError>) -> Result<(), CursorError> {
        let mut cursors = self.cell.lock();
        let mut changed = cursors.clone();
        let cursor = &mut changed.0[self.index].1;
        *cursor = new(*cursor, self.shared.durable_end())?;
        store(&self.shared, &mut cursors, changed)
    }
}

fn check_range(seq: u64, from_inclusive: u64, to_inclusive: u64) -> Result<(), CursorError> {
    if (from_inclusive..=to_inclusive).contains(&seq) {
        return Ok(());
    }
    Err(CursorError::OutOfRange { seq, from_inclusive, to_inclusive })
}

fn store(shared: &Shared, cursors: &mut Cursors, new: Cursors) -> Result<(), CursorError> {
    if shared.has_failed() {
        // The folder may be what failed to sync, and a second fsync of it would prove nothing.
        return Err(CursorError::Failed);
    }
    if *cursors == new {
        return Ok(());
    }
    let stored = write(shared, &new);
    shared.note_cursor(stored.as_ref().err().map(Fault::error));
    match stored {
        Ok(()) => {
            shared.set_delivered(new.lowest().delivered_exclusive);
            *cursors = new;
            Ok(())
        }
        Err(Fault::Refused(error)) => Err(CursorError::Refused(error)),
        Err(Fault::ReadOnly(error)) => {
            shared.note_read_only();
            Err(CursorError::Refused(error))
        }
        Err(Fault::Broken(error)) => {
            shared.fail("writing the cursor", &error);
            Err(CursorError::Failed)
        }
    }
}

fn write(shared: &Shared, cursors: &Cursors) -> Result<(), Fault> {
    replace_file(&*shared.disk, &shared.folder, CURSOR_NAME, &cursors.encode(shared.id))
}
