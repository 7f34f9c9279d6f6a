//! Counts repeated letters for the writer, and notes the counts in the journals of the sources every few seconds.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use super::{
    folder::file_name,
    known::{Keeping, KeptEvent, Known, KnownLetters, Place, Repeat},
    repeats::{self, RepeatEntry, Sync},
    stored::LetterId,
};
use crate::{
    event::iso_millis,
    limits::{REPEATS_NOTE_INTERVAL, REPEATS_UNNOTED_MAX},
};

/// See the module.
pub(super) struct RepeatCounter {
    root: PathBuf,
    known: Arc<KnownLetters>,
    /// The counts that no journal has yet, by folder.
    unnoted: HashMap<Arc<str>, HashMap<LetterId, RepeatEntry>>,
    noted_at: Instant,
    /// Folders whose journal was cut after its last line by this process.
    opened: HashSet<Arc<str>>,
    is_failing: bool,
}

impl RepeatCounter {
    pub(super) fn new(root: PathBuf, known: Arc<KnownLetters>) -> Self {
        let (unnoted, opened) = (HashMap::new(), HashSet::new());
        Self { root, known, unnoted, noted_at: Instant::now(), opened, is_failing: false }
    }

    /// Counts repetitions. Returns for each whether its first letter is still there.
    pub(super) fn count(&mut self, repeats: &[Repeat], received_millis: i64) -> Vec<bool> {
        let mut there = HashMap::new();
        repeats.iter().map(|repeat| self.count_one(repeat, received_millis, &mut there)).collect()
    }

    fn count_one(&mut self, repeat: &Repeat, received_millis: i64, there: &mut HashMap<*const Keeping, bool>) -> bool {
        let is_there = there.entry(Arc::as_ptr(&repeat.keeping)).or_insert_with(|| self.is_there(&repeat.keeping));
        if !*is_there {
            return false;
        }
        let Some(known) = self.known.count(repeat, received_millis) else { return false };
        let Some(letter) = known.letter else { return false };
        let folder = known.keeping.folder().clone();
        self.unnoted.entry(folder).or_default().insert(letter, entry(repeat.event, letter, &known));
        true
    }

    /// Whether the file of a letter is still there. People remove and truncate files; then the next such event makes a letter.
    fn is_there(&self, keeping: &Keeping) -> bool {
        let Some(Place::File { number, end }) = keeping.place() else { return true };
        let path = self.root.join(&**keeping.folder()).join(file_name(number));
        let is_there = fs::metadata(path).is_ok_and(|file| file.len() >= end);
        if !is_there {
            self.known.forget_file(keeping.folder(), number);
        }
        is_there
    }

    /// Notes letters that went to the stream at once, because no file tells the next start of them.
    pub(super) fn note_streamed(&mut self, letters: &[(KeptEvent, Known)]) {
        let Some((_, first)) = letters.first() else { return };
        let folder = first.keeping.folder().clone();
        let entries = letters.iter().filter_map(|(event, known)| Some(entry(*event, known.letter?, known)));
        let entries: Vec<RepeatEntry> = entries.collect();
        let sync = if self.opened.insert(folder.clone()) { Sync::Yes } else { Sync::No };
        if let Err(error) = repeats::append(&self.root.join(&*folder), &entries, sync) {
            self.failed(&folder, &error);
        }
    }

    /// Notes what was counted, if it is time.
    pub(super) fn note_if_due(&mut self) {
        if self.noted_at.elapsed() >= REPEATS_NOTE_INTERVAL {
            self.note();
        }
    }

    /// Notes what was counted.
    pub(super) fn note(&mut self) {
        self.noted_at = Instant::now();
        let mut left = HashMap::new();
        for (folder, counted) in std::mem::take(&mut self.unnoted) {
            let entries: Vec<RepeatEntry> = counted.values().cloned().collect();
            match repeats::append(&self.root.join(&*folder), &entries, Sync::Yes) {
                Ok(()) => {
                    self.opened.insert(folder);
                    self.is_failing = false;
                }
                Err(error) => {
                    self.failed(&folder, &error);
                    left.insert(folder, counted);
                }
            }
        }
        if left.values().map(HashMap::len).sum::<usize>() <= REPEATS_UNNOTED_MAX {
            self.unnoted = left;
        }
    }

    fn failed(&mut self, folder: &str, error: &std::io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(folder, %error, "how often dead letters were repeated cannot be noted; trying again");
        }
    }
}

fn entry(event: KeptEvent, letter: LetterId, known: &Known) -> RepeatEntry {
    let is_streamed = known.keeping.place() == Some(Place::Stream);
    let time = |millis| iso_millis(millis).as_str().to_owned();
    RepeatEntry {
        letter: letter.to_string(),
        repeats: known.repeats.times,
        last_repeated: (known.repeats.times > 0).then(|| time(known.repeats.last_millis)),
        stream_event: is_streamed.then(|| event.to_string()),
        received_datetime: is_streamed.then(|| time(known.received_millis)),
    }
}
