//! A lake in a local folder. After a crash at any point the new file is either whole or absent. An existing file is never
//! replaced.
//!
//! Folders that were removed while the gateway runs are created again. A file is written in `_tmp`, or, if its partition is on
//! another file system, hidden in the partition, because a rename does not cross file systems.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use uuid::Uuid;

use super::{
    entries::{Created, FileEntry, Folder},
    source::Source,
};
use crate::{
    durable::{self, FOLDER_MODE},
    event::unix_millis,
    fault::{FaultKind, Operation, fault_kind},
    limits::LAKE_KNOWN_FOLDERS_MAX,
    sink::lake::{LakeError, partition::Partition},
};

/// Folder for unfinished files. Query engines ignore names that begin with `_` or `.`, and no glob for `*.parquet` matches a
/// name that ends in [`TEMP_SUFFIX`].
const TEMP_FOLDER: &str = "_tmp";
const TEMP_SUFFIX: &str = ".tmp";

/// The root folder, and the known state of its subfolders.
#[derive(Debug)]
pub(in crate::sink::lake) struct Local {
    root: PathBuf,
    /// Folders whose own entry is known to be on disk. Locked while a folder is created, so that no thread writes into a folder
    /// that a power loss could remove.
    durable_folders: Mutex<HashMap<PathBuf, Mark>>,
    /// Distinguishes its temporary files from those of other gateways; the process id is 1 in every container.
    writer: u64,
    /// Distinguishes the temporary files of this gateway: an abandoned delivery may still be writing.
    temp_count: AtomicU64,
    /// Whether the log already says that a partition is on another file system.
    is_crossing_logged: AtomicBool,
}

/// Distinguishes a folder from a later folder at the same path: inode numbers alone are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Mark {
    fn of(folder: &Path) -> Option<Self> {
        let metadata = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() })
    }
}

/// An error with its path, which the system's message lacks, and its kind, which tells whether it may pass.
#[derive(Debug)]
pub(super) struct FileError {
    path: PathBuf,
    operation: Operation,
    error: io::Error,
}

impl FileError {
    fn at(path: &Path, operation: Operation) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { path, operation, error }
    }

    fn kind(&self) -> FaultKind {
        fault_kind(&self.error, self.operation)
    }

    fn is(&self, errno: Errno) -> bool {
        self.error.raw_os_error() == Some(errno.raw_os_error())
    }

    fn of_lake(self) -> LakeError {
        LakeError::Io { path: self.path.display().to_string(), cause: self.error }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.kind() {
            FaultKind::Transient => "for the moment: ",
            FaultKind::NoSpace => "no room: ",
            FaultKind::Place => "",
            FaultKind::Medium => "the disk fails: ",
        };
        write!(f, "{}: {said}{}", self.path.display(), self.error)
    }
}

impl Local {
    pub(super) fn for_reading(root: &str) -> Result<Self, LakeError> {
        let local = Self::new(root.into());
        local.root.read_dir().map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        Ok(local)
    }

    /// Opens the lake beside its gateway: creates nothing, and leaves the unfinished files of others alone.
    pub(super) fn for_upkeep(root: &str) -> Result<Self, LakeError> {
        let absolute = std::path::absolute(root).map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        absolute.read_dir().map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        Ok(Self::new(absolute))
    }

    /// Creates the root, and leaves the unfinished files of others alone.
    pub(super) fn for_building(root: &str) -> Result<Self, LakeError> {
        let absolute = std::path::absolute(root).map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        let local = Self::new(absolute);
        local.durable_folder(&mut local.known(), &local.root).map_err(FileError::of_lake)?;
        Ok(local)
    }

    /// See [`Store::below`](super::Store::below).
    pub(super) fn below(&self, folder: &str) -> Result<Self, LakeError> {
        let (root, _) = self.made_folder(folder).map_err(FileError::of_lake)?;
        Ok(Self::new(root))
    }

