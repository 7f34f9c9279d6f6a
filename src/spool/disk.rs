//! The disk interface of the spool: a trait, so that tests can use a faulty disk, and the real implementation.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use crate::durable::{self, FILE_MODE};

/// Identifies a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// Its file system.
    pub device: u64,
    /// Its inode number on that file system.
    pub inode: u64,
}

/// State of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write to it.
    pub free_bytes: u64,
    /// Whether it is mounted read-only. Writes to a file that was opened before may then be dropped although their sync
    /// succeeds.
    pub is_read_only: bool,
}

/// The operations on folders and names that the spool needs.
///
/// A change of a name (creation, rename, link, removal) is durable only after [`DiskDir::sync`] of its folder.
pub trait Disk: Send + Sync {
    /// Creates `dir` and its missing parents. Afterwards all their entries are durable, including those that existed.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on the file `path`; creates the file if it is missing. The lock is held until the returned
    /// value is dropped or the process ends. [`io::ErrorKind::WouldBlock`]: another process holds the lock.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// Names of the files in `dir`, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a file that must not exist yet.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens a folder, so that a later sync needs no new descriptor.
    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>>;
    /// The file or folder at `path`; `None` if there is none.
    fn id_at(&self, path: &Path) -> io::Result<Option<FileId>>;
    /// Length of the file at `path`.
    fn size_at(&self, path: &Path) -> io::Result<u64>;
}

/// An open folder of a [`Disk`].
pub trait DiskDir: Send + Sync {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
    /// State of its file system.
    fn space(&self) -> io::Result<Space>;
    /// The folder's id.
    fn id(&self) -> io::Result<FileId>;
}

/// A lock that is held.
pub trait DiskLock: Send + Sync {
    /// The file that is locked.
    fn id(&self) -> io::Result<FileId>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Writes at `offset`. Returns the number of bytes written, which may be less than given.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Reads at `offset`. Returns the number of bytes read: possibly fewer than fit; 0 means the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The file's length.
    fn size(&self) -> io::Result<u64>;
    /// Number of its names. A file without a name is gone when it is closed.
    fn links(&self) -> io::Result<u64>;
    /// The file's id.
    fn id(&self) -> io::Result<FileId>;
    /// Truncates the file.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`). After an error, the content of the disk is unknown, and a second call
    /// may succeed without having written a byte.
    fn sync_data(&self) -> io::Result<()>;
    /// Asks the system to drop its cache of the file, so that reads show what is on the disk.
    fn forget_cached(&self) -> io::Result<()>;
}

/// Writes all of `parts` at `offset`, even if the disk takes few bytes at a time.
pub(super) fn write_all_at(file: &dyn DiskFile, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_at(parts, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads at `offset` until `buffer` is full or the file ends. Returns the number of bytes read.
pub(super) fn read_full_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        durable::make_folder(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealFile(file))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>> {
        let file = File::open(dir)?;
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn id_at(&self, path: &Path) -> io::Result<Option<FileId>> {
        match rustix::fs::stat(path) {
            Ok(stat) => Ok(Some(FileId { device: stat.st_dev, inode: stat.st_ino })),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn size_at(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }
}

struct RealFile(File);

impl RealFile {
    fn file_id(&self) -> io::Result<FileId> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok(FileId { device: stat.st_dev, inode: stat.st_ino })
    }
}

impl DiskDir for RealFile {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.0)?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            is_read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        })
    }

    fn id(&self) -> io::Result<FileId> {
        self.file_id()
    }
}

impl DiskLock for RealFile {
    fn id(&self) -> io::Result<FileId> {
        self.file_id()
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, parts, offset)?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn links(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.0)?.st_nlink as u64)
    }

    fn id(&self) -> io::Result<FileId> {
        self.file_id()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget_cached(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}
