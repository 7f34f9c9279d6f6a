//! The thread that writes letters: letters that arrive together share an fsync. It regularly checks whether faults are over.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    folder::{self, NotAppended, SourceFolder, set_torn_lines_aside},
    lines::{DeadLetterError, Lines},
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
}

pub(super) struct Writer {
    root: PathBuf,
    bytes_per_source_max: u64,
    folders: HashMap<Arc<str>, SourceFolder>,
    /// The last file of each source whose sync failed: a later sync would succeed without the bytes that the system dropped.
    unsure: HashMap<Arc<str>, u32>,
    /// Sources whose letters cannot be written.
    unwritable: Vec<Arc<str>>,
    /// Sources at their quota: the bytes that did not fit, and the bytes that the source may have with them.
    full: HashMap<Arc<str>, (u64, u64)>,
    /// Folders that are full enough for a warning.
    filling: HashSet<String>,
    queued_bytes: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    conditions: Conditions,
}

impl Writer {
    pub(super) fn new(
        root: PathBuf,
        bytes_per_source_max: u64,
        queued_bytes: Arc<AtomicUsize>,
        metrics: Arc<Metrics>,
        conditions: Conditions,
    ) -> Self {
        Self {
            root,
            bytes_per_source_max,
            folders: HashMap::new(),
            unsure: HashMap::new(),
            unwritable: Vec::new(),
            full: HashMap::new(),
            filling: HashSet::new(),
            queued_bytes,
            metrics,
            conditions,
        }
    }

