//! The marker of a data folder: `lakegate.id`, created by the first start.
//!
//! If a file system is not mounted, its mount point is an empty folder. A gateway that starts there has no known events,
//! accepts everything that is sent again as new, and its data is hidden when the file system is mounted. With
//! `require_existing_data` the gateway refuses a folder without the marker.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use anyhow::Context;
use uuid::Uuid;

use crate::{config::Config, durable};

const NAME: &str = "lakegate.id";

/// Refuses a data folder that was not used before, if the configuration requires that. Changes nothing.
///
/// # Errors
/// The folder has no marker, or cannot be checked.
pub fn check_data_folder(config: &Config) -> anyhow::Result<()> {
    let mark = config.data_dir.join(NAME);
    if !config.require_existing_data {
        return Ok(());
    }
    let is_there = mark.try_exists().with_context(|| format!("{}: cannot be looked at", mark.display()))?;
    let folder = config.data_dir.display();
    anyhow::ensure!(
        is_there,
        "{folder}: there is no {NAME}, so no gateway ever ran on this folder; is its file system mounted? \
         (require_existing_data is set; leave it out for the first start)"
    );
    Ok(())
}

/// Creates the marker durably. Only for the process that holds the lock of the spool.
pub(super) fn mark(data_dir: &Path) -> anyhow::Result<()> {
    write(data_dir).with_context(|| format!("{}: {NAME} cannot be written", data_dir.display()))
}

/// Warns of folders that other users can read: folders of an older version, or restored without their permissions. The
/// permissions stay unchanged, because they may be intended. Access to the lake is its owner's decision.
pub(super) fn warn_of_open_folders(data_dir: &Path) {
    let Ok(entries) = fs::read_dir(data_dir) else { return };
    let mut open: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_name() != "lake")
        .filter(|entry| entry.metadata().is_ok_and(|found| found.is_dir() && found.mode() & 0o077 != 0))
        .map(|entry| entry.path().display().to_string())
        .collect();
    if !open.is_empty() {
        open.sort();
        let folders = open.join(" ");
        tracing::warn!("folders of events or secrets are open to other users of this machine: chmod go= {folders}");
    }
}

fn write(data_dir: &Path) -> io::Result<()> {
    let mark = data_dir.join(NAME);
    // A marker that a crash left empty does not count.
    if fs::metadata(&mark).is_ok_and(|mark| mark.len() > 0) {
        return Ok(());
    }
    durable::replace_file(&mark, format!("{}\n", Uuid::new_v4()).as_bytes())
}
