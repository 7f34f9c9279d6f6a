//! Files and folders that survive a power cut.
//!
//! POSIX promises little. A file's bytes are durable after an fsync of the file. A *name* is durable only after an fsync of
//! the folder that contains it: the entry of `data/spool` is in `data`, and the entry of `data` is in its parent. If an entry
//! is lost, everything below it is lost. An *existing* name may not be durable either, because the process that created it may
//! have died before its fsync. So all folders, and all small files that are replaced as a whole, are created here.
//!
//! Files and folders are accessible only to the gateway's own user, whatever the umask, because events hold personal input.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// Permissions of a file.
pub const FILE_MODE: u32 = 0o600;

/// Permissions of a folder.
pub const FOLDER_MODE: u32 = 0o700;

/// Creates `folder` and its missing parents. When this returns, every entry from the root of its file system down to it is
/// durable, including entries that existed.
///
/// # Errors
/// The disk's I/O error.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    for ancestor in missing(&folder).into_iter().rev() {
        make_subfolder(&ancestor)?;
    }
    sync_parents(&folder)?;
    // Behind a symbolic link, the real parents must be durable too.
    let real = fs::canonicalize(&folder)?;
    if real == folder { Ok(()) } else { sync_parents(&real) }
}

/// Creates one folder; its parent must exist. When this returns, its entry is durable, even if it existed.
///
/// # Errors
/// The disk's I/O error; [`io::ErrorKind::AlreadyExists`] if something that is not a folder has the name.
pub fn make_subfolder(folder: &Path) -> io::Result<()> {
    make_subfolder_of_mode(folder, FOLDER_MODE)
}

/// Like [`make_subfolder`], with other permissions. The umask removes some of them, but never the owner's, because the gateway
/// needs those.
///
/// # Errors
/// As [`make_subfolder`].
pub fn make_subfolder_of_mode(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        // An existing folder keeps its permissions.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        result => {
            result?;
            let found = fs::metadata(folder)?.mode() & 0o777;
            if found & FOLDER_MODE != FOLDER_MODE {
                fs::set_permissions(folder, Permissions::from_mode(found | FOLDER_MODE))?;
            }
        }
    }
    sync_folder(parent(folder))
}

/// Replaces `path` by a file with `bytes`. After a crash there is the old file or the new one, whole: a temporary file is
/// written, synced and renamed, and the folder is synced.
///
/// # Errors
/// The disk's I/O error. The old file then still exists, unless the last sync failed.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, |_| Ok(()))
}

/// Like [`replace_file`], for a file of somebody else: the new file has the owner, the group and the permissions of the old one.
///
/// # Errors
/// As [`replace_file`]; also if this user may not give a file to that owner.
pub fn replace_keeping_owner(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path)?;
    replace(path, bytes, |file| {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())
    })
}

fn replace(path: &Path, bytes: &[u8], prepare: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let aside = path.with_file_name(name);
    let written = (|| {
        let mut file = create(&aside)?;
        prepare(&file)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // Only to free its bytes: the next call replaces it anyway.
        let _ = fs::remove_file(&aside);
    }
    written?;
    sync_folder(parent(path))
}

/// Creates a file for reading and writing; replaces a leftover of a crash. Neither bytes nor name are durable.
///
/// # Errors
/// The disk's I/O error.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Opens a file for reading and writing, and creates it if it is missing. Neither bytes nor name are durable.
///
/// # Errors
/// The disk's I/O error.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Makes the names in `folder` durable.
///
/// # Errors
/// The disk's I/O error.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn missing(folder: &Path) -> Vec<PathBuf> {
    folder.ancestors().take_while(|ancestor| !ancestor.exists()).map(Path::to_owned).collect()
}

/// The folder that holds the entry of `path`.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the folders above `folder`, up to the root of its file system. The mount point is not the gateway's to make durable.
fn sync_parents(folder: &Path) -> io::Result<()> {
    let device = fs::metadata(folder)?.dev();
    for above in folder.ancestors().skip(1) {
        if fs::metadata(above)?.dev() != device {
            break;
        }
        match sync_folder(above) {
            // Another user's folder, or one on a file system that cannot sync it.
            Err(error) if is_not_ours(&error) => break,
            result => result?,
        }
    }
    Ok(())
}

fn is_not_ours(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_are_made_with_their_parents_for_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        make_folder(&deep).unwrap();
        make_folder(&deep).unwrap();
        for path in ["a", "a/b", "a/b/c"] {
            assert_eq!(mode(&root.path().join(path)), FOLDER_MODE, "{path}");
        }
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).unwrap();
        make_folder(&root.path().join("link/b/d")).unwrap();
        assert!(root.path().join("a/b/d").is_dir());
        fs::write(root.path().join("file"), "in the way").unwrap();
        assert!(make_folder(&root.path().join("file/x")).is_err());
        assert_eq!(make_subfolder(&root.path().join("file")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_of_somebody_else_keeps_its_permissions_and_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // Only root may give files away; elsewhere the owner is this user.
        let _ = std::os::unix::fs::chown(&path, Some(12), Some(34));
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        let before = owner(&path);
        replace_keeping_owner(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path), owner(&path)), (b"new".to_vec(), 0o640, before));
        assert!(replace_keeping_owner(&root.path().join("none"), b"new").is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_leftover_of_a_crash_does_not_matter() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(root.path().join("file.tmp"), "half of a longer one").unwrap();
        replace_file(&path, b"first").unwrap();
        replace_file(&path, b"second").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"second".to_vec(), FILE_MODE));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        // A path that cannot be replaced stays, and no temporary file is left.
        fs::create_dir(root.path().join("folder")).unwrap();
        fs::write(root.path().join("folder/x"), "").unwrap();
        assert!(replace_file(&root.path().join("folder"), b"third").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
