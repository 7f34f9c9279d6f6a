//! Dead letters: every rejected event, whole, with the reason, in files that a person can read.
//!
//! `dead-letters/<source>/00000001.ndjson`, one JSON object per line ([`letter`]). A line is fsynced before its event is
//! answered `rejected` (promise P3). Each source has its own quota, so that a source which sends only garbage fills only its
//! own folder; at the quota its bad events are answered `retry`. The last quarter of the quota is reserved for small letters.
//! Letters of one request beyond a few KiB are packed ([`pack`]). To free space, delete files, or `lakegate dead-letters drop`.
//!
//! If dead letters have their own stream, each line becomes a frame of a second spool instead, also durable before the answer,
//! and is delivered from there. Only two kinds still go into files: letters too large for a frame or a record, and letters
//! beyond their source's share of that spool ([`LetterStream`]).
//!
//! # On disk
//!
//! ```text
//! dead-letters/<source>/00000001.ndjson   letters, oldest first; the file with the highest number is written to
//! dead-letters/<source>/*.ndjson.damaged  bytes of such a file that are no letters, after a power cut or disk damage
//! dead-letters/<source>/repairs.journal   what was done with the letters: replayed, still rejected, dropped (journal.rs)
//! dead-letters/<source>/letters.tmp       a file being rewritten by a drop: fsynced, renamed, the folder fsynced
//!
//! line   = letter | packed
//! packed = {"packed_letters":312,"source":"web","unpacked_bytes":190234,"zstd":"<the lines, zstd, base64>"}     (pack.rs)
//! letter = {"received_datetime":"2026-11-21T02:45:22.831Z","source":"web","event_uuid":"…"|null,"event_name":"…"|null,
//!           "code":"schema_violation","detail":"…","pointer":"/price_minor"[,"schema":"menu:item:viewed/2"]
//!           [,"errors":[{"detail":"…","pointer":"…"},…]],"raw":"<the event>" or "raw_base64":"<the event, no UTF-8>"}
//!          for an event above DEAD_LETTER_EVENT_BYTES_MAX, instead of "raw": "raw_bytes":5242880,"raw_head":"<its beginning>"
//! ```
//!
//! A line never changes. The state of its letter is in the journal, under a name computed from the bytes of the line
//! ([`LetterId`]), so that it stays valid when a drop rewrites the file. Any process may read at any time ([`Archive`]); only
//! the process that holds the lock of the spool writes.
//!
//! # The modules
//!
//! `letter` writes a line, `stored` reads it back · `pack` packs many lines · `writer` writes letters, `folder` the files of a
//! source · `filter` selects letters · `archive` finds them · `groups` counts them · `journal` records repairs · `removal`
//! removes letters · `old_folder` migrates the folder of release 0.1.0

mod archive;
mod filter;
mod folder;
mod groups;
mod journal;
mod letter;
mod lines;
mod old_folder;
mod pack;
mod removal;
mod stored;
mod stream;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use crate::{
    conditions::Conditions,
    durable,
    limits::DEAD_LETTER_QUEUE_BYTES_MAX,
    spool::{AppendError, FrameBuffer},
    telemetry::Metrics,
};
pub use archive::{Archive, Found, Survey};
pub use filter::{Filter, FilterError, State};
pub use groups::{Group, Grouped, Groups, Member};
pub use journal::{Done, RepairEntry, append as append_repairs, history};
pub use letter::{Letter, write_letter};
pub use lines::{DeadLetterError, Lines};
pub use old_folder::{folder_in, folder_to_read, old_folder_notice, take_over_old_folder};
pub use pack::LetterLines;
pub use removal::{Removed, Run};
pub use stored::{LetterId, StoredLetter, UnreadableLetter};
pub use stream::LetterStream;
use writer::{Job, Order, Writer};

/// The dead letters of all sources. One thread writes them; letters that arrive together share an fsync.
pub struct DeadLetters {
    jobs: Option<mpsc::Sender<Order>>,
    root: PathBuf,
    queued_bytes: Arc<AtomicUsize>,
    writer: Option<JoinHandle<()>>,
    /// The stream of the dead letters, if they have one.
    stream: Option<LetterStream>,
    metrics: Arc<Metrics>,
}

