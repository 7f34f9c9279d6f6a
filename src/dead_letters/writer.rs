//! The thread that writes letters: letters that arrive together share an fsync. It also counts repeated letters, makes room where
//! it may, and regularly checks whether faults are over.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    discard::{self, Discarded},
    error::DeadLetterError,
    folder::{self, NotAppended, SourceFolder, set_torn_lines_aside},
    full_sources::FullSources,
    known::{KeptEvent, Known, KnownLetters, Place, Repeat},
    lines::Lines,
    repeat_counter::RepeatCounter,
};
use crate::{
    conditions::{Condition, Conditions},
    limits::{
        DEAD_LETTER_FILE_TRIES, DEAD_LETTER_LOOK_INTERVAL, DEAD_LETTER_RESERVE_PERCENT, DEAD_LETTER_SMALL_BYTES,
        DEAD_LETTER_WARN_PERCENT,
    },
    telemetry::Metrics,
};

/// Letters to write.
pub(super) struct Job {
    pub(super) lines: Lines,
    pub(super) done: oneshot::Sender<Result<(), DeadLetterError>>,
}

/// A task of the writer.
pub(super) enum Order {
    Write(Job),
    /// Open another file in a folder, so that the writer no longer uses the earlier files.
    Roll {
        folder: Arc<str>,
        done: oneshot::Sender<std::io::Result<()>>,
    },
    /// Count repetitions of letters that are durable: for each, whether the letter is still there.
    Count {
        repeats: Vec<Repeat>,
        received_millis: i64,
        done: oneshot::Sender<Vec<bool>>,
    },
    /// Note letters that went to the stream.
    NoteStreamed(Vec<(KeptEvent, Known)>),
    /// Note what was counted.
    NoteRepeats {
        done: oneshot::Sender<()>,
    },
    /// Note what was counted, and end.
    End,
}

/// The room of a source in the files.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Bytes that the letters of a source may have.
    pub bytes_per_source_max: u64,
    /// How long a source is full before its oldest letters are discarded for new ones that allow it. `None`: never.
    pub discard_after: Option<Duration>,
}

/// What the writer shares.
pub(super) struct WriterParts {
    pub(super) root: PathBuf,
    pub(super) quota: Quota,
    pub(super) queued_bytes: Arc<AtomicUsize>,
    pub(super) known: Arc<KnownLetters>,
    /// Held while files are rewritten.
    pub(super) rewriting: Arc<Mutex<()>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) conditions: Conditions,
}

pub(super) struct Writer {
    parts: WriterParts,
    folders: HashMap<Arc<str>, SourceFolder>,
    /// The last file of each source whose sync failed: a later sync would succeed without the bytes that the system dropped.
    unsure: HashMap<Arc<str>, u32>,
    /// Sources whose letters cannot be written.
    unwritable: Vec<Arc<str>>,
    /// Sources at their quota.
    full: FullSources,
    /// Folders that are full enough for a warning.
    filling: HashSet<String>,
    repeats: RepeatCounter,
}

impl Writer {
    pub(super) fn new(parts: WriterParts) -> Self {
        Self {
            folders: HashMap::new(),
            unsure: HashMap::new(),
            unwritable: Vec::new(),
            full: FullSources::new(parts.conditions.clone()),
            filling: HashSet::new(),
            repeats: RepeatCounter::new(parts.root.clone(), parts.known.clone()),
            parts,
        }
    }

    /// Works until it is told to end.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        self.set_torn_lines_aside();
        let mut looked_at = Instant::now();
        loop {
            match orders.recv_timeout(DEAD_LETTER_LOOK_INTERVAL.saturating_sub(looked_at.elapsed())) {
                Ok(first) => {
                    if self.obey(std::iter::once(first).chain(orders.try_iter())) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.repeats.note(),
            }
            self.repeats.note_if_due();
            if looked_at.elapsed() >= DEAD_LETTER_LOOK_INTERVAL {
                self.look();
                looked_at = Instant::now();
            }
        }
    }

