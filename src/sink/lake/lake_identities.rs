//! The identities by which this data folder names its files in the lake.
//!
//! Usually there is one, the spool's. If a data folder was copied, restored from a backup or baked into an image, there are
//! other instances, which use the same identity and the same sequence numbers for other events. When the lake shows such an
//! instance, this one takes a new identity. The identity is on disk before the first file with its name, so that a delivery
//! that is repeated after a crash finds its own files again.
//!
//! # The file `delivery/lake-identities`
//!
//! ```text
//! lakegate lake identities 1
//! spool_id 0192d3c4-…            the spool of these identities; for another spool they are not used
//! identity 5f0c8a52-…            oldest first, at most LAKE_IDENTITIES_MAX; the last one is in use
//! ```
//!
//! The file exists only after another instance was detected. It is replaced whole: written aside, synced, renamed, its folder
//! synced.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{durable, limits::LAKE_IDENTITIES_MAX};

const FILE: &str = "lake-identities";
const HEAD: &str = "lakegate lake identities 1";

/// The identities, and their storage.
#[derive(Debug)]
pub(super) struct Identities {
    /// The folder of the file; `None` in a lake of tools and tests, which stores nothing.
    folder: Option<PathBuf>,
    made: Mutex<Made>,
}

/// Identities created in addition to the spool's own.
#[derive(Clone, Debug, Default)]
struct Made {
    spool_id: Uuid,
    identities: Vec<Uuid>,
}

impl Identities {
    /// Loads the identities stored in `folder`, which need not exist.
    pub(super) fn open(folder: Option<&Path>) -> Self {
        let made = folder.map(|folder| load(&folder.join(FILE))).unwrap_or_default();
        Self { folder: folder.map(Path::to_owned), made: Mutex::new(made) }
    }

    /// All identities in names of this spool's files, the oldest first.
    pub(super) fn all(&self, spool_id: Uuid) -> Vec<Uuid> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let others = if made.spool_id == spool_id { made.identities.as_slice() } else { &[] };
        [&[spool_id], others].concat()
    }

    /// The identity for new files.
    pub(super) fn newest(&self, spool_id: Uuid) -> Uuid {
        self.all(spool_id).last().copied().unwrap_or(spool_id)
    }

    /// The identity to use instead of `taken`: created now and made durable, unless another partition already did that.
    pub(super) fn instead_of(&self, taken: Uuid, spool_id: Uuid, file: &str) -> io::Result<Uuid> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = if made.spool_id == spool_id { made.clone() } else { Made { spool_id, identities: Vec::new() } };
        if let Some(newest) = next.identities.last()
            && *newest != taken
        {
            return Ok(*newest);
        }
        let identity = Uuid::new_v4();
        next.identities.push(identity);
        // Only a delivery that a crash interrupts needs older ones, and it has one or two.
        let surplus = next.identities.len().saturating_sub(LAKE_IDENTITIES_MAX);
        next.identities.drain(..surplus);
        if let Some(folder) = &self.folder {
            store(folder, &next)?;
        }
        tracing::warn!(
            file,
            %spool_id,
            new_identity = %identity,
            "the lake holds other events under the names of this gateway: its data folder was copied, or restored from a backup, \
             and another life of it delivered into the same lake; nothing is overwritten, new files get another identity. Give \
             each gateway a data folder of its own"
        );
        *made = next;
        Ok(identity)
    }
}

fn load(path: &Path) -> Made {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Made::default(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the lake's identities cannot be read: the spool's own is used");
            return Made::default();
        }
    };
    parse(&text).unwrap_or_else(|| {
        tracing::error!(path = %path.display(), "the lake's identities are damaged: the spool's own is used");
        Made::default()
    })
}

fn parse(text: &str) -> Option<Made> {
    let mut lines = text.strip_suffix('\n')?.lines();
    lines.next().filter(|head| *head == HEAD)?;
    let spool_id = lines.next()?.strip_prefix("spool_id ")?.parse().ok()?;
    let identities = lines.map(|line| line.strip_prefix("identity ")?.parse().ok()).collect::<Option<Vec<Uuid>>>()?;
    Some(Made { spool_id, identities })
}

fn store(folder: &Path, made: &Made) -> io::Result<()> {
    let mut text = format!("{HEAD}\nspool_id {}\n", made.spool_id);
    for identity in &made.identities {
        text.push_str(&format!("identity {identity}\n"));
    }
    durable::make_subfolder(folder)?;
    durable::replace_file(&folder.join(FILE), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_identity_is_durable_is_made_once_for_all_partitions_and_belongs_to_its_spool() {
        let folder = tempfile::tempdir().unwrap();
        let delivery = folder.path().join("delivery");
        let (spool, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let identities = Identities::open(Some(&delivery));
        assert_eq!(identities.all(spool), [spool]);
        let first = identities.instead_of(spool, spool, "a file").unwrap();
        assert_eq!(identities.instead_of(spool, spool, "another file").unwrap(), first, "one clash, one identity");
        let second = identities.instead_of(first, spool, "a file").unwrap();
        let again = Identities::open(Some(&delivery));
        assert_eq!(again.all(spool), [spool, first, second]);
        assert_eq!(again.newest(spool), second);
        assert_eq!(again.all(other), [other], "a new spool begins anew");
    }

    #[test]
    fn the_list_is_bounded_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let (identities, spool) = (Identities::open(Some(folder.path())), Uuid::from_u128(1));
        let mut newest = spool;
        for _ in 0..LAKE_IDENTITIES_MAX + 5 {
            newest = identities.instead_of(newest, spool, "a file").unwrap();
        }
        let again = Identities::open(Some(folder.path()));
        assert_eq!((again.all(spool).len(), again.newest(spool)), (LAKE_IDENTITIES_MAX + 1, newest));
    }

    #[test]
    fn a_damaged_list_is_said_and_the_spools_own_identity_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let (identities, spool) = (Identities::open(Some(folder.path())), Uuid::from_u128(1));
        identities.instead_of(spool, spool, "a file").unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", "x", &whole[..whole.len() - 1], &whole.replace("identity ", "identity x")] {
            fs::write(&path, text).unwrap();
            assert_eq!(Identities::open(Some(folder.path())).all(spool), [spool], "{text:?}");
        }
    }
}
