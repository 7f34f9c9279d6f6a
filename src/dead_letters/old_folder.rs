//! Until release 0.1.0 the folder of the dead letters was called `rejected`. The process that holds the lock of the data folder
//! migrates it at the start.
//!
//! Usually only the old folder exists: one rename, then an fsync of the data folder. Both folders exist after a temporary
//! return to release 0.1.0. Then each source is merged: first its repair journal, because a dropped letter must not appear
//! again; then its files, numbered after the existing ones, because the old release wrote them later. Each step is a rename or
//! a replaced file, and can be repeated, so that a crash at any moment only leaves work for the next start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    folder::{file_name, finish_newest_file, numbers},
    journal,
};
use crate::durable;

const NAME: &str = "dead-letters";
const OLD_NAME: &str = "rejected";

/// The folder of the dead letters in a data folder.
#[must_use]
pub fn folder_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// The folder of the dead letters for readers: the old folder, while there is no new one.
#[must_use]
pub fn folder_to_read(data_dir: &Path) -> PathBuf {
    let (new, old) = (folder_in(data_dir), data_dir.join(OLD_NAME));
    if !new.exists() && old.is_dir() { old } else { new }
}

/// A notice for readers, while there is an old folder.
#[must_use]
pub fn old_folder_notice(data_dir: &Path) -> Option<String> {
    let (new, old) = (folder_in(data_dir), data_dir.join(OLD_NAME));
    if !old.is_dir() {
        return None;
    }
    let (new_name, old) = (new.display(), old.display());
    Some(if new.exists() {
        format!("older dead letters lie in {old} and are not read; the next start of the gateway moves them to {new_name}")
    } else {
        format!("the dead letters lie in {old}; the next start of the gateway moves them to {new_name}")
    })
}

/// Renames the old folder, if there is one. Returns a sentence about it. Only for the process that holds the lock of the data
/// folder.
///
/// # Errors
/// The error of the disk, with the path; files moved until then stay moved, and the next start moves the rest.
pub fn take_over_old_folder(data_dir: &Path) -> io::Result<Option<String>> {
    let (new, old) = (folder_in(data_dir), data_dir.join(OLD_NAME));
    if !old.is_dir() {
        return Ok(None);
    }
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{}: cannot be moved to {}: {error}", old.display(), new.display()))
    };
    let is_merged = new.exists();
    let moved = if is_merged { merge(&old, &new) } else { fs::rename(&old, &new) };
    moved.map_err(named)?;
    durable::sync_folder(data_dir).map_err(named)?;
    let (verb, old, new) = (if is_merged { "merged into" } else { "renamed to" }, old.display(), new.display());
    Ok(Some(format!("the folder of the dead letters has a new name: {old} was {verb} {new}")))
}

/// Moves the contents of `old` to `new`, and removes `old`.
fn merge(old: &Path, new: &Path) -> io::Result<()> {
    for name in names(old)? {
        let (from, to) = (old.join(&name), new.join(&name));
        if from.is_dir() && to.is_dir() {
            merge_source(&from, &to)?;
        } else {
            move_file(&from, &to)?;
        }
    }
    durable::sync_folder(new)?;
    fs::remove_dir(old)
}

/// Moves the files of one source.
fn merge_source(from: &Path, to: &Path) -> io::Result<()> {
    for folder in [from, to] {
        // After the merge these files are no longer the newest, and only the newest may end in a torn line.
        finish_newest_file(folder)?;
    }
    journal::merge(from, to)?;
    let last = numbers(to)?.into_iter().max().unwrap_or(0);
    let mut to_move = numbers(from)?;
    to_move.sort_unstable();
    for number in to_move {
        let (before, after) = (file_name(number), file_name(last.saturating_add(number)));
        for ending in ["", ".damaged"] {
            let found = from.join(format!("{before}{ending}"));
            if found.exists() {
                move_file(&found, &to.join(format!("{after}{ending}")))?;
            }
        }
    }
    for name in names(from)? {
        let found = from.join(&name);
        if found.extension().is_some_and(|extension| extension == "tmp") {
            // An unfinished file that a crash left.
            fs::remove_file(&found)?;
        } else {
            move_file(&found, &to.join(&name))?;
        }
    }
    durable::sync_folder(to)?;
    fs::remove_dir(from)
}

fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        let (from, to) = (from.display(), to.display());
        let text = format!("{from} and {to} have the same name; rename one of them, and start again");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    fs::rename(from, to)
}

fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// All files below `folder`, with their contents.
    fn contents(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for name in names(folder).unwrap() {
            let path = folder.join(&name);
            let name = name.to_string_lossy().into_owned();
            if path.is_dir() {
                found.extend(contents(&path).into_iter().map(|below| format!("{name}/{below}")));
            } else {
                found.push(format!("{name}: {}", fs::read_to_string(&path).unwrap().replace('\n', "|")));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn an_old_folder_is_renamed_once_and_read_until_then() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(take_over_old_folder(root.path()).unwrap(), None);
        assert_eq!(folder_to_read(root.path()), root.path().join("dead-letters"));
        write(root.path(), "rejected/web/00000001.ndjson", "{\"a\":1}\n");
        assert_eq!(folder_to_read(root.path()), root.path().join("rejected"));
        assert!(old_folder_notice(root.path()).unwrap().contains("the next start"));
        assert!(take_over_old_folder(root.path()).unwrap().unwrap().contains("was renamed to"));
        assert_eq!(contents(root.path()), ["dead-letters/web/00000001.ndjson: {\"a\":1}|"]);
        assert_eq!((take_over_old_folder(root.path()).unwrap(), old_folder_notice(root.path())), (None, None));
    }

    #[test]
    fn letters_that_an_old_release_wrote_later_go_behind_those_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        let entry = |letter| format!("{{\"at\":\"\",\"run\":\"\",\"letter\":\"{letter}\",\"outcome\":\"dropped\"}}\n");
        write(root.path(), "dead-letters/web/00000003.ndjson", "{\"a\":3}\n{\"torn");
        write(root.path(), "dead-letters/web/repairs.journal", &(entry("a") + "{\"torn"));
        write(root.path(), "rejected/web/00000001.ndjson", "{\"a\":4}\n");
        write(root.path(), "rejected/web/00000001.ndjson.damaged", "x");
        write(root.path(), "rejected/web/00000002.ndjson", "{\"a\":5}\n{\"torn");
        write(root.path(), "rejected/web/letters.tmp", "half");
        write(root.path(), "rejected/web/repairs.journal", &entry("b"));
        write(root.path(), "rejected/app/00000001.ndjson", "{\"a\":6}\n");
        assert!(take_over_old_folder(root.path()).unwrap().unwrap().contains("was merged into"));
        let journal = format!("dead-letters/web/repairs.journal: {}{}", entry("a"), entry("b")).replace('\n', "|");
        assert_eq!(
            contents(root.path()),
            [
                "dead-letters/app/00000001.ndjson: {\"a\":6}|".to_owned(),
                "dead-letters/web/00000003.ndjson: {\"a\":3}|".to_owned(),
                "dead-letters/web/00000004.ndjson.damaged: x".to_owned(),
                "dead-letters/web/00000004.ndjson: {\"a\":4}|".to_owned(),
                "dead-letters/web/00000005.ndjson: {\"a\":5}|".to_owned(),
                journal,
            ]
        );
    }

    #[test]
    fn a_merge_that_a_crash_cut_short_goes_on_and_a_strange_file_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let entry = "{\"at\":\"\",\"run\":\"\",\"letter\":\"b\",\"outcome\":\"dropped\"}\n";
        // The journal was merged and one of two files moved.
        write(root.path(), "dead-letters/web/00000001.ndjson", "{\"a\":1}\n");
        write(root.path(), "dead-letters/web/00000002.ndjson", "{\"a\":2}\n");
        write(root.path(), "dead-letters/web/repairs.journal", entry);
        write(root.path(), "dead-letters/web/notes", "new");
        write(root.path(), "rejected/web/00000002.ndjson", "{\"a\":3}\n");
        write(root.path(), "rejected/web/repairs.journal", entry);
        write(root.path(), "rejected/web/notes", "old");
        let error = take_over_old_folder(root.path()).unwrap_err().to_string();
        assert!(error.contains("rejected/web/notes and ") && error.contains("rename one of them"), "{error}");
        fs::remove_file(root.path().join("rejected/web/notes")).unwrap();
        assert!(take_over_old_folder(root.path()).unwrap().is_some());
        assert_eq!(
            contents(root.path()),
            [
                "dead-letters/web/00000001.ndjson: {\"a\":1}|".to_owned(),
                "dead-letters/web/00000002.ndjson: {\"a\":2}|".to_owned(),
                "dead-letters/web/00000004.ndjson: {\"a\":3}|".to_owned(),
                "dead-letters/web/notes: new".to_owned(),
                format!("dead-letters/web/repairs.journal: {}", entry.replace('\n', "|")),
            ]
        );
    }
}
