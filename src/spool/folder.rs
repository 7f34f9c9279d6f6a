//! An open folder of the spool. Its handle can be synced without a new descriptor, and shows whether the name still leads to
//! it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::disk::{Disk, DiskDir, Space};

/// See the module.
pub(super) struct Folder {
    path: PathBuf,
    open: Mutex<Arc<dyn DiskDir>>,
}

impl Folder {
    /// Creates the folder if it is missing, and opens it.
    pub(super) fn make(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        disk.make_dir(path)?;
        Ok(Self { path: path.to_owned(), open: Mutex::new(disk.open_dir(path)?) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The last part of its path, used as its name in conditions.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle().sync()
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        self.handle().space()
    }

    /// Whether its name still leads to it.
    pub(super) fn is_in_place(&self, disk: &dyn Disk) -> io::Result<bool> {
        Ok(disk.id_at(&self.path)? == Some(self.handle().id()?))
    }

    /// Whether the nearest existing folder above it is on the same file system. If not, the file system is not mounted.
    pub(super) fn is_mounted(&self, disk: &dyn Disk) -> io::Result<bool> {
        let device = self.handle().id()?.device;
        for above in self.path.ancestors() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            if let Some(id) = disk.id_at(above)? {
                return Ok(id.device == device);
            }
        }
        Ok(false)
    }

    /// Creates the folder again if it is gone, and continues with the folder that has its name now.
    pub(super) fn make_again(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.make_dir(&self.path)?;
        let open = disk.open_dir(&self.path)?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        Ok(())
    }

    fn handle(&self) -> Arc<dyn DiskDir> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