impl DeadLetters {
    /// Opens the folder `root`, which may not exist yet. `bytes_per_source_max` is the quota of each source in the folder;
    /// `stream` is the stream of the dead letters.
    ///
    /// # Errors
    /// If the folder cannot be created or the thread cannot be started.
    pub fn open(
        root: PathBuf,
        bytes_per_source_max: u64,
        stream: Option<LetterStream>,
        metrics: Arc<Metrics>,
        conditions: Conditions,
    ) -> std::io::Result<Self> {
        durable::make_folder(&root)?;
        metrics.dead_letters_bytes.set(folder::bytes_below(&root)? as i64);
        let (jobs, receiver) = mpsc::channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let vital = conditions.vital("dead-letters");
        let writer = Writer::new(root.clone(), bytes_per_source_max, queued_bytes.clone(), metrics.clone(), conditions);
        // The thread ends when this value is dropped.
        let thread = vital.thread(move || writer.run(&receiver))?;
        Ok(Self { jobs: Some(jobs), root, queued_bytes, writer: Some(thread), stream, metrics })
    }

    /// Stores `lines`. The returned receiver resolves when all of them are durable, or none.
    pub fn append(&self, lines: Lines) -> oneshot::Receiver<Result<(), DeadLetterError>> {
        let stream = self.stream.as_ref().filter(|stream| stream.has_room_for(&lines.source, lines.text.len()));
        match stream.zip(frames(&lines)) {
            Some((stream, frames)) => self.append_to_spool(stream, frames, &lines),
            None => self.append_to_file(lines),
        }
    }

