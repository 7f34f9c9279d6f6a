//! Remembers the letters of the last day at the start: from the files, and from the journals those that went to the stream.
//!
//! What cannot be read, or is too much to read, is not remembered: such an event makes a second letter.

use std::{io, path::Path, sync::Arc, time::SystemTime};

use super::{
    archive::{Archive, Lines, sorted_numbers},
    filter::State,
    folder::file_name,
    journal::Repairs,
    known::{Keeping, KeptEvent, Known, KnownLetters, Place, Repeats},
    repeats::{RepeatEntries, RepeatEntry},
    stored::{LetterId, StoredLetter},
};
use crate::{
    event::{millis_of_iso, unix_millis},
    limits::{KNOWN_LETTERS_READ_BYTES, REPEAT_MILLIS_MAX},
};

/// Reads the letters below `root` that are younger than a day.
pub(super) fn rebuild(root: &Path, known: &KnownLetters) {
    let archive = Archive::new(root);
    let folders = archive.folders().unwrap_or_default();
    let bytes_max = KNOWN_LETTERS_READ_BYTES / folders.len().max(1) as u64;
    let now_millis = unix_millis(SystemTime::now());
    for folder in folders {
        let path = archive.path(&folder);
        if let Err(error) = Rebuild::new(&folder, &path, known, now_millis).and_then(|rebuild| rebuild.run(bytes_max)) {
            tracing::warn!(folder, %error, "dead letters of the last day cannot be read; their events make new ones");
        }
    }
}

struct Rebuild<'a> {
    folder: Arc<str>,
    path: &'a Path,
    known: &'a KnownLetters,
    repairs: Repairs,
    entries: RepeatEntries,
    now_millis: i64,
}

impl<'a> Rebuild<'a> {
    fn new(folder: &str, path: &'a Path, known: &'a KnownLetters, now_millis: i64) -> io::Result<Self> {
        let (repairs, entries) = (Repairs::read(path)?, RepeatEntries::read(path)?);
        Ok(Self { folder: folder.into(), path, known, repairs, entries, now_millis })
    }

    fn run(&self, bytes_max: u64) -> io::Result<()> {
        self.streamed();
        // The newest files, but the oldest of them first, because the oldest letters are forgotten first.
        let (mut files, mut left) = (Vec::new(), bytes_max);
        for number in sorted_numbers(self.path)?.into_iter().rev() {
            let file = self.path.join(file_name(number)).metadata()?;
            let modified_millis = unix_millis(file.modified()?);
            if left == 0 || !self.is_recent(modified_millis) {
                break;
            }
            let bytes = file.len().min(left);
            left -= bytes;
            files.push((number, bytes));
        }
        let mut left = bytes_max;
        for (number, bytes) in files.into_iter().rev() {
            // An empty file is one that a person has truncated.
            let keeping = Keeping::kept_at(self.folder.clone(), Place::File { number, end: 1 });
            let Some(mut lines) = Lines::open_tail(self.path, number, bytes)? else { continue };
            while let Some(line) = lines.next()? {
                // Packed letters may have many times the bytes of their file.
                left = left.saturating_sub(line.len() as u64);
                if left == 0 {
                    return Ok(());
                }
                self.letter(line, &keeping);
            }
        }
        Ok(())
    }

    fn letter(&self, line: &[u8], keeping: &Arc<Keeping>) {
        let Ok(letter) = StoredLetter::parse(line) else { return };
        let Some(received_millis) = letter.received_millis().filter(|millis| self.is_recent(*millis)) else { return };
        if self.repairs.state(line) != State::Open {
            return;
        }
        let Some(event) = letter.event_sha256().and_then(|hash| KeptEvent::of(&letter.code, &letter.source, &hash)) else {
            return;
        };
        let repeats = self.entries.of(line).map_or_else(Repeats::default, repeats);
        let letter = Some(LetterId::of(line));
        self.known.add(event, Known { keeping: keeping.clone(), letter, received_millis, repeats });
    }

    /// Letters that went to the stream.
    fn streamed(&self) {
        let keeping = Keeping::kept_at(self.folder.clone(), Place::Stream);
        for (letter, entry) in self.entries.iter().filter(|(letter, _)| self.repairs.of(letter) == State::Open) {
            let event = entry.stream_event.as_ref().and_then(|event| event.parse().ok());
            let received_millis = entry.received_datetime.as_deref().and_then(millis_of_iso);
            if let Some((event, received_millis)) = event.zip(received_millis.filter(|millis| self.is_recent(*millis))) {
                let (keeping, repeats) = (keeping.clone(), repeats(entry));
                self.known.add(event, Known { keeping, letter: Some(*letter), received_millis, repeats });
            }
        }
    }

    fn is_recent(&self, millis: i64) -> bool {
        self.now_millis.abs_diff(millis) < REPEAT_MILLIS_MAX
    }
}

fn repeats(entry: &RepeatEntry) -> Repeats {
    let last_millis = entry.last_repeated.as_deref().and_then(millis_of_iso).unwrap_or_default();
    Repeats { times: entry.repeats, last_millis }
}
