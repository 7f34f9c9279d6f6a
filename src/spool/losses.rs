//! The record of lost events: `quarantine/lost.ndjson`, one line for each range of lost events, written once.

use std::{
    io::{self, IoSlice},
    ops::Range,
    path::Path,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    disk::{Disk, write_all_at},
    fault::{Fault, read_file},
    folder::Folder,
};
use crate::{
    event::{iso_millis, unix_millis},
    limits::SPOOL_LOSSES_READ_BYTES,
};

/// Name of the list in the quarantine.
pub(super) const LOSSES_NAME: &str = "lost.ndjson";

/// A range of lost events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The spool that lost them.
    pub spool_id: Uuid,
    /// First lost sequence number.
    pub first_seq: u64,
    /// One past the last lost sequence number.
    pub end_seq_exclusive: u64,
    /// Events whose identity can still be read from damaged bytes, so it is only probable.
    pub probable_events: Vec<LostEvent>,
    /// File name of the segment.
    pub segment: String,
    /// Its bad bytes, if known.
    pub bytes: Option<[u64; 2]>,
    /// The reason for the loss.
    pub reason: String,
    /// When the loss was detected.
    pub at: String,
}

/// A lost event whose identity is probably known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostEvent {
    /// Its sequence number.
    pub seq: u64,
    /// Its identity, from bytes whose checksum is wrong.
    pub event_uuid: Uuid,
}

/// See the module.
pub(super) struct Losses {
    spool_id: Uuid,
    /// Losses of this spool in the list.
    known: Mutex<Vec<Range<u64>>>,
}

impl Losses {
    /// Reads the existing list.
    pub(super) fn load(disk: &dyn Disk, quarantine: &Path, spool_id: Uuid) -> Self {
        let known = read_losses(disk, quarantine).into_iter().filter(|loss| loss.spool_id == spool_id);
        let known = known.map(|loss| loss.first_seq..loss.end_seq_exclusive).collect();
        Self { spool_id, known: Mutex::new(known) }
    }

    /// Number of lost events of this spool in the list.
    pub(super) fn events(&self) -> u64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|range| range.end - range.start).sum()
    }

    /// Runs `change`, which rewrites the list. No loss is noted meanwhile.
    pub(super) fn locked<T>(&self, change: impl FnOnce() -> T) -> T {
        let _known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change()
    }

    /// The list was removed: later losses are written to a new one.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Records a loss durably, unless it is recorded already.
    pub(super) fn note(&self, disk: &dyn Disk, quarantine: &Folder, mut loss: Loss) -> Result<(), Fault> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let range = loss.first_seq..loss.end_seq_exclusive;
        if known.iter().any(|known| known.start <= range.start && range.end <= known.end) {
            return Ok(());
        }
        loss.spool_id = self.spool_id;
        loss.at = iso_millis(unix_millis(SystemTime::now())).as_str().to_owned();
        known.push(range);
        let line = serde_json::to_string(&loss).unwrap_or_default();
        tracing::error!(loss = line, "events are lost to a damaged disk");
        let written = append_line(disk, quarantine, &line);
        if let Err(fault) = &written {
            let error = fault.error();
            tracing::error!(%error, "the loss could not be written to quarantine/{LOSSES_NAME}; the line above names it");
        }
        written
    }
}

fn append_line(disk: &dyn Disk, quarantine: &Folder, line: &str) -> Result<(), Fault> {
    let path = quarantine.join(LOSSES_NAME);
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_new(&path).map_err(Fault::naming)?,
        opened => opened.map_err(Fault::naming)?,
    };
    let text = format!("{line}\n");
    let end = file.size().map_err(Fault::naming)?;
    write_all_at(&*file, &mut [IoSlice::new(text.as_bytes())], end).map_err(Fault::writing)?;
    file.sync_data().and_then(|()| quarantine.sync()).map_err(Fault::Broken)
}

/// The entries of the list in `quarantine`. Skips unreadable lines.
pub(super) fn read_losses(disk: &dyn Disk, quarantine: &Path) -> Vec<Loss> {
    let text = read_file(disk, &quarantine.join(LOSSES_NAME), SPOOL_LOSSES_READ_BYTES).unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}