    fn append_to_spool(
        &self,
        stream: &LetterStream,
        frames: FrameBuffer,
        lines: &Lines,
    ) -> oneshot::Receiver<Result<(), DeadLetterError>> {
        let (done, receiver) = oneshot::channel();
        let (metrics, shares) = (self.metrics.clone(), stream.clone());
        let (source, bytes, count) = (lines.source.clone(), lines.text.len(), lines.count);
        stream.spool.append(frames, move |appended| {
            let _ = done.send(match appended {
                Ok(appended) => {
                    shares.add(&source, bytes, appended.end_seq_exclusive);
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

    /// Stores `lines` in a file, even if other letters go to a stream.
    pub fn append_to_file(&self, lines: Lines) -> oneshot::Receiver<Result<(), DeadLetterError>> {
        let (done, receiver) = oneshot::channel();
        let bytes = lines.text.len();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > DEAD_LETTER_QUEUE_BYTES_MAX {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let _ = done.send(Err(DeadLetterError::Busy));
            return receiver;
        }
        if let Some(jobs) = &self.jobs {
            // A writer that ended drops the job and its `done`: the receiver then reports that.
            let _ = jobs.send(Order::Write(Job { lines, done }));
        }
        receiver
    }

    /// The letters in the files.
    #[must_use]
    pub fn archive(&self) -> Archive {
        Archive::new(&self.root)
    }

    /// Removes the letters that `filter` selects permanently. Blocks on the disk; letters are still written meanwhile. Run one
    /// removal at a time, and never during a replay.
    ///
    /// # Errors
    /// The error of the disk. Letters removed until then are gone.
    pub fn remove(&self, filter: &Filter, run: &Run) -> std::io::Result<Removed> {
        let archive = self.archive();
        let mut removed = Removed::default();
        for folder in archive.folders()? {
            self.roll(&folder)?;
            archive.remove(&folder, filter, run, &mut removed)?;
        }
        self.metrics.dead_letters_bytes.set(folder::bytes_below(&self.root)? as i64);
        Ok(removed)
    }

    fn roll(&self, folder: &str) -> std::io::Result<()> {
        let (done, rolled) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Order::Roll { folder: folder.into(), done });
        }
        rolled.blocking_recv().map_err(|_| std::io::Error::other("the writer of the dead letters is gone"))?
    }
}

impl Drop for DeadLetters {
    /// Writes the queue, then ends the thread.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// A frame for each line; `None` if a line is too long.
fn frames(lines: &Lines) -> Option<FrameBuffer> {
    let mut frames = FrameBuffer::default();
    for line in lines.text.split_inclusive(|&byte| byte == b'\n') {
        frames.push(|buffer| buffer.extend_from_slice(line)).ok()?;
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(source: &str, text: &str) -> Lines {
        Lines { source: source.into(), text: text.as_bytes().to_vec(), count: text.lines().count(), within_quota: true }
    }

    fn open(root: &std::path::Path, quota: u64) -> DeadLetters {
        DeadLetters::open(root.join("dead-letters"), quota, None, Arc::new(Metrics::new()), Conditions::default()).unwrap()
    }

    fn read(root: &std::path::Path, source: &str) -> String {
        read_letters(&root.join("dead-letters").join(source))
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
        let file = root.path().join("dead-letters/web/00000001.ndjson");
        fs::write(&file, "{\"a\":1}\n{\"a\":2").unwrap();
        let letters = open(root.path(), 1 << 20);
        assert_eq!(letters.append(lines("web", "{\"a\":3}\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "{\"a\":1}\n{\"a\":3}\n");
    }

    #[test]
    fn a_line_of_which_a_power_cut_kept_only_the_end_is_set_aside_and_the_letters_around_it_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("dead-letters/web");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("00000001.ndjson");
        let torn = b"\0\0\0\0\0\0\0\0ent_uuid\":1}\n";
        fs::write(&file, [b"{\"a\":1}\n", &torn[..], b"{\"a\":2}\n", b"{\"a\":3"].concat()).unwrap();
        let letters = open(root.path(), 1 << 20);
        assert_eq!(letters.append(lines("web", "{\"a\":4}\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "{\"a\":1}\n{\"a\":2}\n{\"a\":4}\n");
        assert_eq!(fs::read(folder.join("00000001.ndjson.damaged")).unwrap(), torn);
        drop(letters);
        drop(open(root.path(), 1 << 20));
        assert_eq!(fs::read(folder.join("00000001.ndjson.damaged")).unwrap(), torn, "once");
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
        fs::remove_file(root.path().join("dead-letters/web/00000001.ndjson")).unwrap();
        assert_eq!(letters.append(lines("web", "abcdefghij\n")).blocking_recv().unwrap(), Ok(()));
        assert_eq!(read(root.path(), "web"), "abcdefghij\n");
    }

    #[test]
    fn large_letters_leave_room_for_small_ones_and_a_folder_that_fills_is_a_warning_until_it_is_emptied() {
        let root = tempfile::tempdir().unwrap();
        let conditions = Conditions::default();
        let open =
            || DeadLetters::open(root.path().join("dead-letters"), 100_000, None, Arc::new(Metrics::new()), conditions.clone());
        let letters = open().unwrap();
        let raised = || conditions.list().iter().map(|raised| raised.condition.code()).collect::<Vec<_>>();
        let large = lines("web", &("x".repeat(24_000) + "\n"));
        let large = || Lines { source: large.source.clone(), text: large.text.clone(), ..large };
        assert_eq!(letters.append(large()).blocking_recv().unwrap(), Ok(()));
        assert_eq!(letters.append(large()).blocking_recv().unwrap(), Ok(()));
        assert!(raised().is_empty(), "{:?}", raised());
        assert_eq!(letters.append(large()).blocking_recv().unwrap(), Ok(()));
        assert_eq!(raised(), ["dead_letters_filling"]);
        assert_eq!(letters.append(large()).blocking_recv().unwrap(), Err(DeadLetterError::Full));
        assert_eq!(raised(), ["dead_letters_filling", "dead_letters_full"]);
        let small = || lines("web", &("y".repeat(9_999) + "\n"));
        assert_eq!(letters.append(small()).blocking_recv().unwrap(), Ok(()), "the reserve");
        assert_eq!(letters.append(small()).blocking_recv().unwrap(), Ok(()));
        assert_eq!(letters.append(small()).blocking_recv().unwrap(), Err(DeadLetterError::Full));
        fs::remove_dir_all(root.path().join("dead-letters/web")).unwrap();
        let started = std::time::Instant::now();
        while !raised().is_empty() {
            assert!(started.elapsed().as_secs() < 20, "{:?}", raised());
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }

    #[test]
    fn what_a_source_has_beyond_its_share_of_the_streams_spool_goes_into_its_files() {
        let root = tempfile::tempdir().unwrap();
        let config = crate::spool::SpoolConfig {
            dir: root.path().join("spool"),
            segment_bytes: 1 << 20,
            quota_bytes: 1 << 30,
            free_bytes_min: 0,
            queue_bytes_max: 1 << 20,
            unreadable: crate::limits::SPOOL_UNREADABLE_PATIENCE,
            conditions: Conditions::default(),
        };
        let (spool, _) = crate::spool::Spool::open(Arc::new(crate::spool::RealDisk), config).unwrap();
        let spool = Arc::new(spool);
        let stream = Some(LetterStream::new(spool.clone(), 20));
        let rejected = root.path().join("dead-letters");
        let letters = DeadLetters::open(rejected, 1 << 20, stream, Arc::new(Metrics::new()), Conditions::default()).unwrap();
        let keep = |source| letters.append(lines(source, "0123456789\n")).blocking_recv().unwrap();
        assert_eq!((keep("web"), spool.durable_end()), (Ok(()), 1));
        assert_eq!((keep("web"), spool.durable_end()), (Ok(()), 1), "beyond its share");
        assert_eq!(read(root.path(), "web"), "0123456789\n");
        assert_eq!((keep("app"), spool.durable_end()), (Ok(()), 2), "another has its own");
        spool.commit(2).unwrap();
        assert_eq!((keep("web"), spool.durable_end()), (Ok(()), 3), "what is delivered makes room");
    }

    #[test]
    fn what_the_disk_refuses_is_said_and_the_next_letter_finds_its_way() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 1 << 20);
        fs::write(root.path().join("dead-letters/web"), "in the way").unwrap();
        assert_eq!(letters.append(lines("web", "{}\n")).blocking_recv().unwrap(), Err(DeadLetterError::Unavailable));
        fs::remove_file(root.path().join("dead-letters/web")).unwrap();
        assert_eq!(letters.append(lines("web", "{}\n")).blocking_recv().unwrap(), Ok(()));
    }

    fn letter(source: &str, name: &str, received_millis: i64) -> Lines {
        let rejection = crate::outcome::Rejection::new(crate::outcome::RejectCode::UnknownEvent, "odd", "/event_name");
        let letter =
            Letter { source, received_millis, event_uuid: None, event_name: Some(name), rejection: &rejection, raw: b"{}" };
        let mut text = Vec::new();
        write_letter(&letter, &mut text);
        Lines { source: source.into(), text, count: 1, within_quota: true }
    }

    fn names(letters: &DeadLetters, conditions: &[&str]) -> Vec<String> {
        let mut names = Vec::new();
        let filter = Filter::parse(conditions, 0).unwrap();
        let visited = letters.archive().visit(&filter, &mut |found| {
            names.push(found.letter.event_name.as_deref().unwrap_or_default().to_owned());
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(visited.unwrap(), Survey::default());
        names
    }

    #[test]
    fn what_is_dropped_is_gone_from_the_disk_and_nothing_else_is_while_letters_go_on_coming() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 1 << 20);
        for (at, (source, name)) in [("web", "a"), ("web", "b"), ("app", "a"), ("web", "a")].into_iter().enumerate() {
            assert_eq!(letters.append(letter(source, name, at as i64)).blocking_recv().unwrap(), Ok(()));
        }
        let run = Run { id: "r".into(), at: "now".into() };
        let drop = |conditions: &[&str]| letters.remove(&Filter::parse(conditions, 0).unwrap(), &run).unwrap();
        let removed = drop(&["source=web", "event_name=a"]);
        assert_eq!(removed.groups.letters(), 2);
        assert_eq!(names(&letters, &["state=any"]), ["a", "b"]);
        assert!(!read(root.path(), "web").contains("\"a\""));
        assert_eq!(letters.append(letter("web", "c", 9)).blocking_recv().unwrap(), Ok(()));
        assert_eq!(names(&letters, &[]), ["a", "b", "c"]);
        assert_eq!(drop(&["event_name=x"]).groups.letters(), 0);
        assert_eq!(drop(&[]).groups.letters(), 3);
        assert_eq!(names(&letters, &["state=any"]), [""; 0]);
        assert_eq!(letters.append(letter("web", "d", 9)).blocking_recv().unwrap(), Ok(()));
        assert_eq!(names(&letters, &[]), ["d"]);
    }

    #[test]
    fn a_drop_that_a_crash_cut_short_is_finished_by_the_next_one() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 1 << 20);
        let line = letter("web", "a", 1);
        let id = LetterId::of(&line.text).to_string();
        assert_eq!(letters.append(line).blocking_recv().unwrap(), Ok(()));
        assert_eq!(letters.append(letter("web", "b", 2)).blocking_recv().unwrap(), Ok(()));
        // Only the journal was written before the crash.
        let noted = format!("{{\"at\":\"\",\"run\":\"\",\"letter\":\"{id}\",\"outcome\":\"dropped\"}}\n");
        let folder = root.path().join("dead-letters/web");
        fs::write(folder.join("repairs.journal"), noted).unwrap();
        fs::write(folder.join("letters.tmp"), "{\"half").unwrap();
        assert_eq!(names(&letters, &["state=any"]), ["b"]);
        let run = Run { id: "r".into(), at: "now".into() };
        let removed = letters.remove(&Filter::parse(&["event_name=x"], 0).unwrap(), &run).unwrap();
        assert_eq!(removed.groups.letters(), 0);
        let left = read_letters(&folder);
        assert!(left.contains("\"b\"") && !left.contains("\"a\""), "{left}");
        assert!(!folder.join("letters.tmp").exists());
    }

    fn read_letters(folder: &std::path::Path) -> String {
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }
}
