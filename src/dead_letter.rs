//! Dead letters: every rejected event, whole, with the reason, where a person finds it.
//!
//! `rejected/<source>/00000001.ndjson`, one JSON object per line ([`letter`]). A line is fsynced before its event is
//! answered `rejected` (promise P3). Each source has its own quota, so that one which sends only garbage fills its own
//! folder and nobody else's; at the quota its bad events are answered `retry`. To make room, delete its files.
//!
//! Where dead letters have a stream of their own, each line becomes a frame of a second spool instead, durable before the
//! answer all the same, and is delivered from there. Only what no frame and no record can hold still goes into a file.

mod folder;
mod letter;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    limits::DEAD_LETTER_QUEUE_BYTES_MAX,
    spool::{AppendError, FrameBuffer, Spool},
    telemetry::Metrics,
};
use folder::SourceFolder;
pub use letter::{Letter, write_letter};

/// Why letters were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// The source is at its quota.
    #[error("the dead letters of this source are full")]
    Full,
    /// Too many are waiting to be written.
    #[error("too many dead letters are waiting to be written")]
    Busy,
    /// The disk refused.
    #[error("the dead letters cannot be written")]
    Unavailable,
}

/// Letters of one request: whole lines, each with its line end.
#[derive(Debug)]
pub struct Lines {
    /// Whose they are.
    pub source: Arc<str>,
    /// The lines.
    pub text: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// Whether the quota counts. It does not for events that were accepted before: those are never sent back.
    pub within_quota: bool,
}

/// What the writer is sent.
struct Job {
    lines: Lines,
    done: oneshot::Sender<Result<(), DeadLetterError>>,
}

/// The dead letters of all sources. One thread writes them; letters that arrive together share an fsync.
pub struct DeadLetters {
    jobs: Option<mpsc::Sender<Job>>,
    queued_bytes: Arc<AtomicUsize>,
    writer: Option<JoinHandle<()>>,
    /// The spool of their own stream.
    spool: Option<Arc<Spool>>,
    metrics: Arc<Metrics>,
}

impl DeadLetters {
    /// Opens the folder `root`, which may not exist yet. `bytes_per_source_max` is the quota of each source in it; `spool`
    /// is that of a stream of their own.
    ///
    /// # Errors
    /// Where the folder cannot be made or the thread cannot be started.
    pub fn open(
        root: PathBuf,
        bytes_per_source_max: u64,
        spool: Option<Arc<Spool>>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        metrics.dead_letter_bytes.set(folder::bytes_below(&root)? as i64);
        let (jobs, receiver) = mpsc::channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            root,
            bytes_per_source_max,
            folders: HashMap::new(),
            queued_bytes: queued_bytes.clone(),
            metrics: metrics.clone(),
        };
        let thread = std::thread::Builder::new().name("dead-letters".into()).spawn(move || writer.run(&receiver))?;
        Ok(Self { jobs: Some(jobs), queued_bytes, writer: Some(thread), spool, metrics })
    }

    /// Keeps `lines`. What is returned resolves once they are durable, all of them, or none.
    pub fn append(&self, lines: Lines) -> oneshot::Receiver<Result<(), DeadLetterError>> {
        match self.spool.as_ref().zip(frames(&lines)) {
            Some((spool, frames)) => self.append_to_spool(spool, frames, lines.count),
            None => self.append_to_file(lines),
        }
    }

    fn append_to_spool(
        &self,
        spool: &Spool,
        frames: FrameBuffer,
        count: usize,
    ) -> oneshot::Receiver<Result<(), DeadLetterError>> {
        let (done, receiver) = oneshot::channel();
        let metrics = self.metrics.clone();
        spool.append(frames, move |appended| {
            let _ = done.send(match appended {
                Ok(_) => {
                    metrics.dead_letters.inc_by(count as u64);
                    Ok(())
                }
                Err(AppendError::QuotaFull) => Err(DeadLetterError::Full),
                Err(AppendError::Busy) => Err(DeadLetterError::Busy),
                Err(_) => Err(DeadLetterError::Unavailable),
            });
        });
        receiver
    }

    /// Keeps `lines` in a file, also where the others go to a stream.
    pub fn append_to_file(&self, lines: Lines) -> oneshot::Receiver<Result<(), DeadLetterError>> {
        let (done, receiver) = oneshot::channel();
        let bytes = lines.text.len();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > DEAD_LETTER_QUEUE_BYTES_MAX {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let _ = done.send(Err(DeadLetterError::Busy));
            return receiver;
        }
        if let Some(jobs) = &self.jobs {
            // A writer that is gone drops the job, and with it `done`: the receiver then says so.
            let _ = jobs.send(Job { lines, done });
        }
        receiver
    }
}

