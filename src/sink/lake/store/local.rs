//! A lake in a local folder. A crash at any point leaves either the old file, or the new one, or none; never half of one.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{FileEntry, Folder, Source};
use crate::limits::LAKE_KNOWN_FOLDERS_MAX;
use crate::sink::lake::{LakeError, partition::Partition};

/// Where files are in the making. Query engines pass over names that begin with `_`, and no glob for `*.parquet`
/// matches a name that ends in [`TEMP_SUFFIX`].
const TEMP_FOLDER: &str = "_tmp";
const TEMP_SUFFIX: &str = ".tmp";

/// The folder, and what is known of it.
#[derive(Debug)]
pub(in crate::sink::lake) struct Local {
    root: PathBuf,
    /// Folders whose own entry is known to be on disk. Held while one is made, so that nobody writes into a folder
    /// that a power loss could still take away.
    durable_folders: Mutex<HashSet<PathBuf>>,
    /// Tells apart the temporary files of this process: a delivery that was given up may still be writing.
    temp_count: AtomicU64,
}

impl Local {
    pub(super) fn for_reading(root: &str) -> Result<Self, LakeError> {
        let local = Self::new(root);
        local.root.read_dir().map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        Ok(local)
    }

    pub(super) fn for_writing(root: &str) -> Result<Self, LakeError> {
        let local = Self::new(root);
        local.make_root().map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        let temp = local.root.join(TEMP_FOLDER);
        local.remove_leftovers(&temp).map_err(|cause| LakeError::Io { path: temp.display().to_string(), cause })?;
        Ok(local)
    }

    fn new(root: &str) -> Self {
        Self { root: root.into(), durable_folders: Mutex::default(), temp_count: AtomicU64::new(0) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the root with its parents, and the folder for temporary files, each entry on disk.
    fn make_root(&self) -> io::Result<()> {
        let root = std::path::absolute(&self.root)?;
        let missing: Vec<&Path> = root.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
        for folder in missing.into_iter().rev() {
            make_durable_folder(folder)?;
        }
        make_durable_folder(&root.join(TEMP_FOLDER))
    }

    /// Removes what a crash left in the making. Should another gateway share the lake and be writing right now, its
    /// rename fails and it writes that file again.
    fn remove_leftovers(&self, temp: &Path) -> io::Result<()> {
        for entry in temp.read_dir()? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(TEMP_SUFFIX) {
                tracing::info!(file = %entry.path().display(), "removing a lake file that a crash left unfinished");
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// See [`Store::put`](super::Store::put).
    pub(super) fn put(&self, partition: &Partition, file_name: &str, file: &[u8]) -> io::Result<()> {
        let folder = self.partition_folder(partition)?;
        let count = self.temp_count.fetch_add(1, Ordering::Relaxed);
        let temp = self.root.join(TEMP_FOLDER).join(format!("{file_name}.{}.{count}{TEMP_SUFFIX}", std::process::id()));
        let target = folder.join(file_name);
        let written = write_durably(&temp, file)
            .and_then(|()| fs::rename(&temp, &target).map_err(|error| named(&error, &target)))
            .and_then(|()| fsync_folder(&folder));
        if written.is_err() {
            // Best effort: the next start removes it otherwise.
            let _ = fs::remove_file(&temp);
        }
        written
    }

    /// The partition's folder, made where it is missing; every entry on the way to it is on disk.
    fn partition_folder(&self, partition: &Partition) -> io::Result<PathBuf> {
        let mut known = self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner);
        let outer = self.root.join(partition.type_folder());
        let inner = outer.join(partition.date_folder());
        for folder in [&outer, &inner] {
            // Someone may have removed an old partition meanwhile; then it is made anew.
            if known.contains(folder) && folder.is_dir() {
                continue;
            }
            make_durable_folder(folder)?;
            if known.len() >= LAKE_KNOWN_FOLDERS_MAX {
                known.clear();
            }
            known.insert(folder.clone());
        }
        Ok(inner)
    }

    pub(super) fn list(&self, folder: &str) -> io::Result<Folder> {
        let mut listed = Folder::default();
        for entry in self.root.join(folder).read_dir()? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours; it is shown as well as it can be.
            let name = entry.file_name().to_string_lossy().into_owned();
            // Follows links: a partition may have been moved to another disk.
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                // Removed between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                listed.folders.push(name);
            } else {
                listed.files.push(FileEntry { name, bytes: metadata.len() });
            }
        }
        Ok(listed)
    }

    pub(super) fn open(&self, path: &str, bytes: u64) -> io::Result<Source> {
        Ok(Source::local(File::open(self.root.join(path))?, bytes))
    }
}

/// Makes one folder, and puts its entry on disk: also that of a folder found there, which a process that died since
/// may have made without getting that far.
fn make_durable_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) => return Err(named(&error, folder)),
        Ok(()) => {}
    }
    folder.parent().map_or(Ok(()), fsync_folder)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| named(&error, path))
}

fn fsync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| named(&error, folder))
}

/// The error with the path it is about, which the system's own text lacks.
fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
