//! How often the events of letters were rejected again: `dead-letters/<source>/repeats.journal`.
//!
//! One JSON object per line, appended by the writer of the letters:
//!
//! ```text
//! {"letter":"<32 hex digits>","repeats":3,"last_repeated":"2026-11-27T10:00:00.000Z"
//!  [,"stream_event":"<32 hex digits>","received_datetime":"2026-11-27T09:00:00.000Z"]}
//! ```
//!
//! `letter` is [`LetterId`]. The last line of a letter counts: `repeats` is the sum of all so far. A letter that went to the
//! stream of the dead letters is in no file, so its line also holds what the next start needs to know it again: the name of its
//! event and when it was received. Beyond [`REPEATS_JOURNAL_BYTES_MAX`] the journal is rewritten with the newest lines.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{folder::open_to_append, stored::LetterId};
use crate::{
    durable::{self, FILE_MODE},
    limits::REPEATS_JOURNAL_BYTES_MAX,
};

const NAME: &str = "repeats.journal";

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RepeatEntry {
    pub(super) letter: String,
    /// How often the event was rejected again.
    pub(super) repeats: u64,
    /// When it was last received again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_repeated: Option<String>,
    /// The event of a letter in the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stream_event: Option<String>,
    /// When that event was received first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) received_datetime: Option<String>,
}

/// The last line of each letter in one folder.
#[derive(Debug, Default)]
pub(super) struct RepeatEntries(HashMap<LetterId, RepeatEntry>);

impl RepeatEntries {
    /// Reads the journal of `folder`, if there is one.
    ///
    /// # Errors
    /// The error of the disk.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut entries = HashMap::new();
        for_each(folder, |letter, entry| _ = entries.insert(letter, entry))?;
        Ok(Self(entries))
    }

    /// The entry of the letter on `line`.
    pub(super) fn of(&self, line: &[u8]) -> Option<&RepeatEntry> {
        // Most folders have no journal, and hashing is the most expensive step.
        if self.0.is_empty() { None } else { self.0.get(&LetterId::of(line)) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&LetterId, &RepeatEntry)> {
        self.0.iter()
    }
}

fn for_each(folder: &Path, mut visit: impl FnMut(LetterId, RepeatEntry)) -> io::Result<()> {
    let file = match File::open(folder.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file.take(2 * REPEATS_JOURNAL_BYTES_MAX));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        // A line without its end is incomplete or torn; a line of another format is ignored.
        if line.ends_with(b"\n")
            && let Ok(entry) = serde_json::from_slice::<RepeatEntry>(&line)
            && let Ok(letter) = entry.letter.parse()
        {
            visit(letter, entry);
        }
        line.clear();
    }
    Ok(())
}

/// Whether an append is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Lost by a power cut, not by a kill.
    No,
    Yes,
}

/// Appends entries. The first append of a process is one with [`Sync::Yes`], which cuts a torn line.
///
/// # Errors
/// The error of the disk.
pub(super) fn append(folder: &Path, entries: &[RepeatEntry], sync: Sync) -> io::Result<()> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry)?;
        text.push(b'\n');
    }
    if sync == Sync::No {
        let mut file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(folder.join(NAME))?;
        return file.write_all(&text);
    }
    durable::make_subfolder(folder)?;
    let (mut file, length) = open_to_append(folder, NAME)?;
    let appended = file.write_all(&text).and_then(|()| file.sync_data());
    if appended.is_err() {
        // The counts are written again.
        let _ = file.set_len(length);
    }
    appended?;
    if length + text.len() as u64 > REPEATS_JOURNAL_BYTES_MAX { shrink(folder) } else { Ok(()) }
}

/// Rewrites the journal with the last line of each of the letters that were repeated or received last, up to half the limit.
fn shrink(folder: &Path) -> io::Result<()> {
    let entries = RepeatEntries::read(folder)?;
    let mut newest_first: Vec<&RepeatEntry> = entries.0.values().collect();
    let time = |entry: &RepeatEntry| entry.last_repeated.clone().max(entry.received_datetime.clone());
    newest_first.sort_by_cached_key(|entry| std::cmp::Reverse(time(entry)));
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for entry in newest_first {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        bytes += line.len() as u64;
        if bytes > REPEATS_JOURNAL_BYTES_MAX / 2 {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    durable::replace_file(&folder.join(NAME), &lines.concat())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn bytes(folder: &Path) -> u64 {
        fs::metadata(folder.join(NAME)).unwrap().len()
    }

    fn entry(letter: u64, repeats: u64, last_repeated: &str) -> RepeatEntry {
        RepeatEntry {
            letter: LetterId::of(&letter.to_le_bytes()).to_string(),
            repeats,
            last_repeated: Some(last_repeated.into()),
            stream_event: None,
            received_datetime: None,
        }
    }

    #[test]
    fn the_last_line_of_a_letter_counts_and_a_torn_line_is_cut_by_the_next_append() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("web");
        let repeats = |letter: u64| RepeatEntries::read(&folder).unwrap().of(&letter.to_le_bytes()).map(|entry| entry.repeats);
        assert_eq!(repeats(1), None);
        append(&folder, &[entry(1, 2, "a"), entry(2, 1, "a")], Sync::Yes).unwrap();
        append(&folder, &[entry(1, 5, "b")], Sync::No).unwrap();
        assert_eq!((repeats(1), repeats(2), repeats(3)), (Some(5), Some(1), None));
        let mut torn = fs::read(folder.join(NAME)).unwrap();
        torn.truncate(torn.len() - 1);
        fs::write(folder.join(NAME), torn).unwrap();
        append(&folder, &[entry(3, 1, "c")], Sync::Yes).unwrap();
        assert_eq!((repeats(1), repeats(3)), (Some(2), Some(1)));
    }

    #[test]
    fn a_journal_that_is_too_long_keeps_the_newest_letters() {
        let root = tempfile::tempdir().unwrap();
        let most = REPEATS_JOURNAL_BYTES_MAX / 100;
        for times in 1..=2 {
            let all: Vec<RepeatEntry> = (0..most).map(|letter| entry(letter, times, &format!("{letter:09}"))).collect();
            append(root.path(), &all, Sync::Yes).unwrap();
            assert!(bytes(root.path()) <= REPEATS_JOURNAL_BYTES_MAX, "{}", bytes(root.path()));
        }
        let entries = RepeatEntries::read(root.path()).unwrap();
        let repeats = |letter: u64| entries.of(&letter.to_le_bytes()).map(|entry| entry.repeats);
        assert_eq!(repeats(most - 1), Some(2));
        assert_eq!(repeats(0), None);
    }
}