    /// Works until all senders are gone.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        self.set_torn_lines_aside();
        let mut looked_at = Instant::now();
        loop {
            match orders.recv_timeout(DEAD_LETTER_LOOK_INTERVAL.saturating_sub(looked_at.elapsed())) {
                Ok(first) => self.obey(std::iter::once(first).chain(orders.try_iter())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if looked_at.elapsed() >= DEAD_LETTER_LOOK_INTERVAL {
                self.look();
                looked_at = Instant::now();
            }
        }
    }

    /// Called once before the first write: sets aside lines that a power cut tore.
    fn set_torn_lines_aside(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
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

    fn obey(&mut self, orders: impl Iterator<Item = Order>) {
        let mut by_source: HashMap<Arc<str>, Vec<Job>> = HashMap::new();
        let mut rolls = Vec::new();
        for order in orders {
            match order {
                Order::Write(job) => {
                    self.queued_bytes.fetch_sub(job.lines.text.len(), Ordering::Relaxed);
                    by_source.entry(job.lines.source.clone()).or_default().push(job);
                }
                Order::Roll { folder, done } => rolls.push((folder, done)),
            }
        }
        for (source, jobs) in by_source {
            self.write(&source, jobs);
        }
        for (folder, done) in rolls {
            // The caller may be gone; the file is opened all the same.
            let _ = done.send(self.roll(&folder));
        }
    }

    /// Clears conditions that are over: the next letter may come late, and people remove files by hand.
    fn look(&mut self) {
        if let Ok(folders) = folder::bytes_by_folder(&self.root) {
            self.metrics.dead_letters_bytes.set(folders.iter().map(|(_, bytes)| *bytes as i64).sum());
            for gone in self.filling.iter().filter(|name| !folders.iter().any(|(folder, _)| folder == *name)) {
                self.conditions.clear(Condition::DeadLettersFilling, gone);
            }
            folders.iter().for_each(|(name, bytes)| self.look_at(name, *bytes));
            self.filling.retain(|name| folders.iter().any(|(folder, _)| folder == name));
        }
        for (source, (bytes, limit)) in self.full.clone() {
            let held = folder::bytes_below(&self.root.join(&*source)).unwrap_or(0);
            if held + bytes <= limit {
                self.full.remove(&source);
                self.conditions.clear(Condition::DeadLettersFull, &source);
            }
        }
        for source in self.unwritable.clone() {
            match folder::try_out(&self.root, &source) {
                Ok(()) => self.is_writable(&source),
                Err(error) => self.is_unwritable(&source, &error),
            }
        }
    }

    /// Raises the warning of a folder that fills up, and clears it again.
    fn look_at(&mut self, name: &str, bytes: u64) {
        let max = self.bytes_per_source_max;
        if bytes >= part(max, DEAD_LETTER_WARN_PERCENT) {
            let detail = format!("they hold {bytes} of the {max} bytes that they may: replay or drop them");
            self.conditions.raise(Condition::DeadLettersFilling, name, detail);
            self.filling.insert(name.to_owned());
        } else if self.filling.remove(name) {
            self.conditions.clear(Condition::DeadLettersFilling, name);
        }
    }

    /// Bytes that a source may have after these jobs: the last part of the quota is for small letters.
    fn limit(&self, jobs: &[Job]) -> u64 {
        let is_small = jobs.iter().all(|job| job.lines.text.len() <= DEAD_LETTER_SMALL_BYTES);
        part(self.bytes_per_source_max, if is_small { 100 } else { 100 - DEAD_LETTER_RESERVE_PERCENT })
    }

    fn is_unwritable(&mut self, source: &Arc<str>, error: &io::Error) {
        if !self.unwritable.contains(source) {
            self.unwritable.push(source.clone());
        }
        self.conditions.raise(Condition::DeadLettersUnwritable, source, error.to_string());
    }

    fn is_writable(&mut self, source: &Arc<str>) {
        if self.unwritable.is_empty() {
            return;
        }
        self.unwritable.retain(|other| other != source);
        self.conditions.clear(Condition::DeadLettersUnwritable, source);
    }

    /// The folder of a source, whose open file still has its name.
    fn folder(&mut self, source: &Arc<str>) -> Result<&mut SourceFolder, NotAppended> {
        if self.folders.get(source).is_some_and(|folder| !folder.is_current()) {
            self.folders.remove(source);
        }
        Ok(match self.folders.entry(source.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(SourceFolder::open(&self.root, source, self.unsure.get(source).copied())?)
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
            let all = self.bytes_per_source_max;
            let detail = match limit < all {
                true => format!("large ones hold the {limit} bytes that they may; {all} with small ones: replay or drop some"),
                false => format!("they hold the {all} bytes that they may have: replay or drop them"),
            };
            self.conditions.raise(Condition::DeadLettersFull, source, detail);
            self.full.insert(source.clone(), (bytes, limit));
            return answer(jobs, Err(DeadLetterError::Full));
        }
        let count: usize = jobs.iter().map(|job| job.lines.count).sum();
        let texts: Vec<&[u8]> = jobs.iter().map(|job| job.lines.text.as_slice()).collect();
        let started = Instant::now();
        match self.append(source, &texts) {
            Ok(()) => {
                self.metrics.dead_letters_write_seconds.observe(started.elapsed().as_secs_f64());
                self.metrics.dead_letters.inc_by(count as u64);
                self.metrics.dead_letters_bytes.inc_by(bytes as i64);
                self.is_writable(source);
                if let Some(held) = self.folders.get(source).map(SourceFolder::total) {
                    self.look_at(source, held);
                }
                answer(jobs, Ok(()));
            }
            Err(error) => {
                self.is_unwritable(source, &error);
                answer(jobs, Err(DeadLetterError::Unavailable));
            }
        }
    }

    /// Appends to the file that has the name. If the file lost its name meanwhile, appends again to the new file: a letter that
    /// is stored twice counts as one letter, and a letter in a file that was just moved away may be lost.
    fn append(&mut self, source: &Arc<str>, texts: &[&[u8]]) -> io::Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            let failed = match self.folder(source).and_then(|folder| folder.append(texts)) {
                Ok(()) => return Ok(()),
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

fn answer(jobs: Vec<Job>, result: Result<(), DeadLetterError>) {
    for job in jobs {
        // The request may be gone; its letters are stored all the same.
        let _ = job.done.send(result);
    }
}
