//! The folder: finds and reads schema files, and detects changes.
//!
//! Links are followed, because Kubernetes mounts a ConfigMap in this way (`menu -> ..data/menu -> ..2026_11_21…/menu`), but
//! only to targets below the folder. Names that begin with a dot are ignored.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::limits::{EVENT_NAME_PARTS_MAX, SCHEMA_BYTES_MAX};

/// Folder of pieces that schemas refer to; it contains no events.
pub(super) const COMMON: &str = "common";

/// A registry's folder, and its pieces that were read.
pub(super) struct Folder {
    /// The path with links resolved.
    pub(super) root: PathBuf,
    /// Pieces of several schemas are read once.
    pieces: Mutex<HashMap<PathBuf, Result<Arc<Value>, String>>>,
}

/// Changes when a file is added, removed, replaced or modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderStamp(u64);

impl FolderStamp {
    /// The stamp of the current folder; `None` if it cannot be read.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        let mut files = Vec::new();
        collect(folder, Path::new(""), LEVELS_MAX, &mut files).ok()?;
        files.retain(|file| is_schema(file));
        files.sort();
        let mut hasher = DefaultHasher::new();
        for (file, metadata) in files.iter().map(|file| (file, fs::metadata(folder.join(file)))) {
            let stamp = metadata.map(|file| (file.mtime(), file.mtime_nsec(), file.size(), file.ino())).ok();
            (file, stamp).hash(&mut hasher);
        }
        Some(Self(hasher.finish()))
    }
}

/// Maximum depth of folders: an event's parts, and `common/` with a few levels.
const LEVELS_MAX: usize = EVENT_NAME_PARTS_MAX + 1;

impl Folder {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { root: folder.canonicalize()?, pieces: Mutex::default() })
    }

    /// A missing folder: nothing can be read from it.
    pub(super) fn none() -> Self {
        // A path with a NUL byte cannot be read.
        Self { root: PathBuf::from("\0"), pieces: Mutex::default() }
    }

    /// All files below the folder, in order.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        collect(&self.root, Path::new(""), LEVELS_MAX, &mut files)?;
        files.sort();
        Ok(files)
    }

    /// The files that are schemas of events, below the folder, in order.
    pub(super) fn schemas(&self) -> io::Result<Vec<PathBuf>> {
        Ok(self.files()?.into_iter().filter(|file| is_event_schema(file)).collect())
    }

    /// Reads a file of the folder. Refuses paths that leave the folder by `..` or by a link.
    pub(super) fn read(&self, file: &Path) -> Result<String, String> {
        let path = self.root.join(file).canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
        if !path.starts_with(&self.root) {
            return Err("lies outside the schema folder".into());
        }
        let size = fs::metadata(&path).map_err(|error| format!("cannot be read: {error}"))?.len();
        if size > SCHEMA_BYTES_MAX {
            return Err(format!("has {size} bytes; at most {SCHEMA_BYTES_MAX} are allowed"));
        }
        fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}"))
    }

    /// A piece that schemas refer to.
    pub(super) fn piece(&self, file: &Path) -> Result<Arc<Value>, String> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = pieces.get(file) {
            return piece.clone();
        }
        let read = self.read(file).map_err(|reason| format!("{} {reason}", file.display()));
        let piece = read.and_then(|text| {
            serde_json::from_str(&text).map(Arc::new).map_err(|error| format!("{} is not JSON: {error}", file.display()))
        });
        pieces.insert(file.to_owned(), piece.clone());
        piece
    }
}

/// Adds the files in `inside`, a folder below `root`.
fn collect(root: &Path, inside: &Path, levels_left: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(inside))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = inside.join(entry.file_name());
        let kind = entry.file_type()?;
        // A broken link counts as a file; reading it reports the error.
        let is_folder = kind.is_dir() || kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|target| target.is_dir());
        match levels_left.checked_sub(1) {
            Some(levels_left) if is_folder => collect(root, &path, levels_left, files)?,
            None if is_folder => return Err(io::Error::other(format!("{} is too deep to be an event", path.display()))),
            _ => files.push(path),
        }
    }
    Ok(())
}

/// Whether a file takes part in validation: examples and texts do not.
fn is_schema(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.ends_with(".json") && !name.ends_with(".examples.json")
}

/// Schemas are the `.json` files outside `common/`, save the examples beside them.
pub(super) fn is_event_schema(file: &Path) -> bool {
    is_schema(file) && !file.starts_with(COMMON) && file.components().count() > 1
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_config_map_of_kubernetes_is_read_through_its_links_and_its_swap_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "..2026_11_21/menu/1.json", "{}");
        symlink("..2026_11_21", root.join("..data")).unwrap();
        symlink("..data/menu", root.join("menu")).unwrap();
        let opened = Folder::open(root).unwrap();
        assert_eq!(opened.schemas().unwrap(), [Path::new("menu/1.json")]);
        assert_eq!(opened.read(Path::new("menu/1.json")).unwrap(), "{}");
        let before = FolderStamp::of(root);
        write(root, "menu/README.md", "");
        write(root, "menu/1.examples.json", "");
        assert_eq!(before, FolderStamp::of(root));
        write(root, "..2026_11_22/menu/1.json", "{}");
        symlink("..2026_11_22", root.join("..new")).unwrap();
        fs::rename(root.join("..new"), root.join("..data")).unwrap();
        assert_ne!(before, FolderStamp::of(root));
        fs::remove_dir_all(root).unwrap();
        assert_eq!(FolderStamp::of(root), None);
    }

    #[test]
    fn links_in_circles_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/1.json", "{}");
        symlink("..", folder.path().join("a/up")).unwrap();
        let error = Folder::open(folder.path()).unwrap().schemas().unwrap_err().to_string();
        assert!(error.contains("too deep"), "{error}");
    }
}