    pub(super) fn for_writing(root: &str) -> Result<Self, LakeError> {
        let absolute = std::path::absolute(root).map_err(|cause| LakeError::Io { path: root.to_owned(), cause })?;
        let local = Self::new(absolute);
        local.durable_folder(&mut local.known(), &local.root).map_err(FileError::of_lake)?;
        let temp = local.root.join(TEMP_FOLDER);
        let made = local.durable_folder(&mut local.known(), &temp).map(drop);
        match made.and_then(|()| remove_leftovers(&temp, |_| true)) {
            // The disk fails. After any other error the partitions may still be writable.
            Err(error) if error.kind() == FaultKind::Medium || error.is(Errno::IO) => return Err(error.of_lake()),
            Err(error) => tracing::warn!(%error, "the lake's folder for unfinished files cannot be used"),
            Ok(()) => {}
        }
        Ok(local)
    }

    fn new(root: PathBuf) -> Self {
        Self {
            root,
            durable_folders: Mutex::default(),
            writer: Uuid::new_v4().as_u64_pair().1,
            temp_count: AtomicU64::new(0),
            is_crossing_logged: AtomicBool::new(false),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// See [`Store::create`](super::Store::create).
    pub(super) fn create(&self, folder: &str, file_name: &str, file: &[u8]) -> Result<Created, FileError> {
        match self.try_create(folder, file_name, file) {
            // A folder was removed in between. Try once more; if the removal continues, the deliverer retries.
            Err(error) if error.is(Errno::NOENT) => self.try_create(folder, file_name, file),
            created => created,
        }
    }

    fn try_create(&self, folder: &str, file_name: &str, file: &[u8]) -> Result<Created, FileError> {
        let (folder, mark) = self.made_folder(folder)?;
        let target = folder.join(file_name);
        if target.symlink_metadata().is_ok() {
            return Ok(Created::Taken);
        }
        // Opened before there is anything to sync, so that a lack of descriptors leaves nothing unfinished.
        let entries = File::open(&folder).map_err(FileError::at(&folder, Operation::Name))?;
        let suffix = format!("{:016x}.{}{TEMP_SUFFIX}", self.writer, self.temp_count.fetch_add(1, Ordering::Relaxed));
        let mode = self.mode() & 0o666;
        let beside = folder.join(format!(".{file_name}.{suffix}"));
        let aside = self.root.join(TEMP_FOLDER);
        let aside_mark = self.durable_folder(&mut self.known(), &aside);
        let moved = if aside_mark.is_ok_and(|aside| aside.device == mark.device) {
            match write_and_move(&aside.join(format!("{file_name}.{suffix}")), &target, mode, file) {
                Err(error) if error.is(Errno::XDEV) => {
                    if !self.is_crossing_logged.swap(true, Ordering::Relaxed) {
                        tracing::info!(%error, "a partition is on another file system: its files are written hidden beside their place");
                    }
                    write_and_move(&beside, &target, mode, file)
                }
                moved => moved,
            }
        } else {
            write_and_move(&beside, &target, mode, file)
        };
        let created = moved?;
        if created == Created::New
            && let Err(error) = entries.sync_all()
        {
            // A second sync could succeed without the entry. The next attempt creates the entry again.
            let _ = fs::remove_file(&target);
            return Err(FileError::at(&folder, Operation::Sync)(error));
        }
        Ok(created)
    }

    pub(super) fn temp_folder(&self) -> PathBuf {
        self.root.join(TEMP_FOLDER)
    }

    /// Creates an unfinished file in [`TEMP_FOLDER`].
    pub(super) fn unfinished(&self, file_name: &str) -> io::Result<(PathBuf, File)> {
        let folder = self.root.join(TEMP_FOLDER);
        self.durable_folder(&mut self.known(), &folder).map_err(|error| error.error)?;
        let path = folder.join(self.temp_name(file_name));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(self.mode() & 0o666).open(&path)?;
        Ok((path, file))
    }

    /// Moves a complete unfinished file to its place, unless that is taken.
    pub(super) fn finish(&self, partition: &Partition, file_name: &str, unfinished: &Path, file: &File) -> io::Result<Created> {
        file.sync_all()?;
        let (folder, _) = self.made_folder(&partition.to_string()).map_err(|error| error.error)?;
        let (target, entries) = (folder.join(file_name), File::open(&folder)?);
        let created = match move_new(unfinished, &target) {
            Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
                let beside = folder.join(format!(".{}", self.temp_name(file_name)));
                let copied = fs::copy(unfinished, &beside).and_then(|_| File::open(&beside)?.sync_all());
                let moved = copied.and_then(|()| move_new(&beside, &target));
                if matches!(moved, Ok(Created::New)) {
                    // Best effort, as for all unfinished files.
                    let _ = fs::remove_file(unfinished);
                } else {
                    let _ = fs::remove_file(&beside);
                }
                moved?
            }
            moved => moved?,
        };
        if created == Created::New
            && let Err(error) = entries.sync_all()
        {
            let _ = fs::remove_file(&target);
            return Err(error);
        }
        Ok(created)
    }

    /// The name of an unfinished file that shall be called `file_name`.
    fn temp_name(&self, file_name: &str) -> String {
        format!("{file_name}.{:016x}.{}{TEMP_SUFFIX}", self.writer, self.temp_count.fetch_add(1, Ordering::Relaxed))
    }

    /// See [`Store::settle`](super::Store::settle).
    pub(super) fn settle(&self, partition: &Partition) -> Result<(), FileError> {
        let (folder, _) = self.made_folder(&partition.to_string())?;
        sync_folder(&folder)
    }

    /// The files of a partition. Removes files that a crash left unfinished and that are `is_ours`.
    pub(super) fn look(&self, partition: &Partition, is_ours: impl Fn(&str) -> bool) -> Result<Vec<FileEntry>, LakeError> {
        let folder = partition.to_string();
        let path = self.root.join(&folder);
        let files = match self.list(&folder) {
            Ok(listed) => listed.files,
            // If a file is in place of the folder, the next write reports the error.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
            Err(cause) => return Err(LakeError::Io { path: path.display().to_string(), cause }),
        };
        if files.iter().any(|file| is_hidden_leftover(&file.name)) {
            remove_leftovers(&path, |name| is_hidden_leftover(name) && is_ours(&name[1..])).map_err(FileError::of_lake)?;
        }
        Ok(files)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, Mark>> {
        self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder below the root, created if missing; all entries on its path are on disk.
    fn made_folder(&self, folder: &str) -> Result<(PathBuf, Mark), FileError> {
        let mut known = self.known();
        let mut path = self.root.clone();
        let mut mark = self.durable_folder(&mut known, &path)?;
        for name in folder.split('/') {
            path.push(name);
            mark = self.durable_folder(&mut known, &path)?;
        }
        Ok((path, mark))
    }

    /// Creates a folder whose parent exists (or the root with its parents) if it is missing, and syncs its entry. An existing
    /// folder is synced too, because a process that died since may have created it without a sync.
    fn durable_folder(&self, known: &mut HashMap<PathBuf, Mark>, folder: &Path) -> Result<Mark, FileError> {
        if let Some(mark) = Mark::of(folder)
            && known.get(folder) == Some(&mark)
        {
            return Ok(mark);
        }
        let made = match folder == self.root {
            true => durable::make_folder(folder),
            false => durable::make_subfolder_of_mode(folder, self.mode()),
        };
        made.map_err(FileError::at(folder, Operation::Name))?;
        let mark = Mark::of(folder).ok_or_else(|| FileError::at(folder, Operation::Name)(Errno::NOENT.into()))?;
        if known.len() >= LAKE_KNOWN_FOLDERS_MAX {
            known.clear();
        }
        known.insert(folder.to_owned(), mark);
        Ok(mark)
    }

    /// Permissions of new files and folders: users who may read the root may read the rest.
    fn mode(&self) -> u32 {
        fs::metadata(&self.root).map_or(FOLDER_MODE, |root| root.permissions().mode() & 0o777)
    }

    pub(super) fn list(&self, folder: &str) -> io::Result<Folder> {
        let mut listed = Folder::default();
        for entry in self.root.join(folder).read_dir()? {
            let entry = entry?;
            // A name that is not UTF-8 is foreign; it is shown as far as possible.
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
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                listed.files.push(FileEntry { name, bytes: metadata.len(), modified_millis: unix_millis(modified) });
            }
        }
        Ok(listed)
    }

    pub(super) fn size(&self, path: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.root.join(path)) {
            Ok(metadata) => Ok(Some(metadata.len()).filter(|_| metadata.is_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn read(&self, path: &str) -> io::Result<Bytes> {
        fs::read(self.root.join(path)).map(Bytes::from)
    }

    /// See [`Store::replace`](super::Store::replace).
    pub(super) fn replace(&self, folder: &str, file_name: &str, file: &[u8]) -> Result<(), FileError> {
        let (folder, _) = self.made_folder(folder)?;
        let path = folder.join(file_name);
        durable::replace_file(&path, file).map_err(FileError::at(&path, Operation::Write))
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    pub(super) fn open(&self, path: &str, bytes: u64) -> io::Result<Source> {
        Ok(Source::local(File::open(self.root.join(path))?, bytes))
    }
}

/// Removes unfinished files of a crash. If another gateway shares the lake and is just writing, its rename fails and it writes
/// that file again.
fn remove_leftovers(folder: &Path, is_leftover: impl Fn(&str) -> bool) -> Result<(), FileError> {
    for entry in folder.read_dir().map_err(FileError::at(folder, Operation::Name))? {
        let path = entry.map_err(FileError::at(folder, Operation::Name))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(TEMP_SUFFIX) && is_leftover(&name) {
            tracing::info!(file = %path.display(), "removing a lake file that a crash left unfinished");
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::at(&path, Operation::Name)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_hidden_leftover(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMP_SUFFIX)
}

/// Writes `temp` durably, and renames it to `target` unless that name is taken. Leaves no `temp` behind.
fn write_and_move(temp: &Path, target: &Path, mode: u32, file: &[u8]) -> Result<Created, FileError> {
    let written = write_durably(temp, mode, file);
    let moved = written.and_then(|()| move_new(temp, target).map_err(FileError::at(target, Operation::Name)));
    if !matches!(moved, Ok(Created::New)) {
        // Best effort: otherwise the next start removes it.
        let _ = fs::remove_file(temp);
    }
    moved
}

fn write_durably(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), FileError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(FileError::at(path, Operation::Name))?;
    file.write_all(bytes).map_err(FileError::at(path, Operation::Write))?;
    file.sync_all().map_err(FileError::at(path, Operation::Sync))
}

/// Renames `temp` to `target` unless that name is taken.
fn move_new(temp: &Path, target: &Path) -> io::Result<Created> {
    match renameat_with(CWD, temp, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(Created::New),
        Err(Errno::EXIST) => return Ok(Created::Taken),
        // The file system (such as NFS) or the kernel does not support it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::hard_link(temp, target) {
        // If this fails, both names stay; the leftover is removed later.
        Ok(()) => fs::remove_file(temp).map(|()| Created::New),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Taken),
        // No hard links either, such as FAT. The caller has just checked the name: only a race with another gateway remains.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::PERM | Errno::NOSYS | Errno::NOTSUP)) => {
            fs::rename(temp, target).map(|()| Created::New)
        }
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> Result<(), FileError> {
    let entries = File::open(folder).map_err(FileError::at(folder, Operation::Name))?;
    entries.sync_all().map_err(FileError::at(folder, Operation::Sync))
}
