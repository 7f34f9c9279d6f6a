//! What was done with the letters of one folder: `dead-letters/<source>/repairs.journal`.
//!
//! One JSON object per line, appended and fsynced by the process that holds the lock of the data folder:
//!
//! ```text
//! {"at":"2026-11-25T18:00:00.000Z","run":"<UUID>","letter":"<32 hex digits>","event_uuid":"<UUID>","outcome":"accepted",
//!  "patch_sha256":"<64 hex digits>","code":"…","pointer":"…","detail":"…","schema":"…"}
//! ```
//!
//! `letter` is [`LetterId`]. `outcome` is `accepted`, `duplicate` (the event had been accepted before), `rejected` (still
//! rejected; `code`, `pointer`, `detail` and `schema` tell why) or `dropped`. A letter is repaired or gone if any line has an
//! outcome other than `rejected`. All lines of one replay or drop have the same `run`. The next append cuts a torn line.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{filter::State, folder::open_to_append, stored::LetterId};
use crate::{durable, limits::REPAIR_JOURNAL_BYTES_MAX};

const NAME: &str = "repairs.journal";

/// The result of one replay or drop for a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// The event was stored.
    Accepted,
    /// The event had been accepted before.
    Duplicate,
    /// The event is still invalid.
    Rejected,
    /// The letter was removed.
    Dropped,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairEntry {
    /// Time of the repair.
    pub at: String,
    /// Name of the run.
    pub run: String,
    /// Name of the letter.
    pub letter: String,
    /// Identity of the event, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_uuid: Option<String>,
    /// The result.
    pub outcome: Done,
    /// SHA-256 of the patch, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_sha256: Option<String>,
    /// Why the event is still rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// JSON pointer to the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The reason, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The schema that rejected the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// The known states of the letters in one folder.
#[derive(Debug, Default)]
pub(super) struct Repairs(HashMap<LetterId, State>);

impl Repairs {
    /// Reads the journal of `folder`, if there is one.
    ///
    /// # Errors
    /// The error of the disk.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut settled = HashMap::new();
        for_each(folder, |repair| {
            let state = match repair.outcome {
                Done::Accepted | Done::Duplicate => State::Repaired,
                Done::Dropped => State::Dropped,
                Done::Rejected => return,
            };
            if let Ok(letter) = repair.letter.parse() {
                let known = settled.entry(letter).or_insert(state);
                // A dropped letter is gone, even if it was repaired before.
                if state == State::Dropped {
                    *known = state;
                }
            }
        })?;
        Ok(Self(settled))
    }

    /// The state of the letter on `line`.
    #[must_use]
    pub(super) fn state(&self, line: &[u8]) -> State {
        // Most folders have no journal, and hashing is the most expensive step.
        if self.0.is_empty() { State::Open } else { self.of(&LetterId::of(line)) }
    }

    /// The state of the letter with this name.
    #[must_use]
    pub(super) fn of(&self, letter: &LetterId) -> State {
        self.0.get(letter).copied().unwrap_or(State::Open)
    }

    /// Whether no letter is known to be repaired or dropped.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All repairs of `letter`, the oldest first.
///
/// # Errors
/// The error of the disk.
pub fn history(folder: &Path, letter: LetterId) -> io::Result<Vec<RepairEntry>> {
    let letter = letter.to_string();
    let mut history = Vec::new();
    for_each(folder, |repair| history.extend((repair.letter == letter).then_some(repair)))?;
    Ok(history)
}

fn for_each(folder: &Path, mut visit: impl FnMut(RepairEntry)) -> io::Result<()> {
    let file = match File::open(folder.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        // A line without its end is incomplete or torn; a line of another format is ignored.
        if line.ends_with(b"\n")
            && let Ok(repair) = serde_json::from_slice(&line)
        {
            visit(repair);
        }
        line.clear();
    }
    Ok(())
}

/// Appends repairs and makes them durable. Only for the process that holds the lock of the data folder.
///
/// # Errors
/// The error of the disk.
pub fn append(folder: &Path, repairs: &[RepairEntry]) -> io::Result<()> {
    if repairs.is_empty() {
        return Ok(());
    }
    durable::make_folder(folder)?;
    let (mut file, length) = open_to_append(folder, NAME)?;
    let mut text = Vec::new();
    for repair in repairs {
        serde_json::to_writer(&mut text, repair)?;
        text.push(b'\n');
    }
    let appended = file.write_all(&text).and_then(|()| file.sync_data());
    if appended.is_err() {
        // Entries that are not durable are removed, so that a later successful sync does not confirm them.
        let _ = file.set_len(length);
    }
    appended
}

/// Appends the journal of `from` to the journal of `to`. May be repeated after a crash. Only for the process that holds the
/// lock of the data folder.
///
/// # Errors
/// The error of the disk; both journals are then unchanged.
pub(super) fn merge(from: &Path, to: &Path) -> io::Result<()> {
    let whole_lines = |folder: &Path| match fs::read(folder.join(NAME)) {
        Ok(mut text) => {
            text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
            Ok(Some(text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let Some(later) = whole_lines(from)? else { return Ok(()) };
    let mut text = whole_lines(to)?.unwrap_or_default();
    if !text.ends_with(&later) {
        text.extend(later);
        durable::replace_file(&to.join(NAME), &text)?;
    }
    fs::remove_file(from.join(NAME))
}

/// Whether the journal has grown beyond its limit.
#[must_use]
pub(super) fn is_too_long(folder: &Path) -> bool {
    fs::metadata(folder.join(NAME)).is_ok_and(|journal| journal.len() > REPAIR_JOURNAL_BYTES_MAX)
}

/// Whether the folder has a journal.
#[must_use]
pub(super) fn is_there(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// Rewrites the journal with the entries that `keeps` selects by themselves and by the name of their letter. Only for the process that holds the lock of the data folder.
///
/// # Errors
/// The error of the disk; the journal is then unchanged.
pub(super) fn shrink(folder: &Path, keeps: impl Fn(&RepairEntry, &LetterId) -> bool) -> io::Result<()> {
    let mut kept = Vec::new();
    for_each(folder, |repair| {
        if repair.letter.parse().is_ok_and(|letter| keeps(&repair, &letter)) {
            let _ = serde_json::to_writer(&mut kept, &repair);
            kept.push(b'\n');
        }
    })?;
    durable::replace_file(&folder.join(NAME), &kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repair(line: &[u8], outcome: Done) -> RepairEntry {
        RepairEntry {
            at: "2026-11-25T18:00:00.000Z".into(),
            run: "r".into(),
            letter: LetterId::of(line).to_string(),
            event_uuid: None,
            outcome,
            patch_sha256: None,
            code: None,
            pointer: None,
            detail: None,
            schema: None,
        }
    }

    #[test]
    fn a_letter_is_open_until_it_is_stored_or_dropped_and_a_torn_line_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = |line: &[u8]| Repairs::read(folder.path()).unwrap().state(line);
        assert_eq!(state(b"a"), State::Open);
        append(folder.path(), &[repair(b"a", Done::Rejected), repair(b"b", Done::Accepted)]).unwrap();
        append(folder.path(), &[repair(b"c", Done::Duplicate), repair(b"b", Done::Rejected)]).unwrap();
        assert_eq!([b"a", b"b", b"c"].map(|line| state(line)), [State::Open, State::Repaired, State::Repaired]);
        let path = folder.path().join(NAME);
        let mut torn = fs::read(&path).unwrap();
        torn.truncate(torn.len() - 1);
        fs::write(&path, &torn).unwrap();
        append(folder.path(), &[repair(b"b", Done::Dropped)]).unwrap();
        assert_eq!([b"a", b"b", b"c"].map(|line| state(line)), [State::Open, State::Dropped, State::Repaired]);
        assert_eq!(history(folder.path(), LetterId::of(b"b")).unwrap().len(), 2);
    }

    #[test]
    fn a_journal_that_is_too_large_keeps_what_is_known_of_the_letters_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let gone = serde_json::to_string(&repair(b"gone", Done::Accepted)).unwrap() + "\n";
        let many = gone.repeat(REPAIR_JOURNAL_BYTES_MAX as usize / gone.len() + 1);
        fs::write(folder.path().join(NAME), many).unwrap();
        assert!(is_too_long(folder.path()));
        append(folder.path(), &[repair(b"there", Done::Accepted), repair(b"there", Done::Rejected)]).unwrap();
        shrink(folder.path(), |repair, letter| repair.outcome != Done::Rejected && *letter == LetterId::of(b"there")).unwrap();
        assert!(fs::metadata(folder.path().join(NAME)).unwrap().len() < 1000);
        let repairs = Repairs::read(folder.path()).unwrap();
        assert_eq!([&b"there"[..], b"gone"].map(|line| repairs.state(line)), [State::Repaired, State::Open]);
    }
}
