//! The history of a spool: one line of sequence numbers, none of which is given twice.
//!
//! If the folder is restored from an older backup, the spool keeps its id, and gives the numbers after the backup to other events.
//! Who stored numbers meanwhile, as the dedup window does, must tell the two lines apart. So each line has a name. The first one
//! is the id of the spool; whoever detects that the spool went back begins another one ([`Spool::keep_history`]).
//!
//! ```text
//! history = magic "LKGHIST1" | spool id 16 B | name of the history (UUID, 16 B) | crc u32      or no file: the spool id
//! ```
//!
//! A file that cannot be read gives a new history, because a number must not be taken for that of another event.
//!
//! [`Spool::keep_history`]: super::Spool::keep_history

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{
    disk::Disk,
    fault::{Fault, read_file, replace_file, seal, unseal},
    folder::Folder,
};

const NAME: &str = "history";
const MAGIC: &[u8; 8] = b"LKGHIST1";
const BYTES: usize = 8 + 16 + 16 + 4;

/// The file, and its content.
pub(super) struct History {
    spool_id: Uuid,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    name: Uuid,
    /// A start would find the same history.
    is_stored: bool,
}

impl History {
    /// Reads the file in `folder`.
    pub(super) fn load(disk: &dyn Disk, folder: &Folder, spool_id: Uuid) -> Self {
        let state = match read(disk, folder, spool_id) {
            Ok(stored) => State { name: stored.unwrap_or(spool_id), is_stored: true },
            Err(error) => {
                tracing::error!(%error, "the history of the spool cannot be read; a new one begins");
                State { name: Uuid::new_v4(), is_stored: false }
            }
        };
        Self { spool_id, state: Mutex::new(state) }
    }

    pub(super) fn name(&self) -> Uuid {
        self.state().name
    }

    /// Gives the history this name, durably.
    pub(super) fn keep(&self, disk: &dyn Disk, folder: &Folder, name: Uuid) -> Result<(), Fault> {
        let State { name: now, is_stored } = *self.state();
        if name != now || !is_stored {
            self.write(disk, folder, name)?;
            *self.state() = State { name, is_stored: true };
        }
        Ok(())
    }

    /// Writes the file again if it is gone.
    pub(super) fn look_after(&self, disk: &dyn Disk, folder: &Folder) -> Result<(), Fault> {
        let State { name, is_stored } = *self.state();
        if name == self.spool_id || !is_stored || disk.id_at(&folder.join(NAME)).map_err(Fault::naming)?.is_some() {
            return Ok(());
        }
        self.write(disk, folder, name)
    }

    fn write(&self, disk: &dyn Disk, folder: &Folder, name: Uuid) -> Result<(), Fault> {
        replace_file(disk, folder, NAME, &seal(&[MAGIC, self.spool_id.as_bytes(), name.as_bytes()]))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stored name; `None` if there is none for this spool.
fn read(disk: &dyn Disk, folder: &Folder, spool_id: Uuid) -> io::Result<Option<Uuid>> {
    let bytes = match read_file(disk, &folder.join(NAME), BYTES + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong");
    let fields = unseal(&bytes).and_then(|fields| fields.strip_prefix(MAGIC)).ok_or_else(damaged)?;
    let Some(name) = fields.strip_prefix(spool_id.as_bytes()) else { return Ok(None) };
    Uuid::from_slice(name).map(Some).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::{super::disk::RealDisk, *};

    const SPOOL: Uuid = Uuid::from_u128(3);

    fn load(folder: &Folder, spool_id: Uuid) -> Uuid {
        History::load(&RealDisk, folder, spool_id).name()
    }

    #[test]
    fn a_history_is_the_spool_until_another_one_begins_and_that_outlasts_the_start_and_the_loss_of_its_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::make(&RealDisk, root.path()).unwrap();
        let history = History::load(&RealDisk, &folder, SPOOL);
        history.keep(&RealDisk, &folder, SPOOL).unwrap();
        assert!(!root.path().join(NAME).exists(), "the first history needs no file");
        let next = Uuid::from_u128(4);
        history.keep(&RealDisk, &folder, next).unwrap();
        assert_eq!((history.name(), load(&folder, SPOOL)), (next, next));
        assert_eq!(load(&folder, Uuid::from_u128(9)), Uuid::from_u128(9), "that of another spool");
        std::fs::remove_file(root.path().join(NAME)).unwrap();
        history.look_after(&RealDisk, &folder).unwrap();
        assert_eq!(load(&folder, SPOOL), next);
    }

    #[test]
    fn a_damaged_history_is_a_new_one_and_never_an_old_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::make(&RealDisk, root.path()).unwrap();
        let next = Uuid::from_u128(4);
        History::load(&RealDisk, &folder, SPOOL).keep(&RealDisk, &folder, next).unwrap();
        let whole = std::fs::read(root.path().join(NAME)).unwrap();
        for damage in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[damage] ^= 1;
            for bytes in [bytes.as_slice(), &whole[..damage]] {
                std::fs::write(root.path().join(NAME), bytes).unwrap();
                let found = load(&folder, SPOOL);
                assert!(found != next && found != SPOOL, "{damage}");
            }
        }
        let history = History::load(&RealDisk, &folder, SPOOL);
        let begun = history.name();
        history.keep(&RealDisk, &folder, begun).unwrap();
        assert_eq!(load(&folder, SPOOL), begun);
    }
}