impl Drop for DeadLetters {
    /// Writes what is queued, then ends the thread.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// A frame for each line; `None` where one is too long.
fn frames(lines: &Lines) -> Option<FrameBuffer> {
    let mut frames = FrameBuffer::default();
    for line in lines.text.split_inclusive(|&byte| byte == b'\n') {
        frames.push(|buffer| buffer.extend_from_slice(line)).ok()?;
    }
    Some(frames)
}

struct Writer {
    root: PathBuf,
    bytes_per_source_max: u64,
    folders: HashMap<Arc<str>, SourceFolder>,
    queued_bytes: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut by_source: HashMap<Arc<str>, Vec<Job>> = HashMap::new();
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                self.queued_bytes.fetch_sub(job.lines.text.len(), Ordering::Relaxed);
                by_source.entry(job.lines.source.clone()).or_default().push(job);
            }
            for (source, jobs) in by_source {
                self.write(&source, jobs);
            }
        }
    }

    /// Writes the jobs of one source, with one fsync for all that fit.
    fn write(&mut self, source: &Arc<str>, jobs: Vec<Job>) {
        let folder = match self.folders.entry(source.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => match SourceFolder::open(&self.root, source) {
                Ok(folder) => entry.insert(folder),
                Err(error) => {
                    tracing::error!(%source, %error, "dead letters cannot be written");
                    return answer(jobs, Err(DeadLetterError::Unavailable));
                }
            },
        };
        let bytes: u64 = jobs.iter().map(|job| job.lines.text.len() as u64).sum();
        let within_quota = jobs.iter().any(|job| job.lines.within_quota);
        if within_quota && !folder.has_room_for(bytes, self.bytes_per_source_max) {
            // One after the other: the largest must not cost the ones that still fit.
            if jobs.len() > 1 {
                return jobs.into_iter().for_each(|job| self.write(source, vec![job]));
            }
            return answer(jobs, Err(DeadLetterError::Full));
        }
        let count: usize = jobs.iter().map(|job| job.lines.count).sum();
        let started = Instant::now();
        match folder.append(jobs.iter().map(|job| job.lines.text.as_slice())) {
            Ok(()) => {
                self.metrics.dead_letter_write_seconds.observe(started.elapsed().as_secs_f64());
                self.metrics.dead_letters.inc_by(count as u64);
                self.metrics.dead_letter_bytes.inc_by(bytes as i64);
                answer(jobs, Ok(()));
            }
            Err(error) => {
                tracing::error!(%source, %error, "dead letters cannot be written");
                // Reopened, and its torn tail cut, when the next letter comes.
                self.folders.remove(source);
                answer(jobs, Err(DeadLetterError::Unavailable));
            }
        }
    }
}

fn answer(jobs: Vec<Job>, result: Result<(), DeadLetterError>) {
    for job in jobs {
        // The request may be gone; its letters are kept all the same.
        let _ = job.done.send(result);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(source: &str, text: &str) -> Lines {
        Lines { source: source.into(), text: text.as_bytes().to_vec(), count: text.lines().count(), within_quota: true }
    }

    fn open(root: &std::path::Path, quota: u64) -> DeadLetters {
        DeadLetters::open(root.join("rejected"), quota, None, Arc::new(Metrics::new())).unwrap()
    }

    fn read(root: &std::path::Path, source: &str) -> String {
        let mut files: Vec<_> =
            fs::read_dir(root.join("rejected").join(source)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn letters_are_on_disk_when_they_are_answered_and_go_on_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 1 << 20);
        assert_eq!(letters.append(lines("web", "{\"a\":1}\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "{\"a\":1}\n");
        drop(letters);
        let letters = open(root.path(), 1 << 20);
        assert_eq!(letters.append(lines("web", "{\"a\":2}\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "{\"a\":1}\n{\"a\":2}\n");
    }

    #[test]
    fn a_line_torn_by_a_crash_is_cut_before_the_next_one() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 1 << 20);
        assert_eq!(letters.append(lines("web", "{\"a\":1}\n")).blocking_recv().unwrap(), Ok(()));
        drop(letters);
        let file = root.path().join("rejected/web/00000001.ndjson");
        fs::write(&file, "{\"a\":1}\n{\"a\":2").unwrap();
        let letters = open(root.path(), 1 << 20);
        assert_eq!(letters.append(lines("web", "{\"a\":3}\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "{\"a\":1}\n{\"a\":3}\n");
    }

    #[test]
    fn a_source_at_its_quota_is_refused_others_are_not_and_deleting_makes_room() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 20);
        assert_eq!(letters.append(lines("web", "0123456789\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(letters.append(lines("web", "0123456789\n")).blocking_recv().unwrap(), Err(DeadLetterError::Full));
        assert_eq!(letters.append(lines("web", "01234567\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(letters.append(lines("app", "0123456789\n")).blocking_recv().unwrap(), Ok(()));
        let accepted_before = Lines { within_quota: false, ..lines("app", "0123456789abcdef\n") };
        assert_eq!(letters.append(accepted_before).blocking_recv().unwrap(), Ok(()));
        fs::remove_file(root.path().join("rejected/web/00000001.ndjson")).unwrap();
        assert_eq!(letters.append(lines("web", "abcdefghij\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "abcdefghij\n");
    }

    #[test]
    fn what_the_disk_refuses_is_said_and_the_next_letter_finds_its_way() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 1 << 20);
        fs::write(root.path().join("rejected/web"), "in the way").unwrap();
        assert_eq!(letters.append(lines("web", "{}\n")).blocking_recv().unwrap(), Err(DeadLetterError::Unavailable));
        fs::remove_file(root.path().join("rejected/web")).unwrap();
        assert_eq!(letters.append(lines("web", "{}\n")).blocking_recv().unwrap(), Ok(()));
    }
}
