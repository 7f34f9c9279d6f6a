//! Asks for the name of a spool's history, and begins another one.

use std::io;

use uuid::Uuid;

use super::handle::Spool;

impl Spool {
    /// The name of the history of its sequence numbers: equal numbers of one history are one event.
    #[must_use]
    pub fn history(&self) -> Uuid {
        self.shared.history.name()
    }

    /// Gives the history this name, durably, if it has another one. Call it before anything is appended. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's I/O error.
    pub fn keep_history(&self, name: Uuid) -> io::Result<()> {
        self.may_write()?;
        let kept = self.shared.history.keep(&*self.shared.disk, &self.shared.folder, name);
        kept.map_err(|fault| self.failed("storing its history", fault))
    }
}