    /// Called once before the first write: sets aside lines that a power cut tore.
    fn set_torn_lines_aside(&self) {
        let Ok(entries) = fs::read_dir(&self.parts.root) else { return };
        for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            match set_torn_lines_aside(&folder) {
                Ok(0) => {}
                Ok(lines) => {
                    let folder = folder.display();
                    tracing::error!(%folder, lines, "lines that are no letters were left by a power cut or a damaged disk; see *.damaged");
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "dead letters cannot be looked through for torn lines");
                }
            }
        }
    }

    /// Returns whether the writer ends.
    fn obey(&mut self, orders: impl Iterator<Item = Order>) -> bool {
        let mut by_source: HashMap<Arc<str>, Vec<Job>> = HashMap::new();
        let (mut rolls, mut ends) = (Vec::new(), false);
        for order in orders {
            match order {
                Order::Write(job) => {
                    self.parts.queued_bytes.fetch_sub(job.lines.text.len(), Ordering::Relaxed);
                    by_source.entry(job.lines.source.clone()).or_default().push(job);
                }
                Order::Roll { folder, done } => rolls.push((folder, done)),
                Order::Count { repeats, received_millis, done } => {
                    let there = self.repeats.count(&repeats, received_millis);
                    let counted = there.iter().filter(|is_there| **is_there).count();
                    self.parts.metrics.repeated_dead_letters.inc_by(counted as u64);
                    let _ = done.send(there);
                }
                Order::NoteStreamed(letters) => self.repeats.note_streamed(&letters),
                Order::NoteRepeats { done } => {
                    self.repeats.note();
                    let _ = done.send(());
                }
                Order::End => ends = true,
            }
        }
        for (source, jobs) in by_source {
            self.write(&source, jobs);
        }
        for (folder, done) in rolls {
            // The caller may be gone; the file is opened all the same.
            let _ = done.send(self.roll(&folder));
        }
        if ends {
            self.repeats.note();
        }
        ends
    }

    /// Clears conditions that are over: the next letter may come late, and people remove files by hand.
    fn look(&mut self) {
        if let Ok(folders) = folder::bytes_by_folder(&self.parts.root) {
            self.parts.metrics.dead_letters_bytes.set(folders.iter().map(|(_, bytes)| *bytes as i64).sum());
            for gone in self.filling.iter().filter(|name| !folders.iter().any(|(folder, _)| folder == *name)) {
                self.parts.conditions.clear(Condition::DeadLettersFilling, gone);
            }
            folders.iter().for_each(|(name, bytes)| self.look_at(name, *bytes));
            self.filling.retain(|name| folders.iter().any(|(folder, _)| folder == name));
        }
        self.full.look(&self.parts.root);
        for source in self.unwritable.clone() {
            match folder::try_out(&self.parts.root, &source) {
                Ok(()) => self.is_writable(&source),
                Err(error) => self.is_unwritable(&source, &error),
            }
        }
    }

    /// Raises the warning of a folder that fills up, and clears it again.
    fn look_at(&mut self, name: &str, bytes: u64) {
        let max = self.parts.quota.bytes_per_source_max;
        if bytes >= part(max, DEAD_LETTER_WARN_PERCENT) {
            let detail = format!("they hold {bytes} of the {max} bytes that they may: replay or drop them");
            self.parts.conditions.raise(Condition::DeadLettersFilling, name, detail);
            self.filling.insert(name.to_owned());
        } else if self.filling.remove(name) {
            self.parts.conditions.clear(Condition::DeadLettersFilling, name);
        }
    }

    /// Bytes that a source may have after these jobs: the last part of the quota is for small letters.
    fn limit(&self, jobs: &[Job]) -> u64 {
        let is_small = jobs.iter().all(|job| job.lines.text.len() <= DEAD_LETTER_SMALL_BYTES);
        part(self.parts.quota.bytes_per_source_max, if is_small { 100 } else { 100 - DEAD_LETTER_RESERVE_PERCENT })
    }

    fn is_unwritable(&mut self, source: &Arc<str>, error: &io::Error) {
        if !self.unwritable.contains(source) {
            self.unwritable.push(source.clone());
        }
        self.parts.conditions.raise(Condition::DeadLettersUnwritable, source, error.to_string());
    }

    fn is_writable(&mut self, source: &Arc<str>) {
        if self.unwritable.is_empty() {
            return;
        }
        self.unwritable.retain(|other| other != source);
        self.parts.conditions.clear(Condition::DeadLettersUnwritable, source);
    }

    /// The folder of a source, whose open file still has its name.
    fn folder(&mut self, source: &Arc<str>) -> Result<&mut SourceFolder, NotAppended> {
        if let Some(folder) = self.folders.get(source).filter(|folder| !folder.is_current()) {
            // The letters in it may be gone: their events make new ones.
            self.parts.known.forget_file(source, folder.end().0);
            self.folders.remove(source);
        }
        Ok(match self.folders.entry(source.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(SourceFolder::open(&self.parts.root, source, self.unsure.get(source).copied())?)
            }
        })
    }

    fn roll(&mut self, source: &Arc<str>) -> io::Result<()> {
        let rolled = self.folder(source).and_then(SourceFolder::roll);
        rolled.map_err(|failed| self.give_up(source, failed))
    }

    /// Writes the jobs of one source, with one fsync for all that fit.
    fn write(&mut self, source: &Arc<str>, jobs: Vec<Job>) {
        let limit = self.limit(&jobs);
        let bytes: u64 = jobs.iter().map(|job| job.lines.text.len() as u64).sum();
        let within_quota = jobs.iter().any(|job| job.lines.within_quota);
        let has_room = match self.folder(source) {
            Ok(folder) => !within_quota || folder.has_room_for(bytes, limit),
            Err(failed) => {
                let error = self.give_up(source, failed);
                self.is_unwritable(source, &error);
                return answer(jobs, Err(DeadLetterError::Unavailable));
            }
        };
        if !has_room {
            // One by one: the largest job must not make the others fail that still fit.
            if jobs.len() > 1 {
                return jobs.into_iter().for_each(|job| self.write(source, vec![job]));
            }
            if !(jobs.iter().all(|job| job.lines.may_discard) && self.make_room(source, bytes, limit)) {
                self.full.add(source, bytes, limit, self.full_because(limit));
                return answer(jobs, Err(DeadLetterError::Full));
            }
        }
        let count: usize = jobs.iter().map(|job| job.lines.count).sum();
        if within_quota {
            self.full.has_taken(source, bytes, limit);
        }
        let texts: Vec<&[u8]> = jobs.iter().map(|job| job.lines.text.as_slice()).collect();
        let started = Instant::now();
        match self.append(source, &texts) {
            Ok(place) => {
                let metrics = &self.parts.metrics;
                metrics.dead_letters_write_seconds.observe(started.elapsed().as_secs_f64());
                metrics.dead_letters.inc_by(count as u64);
                metrics.dead_letters_bytes.inc_by(bytes as i64);
                self.is_writable(source);
                self.full.wrote(source, bytes);
                if let Some(held) = self.folders.get(source).map(SourceFolder::total) {
                    self.look_at(source, held);
                }
                answer(jobs, Ok(place));
            }
            Err(error) => {
                self.is_unwritable(source, &error);
                answer(jobs, Err(DeadLetterError::Unavailable));
            }
        }
    }

    fn full_because(&self, limit: u64) -> String {
        let all = self.parts.quota.bytes_per_source_max;
        match limit < all {
            true => format!("large ones hold the {limit} bytes that they may; {all} with small ones: replay or drop some"),
            false => format!("they hold the {all} bytes that they may have: replay or drop them"),
        }
    }

    /// Discards the oldest letters of a source until `bytes` fit within `limit`, if the source has been full for long enough.
    fn make_room(&mut self, source: &Arc<str>, bytes: u64, limit: u64) -> bool {
        let Some(hold) = self.parts.quota.discard_after else { return false };
        if !self.full.is_discarding(source) && self.full.since(source).elapsed() < hold {
            return false;
        }
        let rewriting = self.parts.rewriting.clone();
        // A drop makes room itself.
        let Ok(_rewriting) = rewriting.try_lock() else { return false };
        loop {
            match self.discard_one(source) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    tracing::error!(%source, %error, "no room can be made in the dead letters");
                    return false;
                }
            }
            if self.folder(source).is_ok_and(|folder| folder.has_room_for(bytes, limit)) {
                return true;
            }
        }
    }

    /// Discards the oldest file of a source. Returns whether there was one.
    fn discard_one(&mut self, source: &Arc<str>) -> io::Result<bool> {
        let path = self.parts.root.join(&**source);
        let Some(number) = discard::next_file(&path)? else { return Ok(false) };
        if self.folders.get(source).is_some_and(|folder| folder.end().0 == number) {
            self.roll(source)?;
        }
        let discarded = discard::discard(&path, number)?;
        self.parts.known.forget_file(source, number);
        self.parts.metrics.discarded_dead_letters.inc_by(discarded.letters);
        let Discarded { letters, first_received, last_received } = &discarded;
        let file = folder::file_name(number);
        match letters {
            0 => tracing::info!(%source, file, "a file whose dead letters are all repaired was removed to make room"),
            _ => tracing::error!(
                %source, letters, first_received, last_received, file,
                "dead letters that nobody repaired were discarded, because they were full and held up good events"
            ),
        }
        self.full.discarded(source, discarded, folder::bytes_of_letters(&path)?);
        Ok(true)
    }

    /// Appends to the file that has the name. If the file lost its name meanwhile, appends again to the new file: a letter that
    /// is stored twice counts as one letter, and a letter in a file that was just moved away may be lost.
    fn append(&mut self, source: &Arc<str>, texts: &[&[u8]]) -> io::Result<Place> {
        let mut tries = 0;
        loop {
            tries += 1;
            let appended = self.folder(source).and_then(|folder| folder.append(texts).map(|()| folder.end()));
            let failed = match appended {
                Ok((number, end)) => return Ok(Place::File { number, end }),
                Err(failed) => failed,
            };
            let is_moved = failed.is_moved;
            let error = self.give_up(source, failed);
            if !is_moved || tries == DEAD_LETTER_FILE_TRIES {
                return Err(error);
            }
        }
    }

    /// The next letter opens the folder again, and cuts a torn tail.
    fn give_up(&mut self, source: &Arc<str>, failed: NotAppended) -> io::Error {
        self.folders.remove(source);
        if let Some(unsure) = failed.unsure {
            self.unsure.insert(source.clone(), unsure);
        }
        failed.error
    }
}

fn part(of: u64, percent: u64) -> u64 {
    of / 100 * percent + of % 100 * percent / 100
}

fn answer(jobs: Vec<Job>, result: Result<Place, DeadLetterError>) {
    for Job { lines, done } in jobs {
        match result {
            Ok(place) => drop(lines.claims.settle(place)),
            Err(error) => lines.claims.fail(error),
        }
        // The request may be gone; its letters are stored all the same.
        let _ = done.send(result.map(|_| ()));
    }
}
