//! Dead letters: every rejected event, whole, with the reason, in files that a person can read.
//!
//! `dead-letters/<source>/00000001.ndjson`, one JSON object per line ([`letter`]). A line is fsynced before its event is
//! answered `rejected` (promise P3). Each source has its own quota, so that a source which sends only garbage fills only its
//! own folder; at the quota its bad events are answered `retry`. The last quarter of the quota is reserved for small letters.
//! Letters of one request beyond a few KiB are packed ([`pack`]). To free space, delete files, or `lakegate dead-letters drop`.
//! A sender of whole requests is not held up for ever: for its letters the oldest ones are discarded after a while, and
//! `/readyz` says so ([`full_sources`]).
//!
//! An event that is rejected again within a day makes no second letter: it is counted on the first ([`known`]). So every
//! rejected event is a letter that was written, or a repetition of one.
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
//! dead-letters/<source>/repeats.journal   how often the events of letters were rejected again (repeats.rs)
//! dead-letters/<source>/letters.tmp       a file being rewritten by a drop: fsynced, renamed, the folder fsynced
//!
//! line   = letter | packed
//! packed = {"packed_letters":312,"source":"web","unpacked_bytes":190234,"zstd":"<the lines, zstd, base64>"}     (pack.rs)
//! letter = {"received_datetime":"2026-11-21T02:45:22.831Z","source":"web","event_uuid":"…"|null,"event_name":"…"|null,
//!           "code":"schema_violation","detail":"…","pointer":"/price_minor"[,"schema":"menu:item:viewed/2"]
//!           [,"errors":[{"detail":"…","pointer":"…"},…]],"raw":"<the event>" or "raw_base64":"<the event, no UTF-8>"}
//!          for an event above DEAD_LETTER_EVENT_BYTES_MAX, instead of "raw": "raw_bytes":5242880,
//!          "raw_sha256":"<64 hex digits>","raw_head":"<its beginning>"
//! ```
//!
//! A line never changes. The state of its letter is in the journal, under a name computed from the bytes of the line
//! ([`LetterId`]), so that it stays valid when a drop rewrites the file. Any process may read at any time ([`Archive`]); only
//! the process that holds the lock of the spool writes.
//!
//! # The modules
//!
//! `letter` writes a line, `stored` reads it back · `request_letters` collects those of a request, `pack` packs many lines ·
//! `known` remembers letters, `repeats` and `repeat_counter` count repetitions, `rebuild` reads them back at the start · `writer`
//! writes letters, `folder` the files of a source · `full_sources` and `discard` make room · `filter` selects letters · `archive` finds them · `groups` counts them · `journal` records repairs · `removal`
//! removes letters · `old_folder` migrates the folder of release 0.1.0

mod archive;
mod discard;
mod error;
mod filter;
mod folder;
mod full_sources;
mod groups;
mod journal;
mod known;
mod letter;
mod lines;
mod old_folder;
mod pack;
mod rebuild;
mod removal;
mod repeat_counter;
mod repeats;
mod request_letters;
mod stored;
mod stream;
mod writer;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{
    conditions::Conditions,
    durable,
    limits::DEAD_LETTER_QUEUE_BYTES_MAX,
    spool::{AppendError, FrameBuffer},
    telemetry::Metrics,
};
pub use archive::{Archive, Found, Survey, lines_in};
pub use error::DeadLetterError;
pub use filter::{Filter, FilterError, State};
pub use groups::{Group, Grouped, Groups, Member};
pub use journal::{Done, RepairEntry, append as append_repairs, history};
pub use known::{Claims, KnownLetters, Repeat};
pub use letter::{Letter, write_letter, write_letter_of_sink};
pub use lines::Lines;
pub use old_folder::{folder_in, folder_to_read, old_folder_notice, take_over_old_folder};
pub use pack::LetterLines;
pub use removal::{Removed, Run, Selects};
pub use request_letters::RequestLetters;
pub use stored::{LetterId, StoredLetter, UnreadableLetter};
pub use stream::LetterStream;
pub use writer::Quota;
use writer::{Job, Order, Writer, WriterParts};

/// The dead letters of all sources. One thread writes them; letters that arrive together share an fsync.
pub struct DeadLetters {
    files: LetterFiles,
    root: PathBuf,
    known: Arc<KnownLetters>,
    /// Held while files are rewritten.
    rewriting: Arc<Mutex<()>>,
    writer: Option<JoinHandle<()>>,
    /// The stream of the dead letters, if they have one.
    stream: Option<LetterStream>,
    metrics: Arc<Metrics>,
}

type Kept = Result<(), DeadLetterError>;

/// The way to the writer of the files.
#[derive(Clone)]
struct LetterFiles {
    orders: mpsc::Sender<Order>,
    queued_bytes: Arc<AtomicUsize>,
}

impl LetterFiles {
    fn append(&self, lines: Lines, done: oneshot::Sender<Kept>) {
        let bytes = lines.text.len();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > DEAD_LETTER_QUEUE_BYTES_MAX {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            lines.claims.fail(DeadLetterError::Busy);
            let _ = done.send(Err(DeadLetterError::Busy));
            return;
        }
        // A writer that ended drops the job and its `done`: the receiver then reports that.
        let _ = self.orders.send(Order::Write(Job { lines, done }));
    }
}

impl DeadLetters {
    /// Opens the folder `root`, which may not exist yet, and remembers the letters of the last day. `quota` is the room of each
    /// source in the folder; `stream` is the stream of the dead letters.
    ///
    /// # Errors
    /// If the folder cannot be created or the thread cannot be started.
    pub fn open(
        root: PathBuf,
        quota: Quota,
        stream: Option<LetterStream>,
        metrics: Arc<Metrics>,
        conditions: Conditions,
    ) -> std::io::Result<Self> {
        durable::make_folder(&root)?;
        metrics.dead_letters_bytes.set(folder::bytes_below(&root)? as i64);
        let known = Arc::new(KnownLetters::default());
        // Where answers wait for the stream, a letter in a file is none that an answer may rely on.
        if !stream.as_ref().is_some_and(LetterStream::is_awaited) {
            rebuild::rebuild(&root, &known);
        }
        let (orders, receiver) = mpsc::channel();
        let files = LetterFiles { orders, queued_bytes: Arc::new(AtomicUsize::new(0)) };
        let rewriting = Arc::new(Mutex::new(()));
        let vital = conditions.vital("dead-letters");
        let writer = Writer::new(WriterParts {
            root: root.clone(),
            quota,
            queued_bytes: files.queued_bytes.clone(),
            known: known.clone(),
            rewriting: rewriting.clone(),
            metrics: metrics.clone(),
            conditions,
        });
        // The thread ends when this value is dropped.
        let thread = vital.thread(move || writer.run(&receiver))?;
        Ok(Self { files, root, known, rewriting, writer: Some(thread), stream, metrics })
    }

    /// The letters that are remembered.
    #[must_use]
    pub fn known(&self) -> &Arc<KnownLetters> {
        &self.known
    }

    /// Forgets letters that were replayed or dropped: their events make new letters.
    pub fn forget(&self, letters: &HashSet<LetterId>) {
        self.known.forget(letters);
    }

    /// Stores `lines`. The returned receiver resolves when all of them are durable, or none; where answers wait for the stream,
    /// when all of them are in it. Call it on a runtime then.
    pub fn append(&self, lines: Lines) -> oneshot::Receiver<Kept> {
        let (done, receiver) = oneshot::channel();
        let stream = self.stream.as_ref().filter(|stream| stream.has_room_for(&lines.source, lines.text.len()));
        match stream.zip(frames(&lines)) {
            Some((stream, frames)) => self.append_to_spool(stream, frames, lines, done),
            None if self.is_awaited(&lines) => fail(lines, done, DeadLetterError::Full),
            None => self.files.append(lines, done),
        }
        receiver
    }

    /// Whether an answer waits until the stream has these letters. Those of accepted events are awaited by their identity.
    fn is_awaited(&self, lines: &Lines) -> bool {
        lines.within_quota && self.stream.as_ref().is_some_and(LetterStream::is_awaited)
    }

    fn append_to_spool(&self, stream: &LetterStream, frames: FrameBuffer, lines: Lines, done: oneshot::Sender<Kept>) {
        let (metrics, stream_of, files) = (self.metrics.clone(), stream.clone(), self.files.clone());
        let awaited = match self.is_awaited(&lines).then(|| stream.wait()).transpose() {
            Ok(awaited) => awaited.map(|place| (place, Handle::current())),
            Err(error) => return fail(lines, done, error),
        };
        stream.spool.append(frames, move |appended| {
            match appended {
                Ok(appended) => {
                    let seqs = appended.first_seq..appended.end_seq_exclusive;
                    stream_of.add(&lines, seqs.clone());
                    metrics.dead_letters.inc_by(lines.count as u64);
                    match awaited {
                        None => settle(lines.claims, done, &files),
                        Some((place, runtime)) => {
                            runtime.spawn(async move {
                                let _place = place;
                                match stream_of.delivered(seqs).await {
                                    true => settle(lines.claims, done, &files),
                                    // The stream refused them, and they are in a file.
                                    false => fail(lines, done, DeadLetterError::Unavailable),
                                }
                            });
                        }
                    }
                }
                Err(AppendError::QuotaFull) if awaited.is_some() => fail(lines, done, DeadLetterError::Full),
                // Other sources fill the spool: the letters go where those beyond a share go.
                Err(AppendError::QuotaFull) => files.append(lines, done),
                Err(AppendError::Busy) => fail(lines, done, DeadLetterError::Busy),
                Err(_) => fail(lines, done, DeadLetterError::Unavailable),
            }
        });
    }

    /// Whether the letter of an event that the sink refused is where answers need it: in its stream, until `until`, where answers
    /// wait for that.
    pub async fn is_refused_one_kept(&self, event: Uuid, until: Instant) -> bool {
        match self.stream.as_ref().filter(|stream| stream.is_awaited()) {
            None => true,
            Some(stream) => match stream.refused(event) {
                None => false,
                Some(seq) => timeout_at(until, stream.delivered(seq..seq + 1)).await.unwrap_or(false),
            },
        }
    }

    /// The same for all letters from before the start.
    #[must_use]
    pub fn are_old_ones_kept(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| !stream.is_awaited() || stream.has_delivered_old_ones())
    }

    /// Stores `lines` in a file, even if other letters go to a stream.
    pub fn append_to_file(&self, lines: Lines) -> oneshot::Receiver<Kept> {
        let (done, receiver) = oneshot::channel();
        self.files.append(lines, done);
        receiver
    }

    /// Counts repetitions, received at `received_millis`, each on its first letter once that is durable. One result each, in
    /// order: an error if the first letter was not stored, or is gone.
    pub async fn count_repeats(&self, repeats: Vec<Repeat>, received_millis: i64) -> Vec<Kept> {
        let mut results = Vec::with_capacity(repeats.len());
        let mut kept = Vec::with_capacity(repeats.len());
        for repeat in repeats {
            let result = repeat.keeping.kept().await;
            results.push(result);
            kept.extend(result.is_ok().then_some(repeat));
        }
        let (done, counted) = oneshot::channel();
        let _ = self.files.orders.send(Order::Count { repeats: kept, received_millis, done });
        let mut there = counted.await.unwrap_or_default().into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            if there.next() != Some(true) {
                *result = Err(DeadLetterError::Unsettled);
            }
        }
        results
    }

    /// Makes the counts of repetitions durable, for the end of the process.
    pub fn note_repeats(&self) {
        let (done, noted) = oneshot::channel();
        let _ = self.files.orders.send(Order::NoteRepeats { done });
        let _ = noted.blocking_recv();
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
        let selects = |state, line: &[u8], letter: &StoredLetter<'_>| filter.wants(state) && filter.matches(line, letter);
        self.remove_selected(&selects, run, Archive::tidy_journal)
    }

    /// Removes the letters that `selects` selects, and what the journals of repairs say of them. As [`DeadLetters::remove`].
    ///
    /// # Errors
    /// The error of the disk. Letters removed until then are gone.
    pub fn erase(&self, selects: &Selects<'_>, run: &Run) -> std::io::Result<Removed> {
        self.remove_selected(selects, run, Archive::forget_removed)
    }

    fn remove_selected(
        &self,
        selects: &Selects<'_>,
        run: &Run,
        tidy: impl Fn(&Archive, &str) -> std::io::Result<()>,
    ) -> std::io::Result<Removed> {
        let archive = self.archive();
        let mut removed = Removed::default();
        for folder in archive.folders()? {
            self.roll(&folder)?;
            let _rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
            archive.remove(&folder, selects, run, &self.known, &mut removed)?;
            tidy(&archive, &folder)?;
        }
        self.metrics.dead_letters_bytes.set(folder::bytes_below(&self.root)? as i64);
        Ok(removed)
    }

    fn roll(&self, folder: &str) -> std::io::Result<()> {
        let (done, rolled) = oneshot::channel();
        let _ = self.files.orders.send(Order::Roll { folder: folder.into(), done });
        rolled.blocking_recv().map_err(|_| std::io::Error::other("the writer of the dead letters is gone"))?
    }
}

impl Drop for DeadLetters {
    /// Writes the queue, then ends the thread.
    fn drop(&mut self) {
        let _ = self.files.orders.send(Order::End);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn settle(claims: Claims, done: oneshot::Sender<Kept>, files: &LetterFiles) {
    let streamed = claims.settle(known::Place::Stream);
    if !streamed.is_empty() {
        let _ = files.orders.send(Order::NoteStreamed(streamed));
    }
    let _ = done.send(Ok(()));
}

fn fail(lines: Lines, done: oneshot::Sender<Kept>, error: DeadLetterError) {
    lines.claims.fail(error);
    let _ = done.send(Err(error));
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
    use crate::{config::Durability, progress::Progress};

    fn lines(source: &str, text: &str) -> Lines {
        Lines {
            source: source.into(),
            text: text.as_bytes().to_vec(),
            count: text.lines().count(),
            within_quota: true,
            may_discard: false,
            refused: None,
            claims: Claims::default(),
        }
    }

    fn open(root: &std::path::Path, quota: u64) -> DeadLetters {
        DeadLetters::open(root.join("dead-letters"), only(quota), None, Arc::new(Metrics::new()), Conditions::default()).unwrap()
    }

    fn only(bytes_per_source_max: u64) -> Quota {
        Quota { bytes_per_source_max, discard_after: None }
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
        let open = || {
            DeadLetters::open(root.path().join("dead-letters"), only(100_000), None, Arc::new(Metrics::new()), conditions.clone())
        };
        let letters = open().unwrap();
        let raised = || conditions.list().iter().map(|raised| raised.condition.code()).collect::<Vec<_>>();
        let large = || lines("web", &("x".repeat(24_000) + "\n"));
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
        let progress = Arc::new(Progress::new(0, 0));
        let stream = Some(LetterStream::new(spool.clone(), progress, Durability::Disk, 20));
        let rejected = root.path().join("dead-letters");
        let letters =
            DeadLetters::open(rejected, only(1 << 20), stream, Arc::new(Metrics::new()), Conditions::default()).unwrap();
        let keep = |source| letters.append(lines(source, "0123456789\n")).blocking_recv().unwrap();
        assert_eq!((keep("web"), spool.durable_end()), (Ok(()), 1));
        assert_eq!((keep("web"), spool.durable_end()), (Ok(()), 1), "beyond its share");
        assert_eq!(read(root.path(), "web"), "0123456789\n");
        assert_eq!((keep("app"), spool.durable_end()), (Ok(()), 2), "another has its own");
        spool.first_sink().commit(2).unwrap();
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
        Lines { text, ..lines(source, "{}\n") }
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

    #[test]
    fn the_oldest_letters_of_a_full_source_go_once_they_held_it_for_long_enough_and_nobody_made_room() {
        const HOLD: std::time::Duration = std::time::Duration::from_millis(300);
        let root = tempfile::tempdir().unwrap();
        let (conditions, metrics) = (Conditions::default(), Arc::new(Metrics::new()));
        let quota = Quota { bytes_per_source_max: 400, discard_after: Some(HOLD) };
        let folder = root.path().join("dead-letters");
        let letters = DeadLetters::open(folder.clone(), quota, None, metrics.clone(), conditions.clone()).unwrap();
        let raised = || conditions.list().iter().map(|raised| raised.condition.code()).collect::<Vec<_>>();
        let keep = |name, may_discard| letters.append(Lines { may_discard, ..letter("web", name, 1) }).blocking_recv().unwrap();
        let until_kept = |name| {
            let started = std::time::Instant::now();
            while keep(name, true).is_err() {
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
            started.elapsed()
        };
        assert_eq!([keep("a", true), keep("b", true)], [Ok(()); 2]);
        assert_eq!([keep("c", true), keep("c", false)], [Err(DeadLetterError::Full); 2]);
        assert_eq!(raised(), ["dead_letters_filling", "dead_letters_full"]);
        assert!(until_kept("c") > HOLD / 2);
        assert!(names(&letters, &[]) == ["c"] && raised().contains(&"dead_letters_discarded"), "{:?}", raised());
        // The room that the gateway made itself does not hold the sender again; other senders get none of it.
        assert_eq!([keep("d", true), keep("e", false), keep("e", true)], [Ok(()), Err(DeadLetterError::Full), Ok(())]);
        // Once a person made room, it is held again.
        fs::remove_dir_all(folder.join("web")).unwrap();
        let started = std::time::Instant::now();
        while raised().contains(&"dead_letters_discarded") {
            assert!(started.elapsed().as_secs() < 20, "{:?}", raised());
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        assert_eq!([keep("f", true), keep("g", true), keep("h", true)], [Ok(()), Ok(()), Err(DeadLetterError::Full)]);
        assert!(until_kept("h") > HOLD / 2);
    }

    fn request(letters: &DeadLetters, raws: &[&str]) -> (RequestLetters, Vec<bool>) {
        let mut request = RequestLetters::default();
        let repeated = add(letters, &mut request, raws);
        (request, repeated)
    }

    fn add(letters: &DeadLetters, request: &mut RequestLetters, raws: &[&str]) -> Vec<bool> {
        let rejection = crate::outcome::Rejection::new(crate::outcome::RejectCode::UnknownEvent, "odd", "/event_name");
        let received_millis = crate::event::unix_millis(std::time::SystemTime::now());
        let mut added = Vec::new();
        for raw in raws {
            let (event_uuid, event_name, raw) = (None, None, raw.as_bytes());
            let letter = Letter { source: "web", received_millis, event_uuid, event_name, rejection: &rejection, raw };
            added.push(request.add(&letter, letters.known()));
        }
        added
    }

    #[tokio::test]
    async fn a_second_request_waits_for_the_letter_of_the_first_and_shares_its_fate() {
        let root = tempfile::tempdir().unwrap();
        let letters = open(root.path(), 2_000);
        let source: Arc<str> = "web".into();
        let (first, repeated) = request(&letters, &["a", "b", "a"]);
        assert_eq!(repeated, [false, false, true]);
        let (second, repeated) = request(&letters, &["b", "c"]);
        assert_eq!(repeated, [true, false]);
        let (lines, repeats) = second.finish(&source, 0, false);
        let waiting = letters.count_repeats(repeats, 1);
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_are_pending(waiting.as_mut()), "the first is not stored yet");
        let (first_lines, repeats) = first.finish(&source, 0, false);
        assert_eq!(letters.append(first_lines.unwrap()).await.unwrap(), Ok(()));
        assert_eq!(letters.count_repeats(repeats, 1).await, [Ok(())]);
        assert_eq!(waiting.await, [Ok(())]);
        // A request that gives up releases its events: whoever waited sends again, and the next one makes the letter.
        let (third, _) = request(&letters, &["c"]);
        drop(lines);
        assert_eq!(letters.count_repeats(third.finish(&source, 0, false).1, 1).await, [Err(DeadLetterError::Unsettled)]);
        assert_eq!(request(&letters, &["c"]).1, [false]);
        // One that is validated again keeps its events, and lets go of those that turn out to be good.
        let (begun, _) = request(&letters, &["d", "e"]);
        let (waiting, repeated) = request(&letters, &["d", "e"]);
        assert_eq!(repeated, [true, true]);
        let mut begun = begun.begin_again();
        assert_eq!(add(&letters, &mut begun, &["d", "d"]), [false, true]);
        let (lines, repeats) = begun.finish(&source, 0, false);
        assert_eq!(letters.append(lines.unwrap()).await.unwrap(), Ok(()));
        assert_eq!(letters.count_repeats(repeats, 1).await, [Ok(())]);
        let waited = letters.count_repeats(waiting.finish(&source, 0, false).1, 1).await;
        assert_eq!(waited, [Ok(()), Err(DeadLetterError::Unsettled)]);
        // So does one whose letters cannot be stored.
        let large = "x".repeat(3_000);
        let (full, _) = request(&letters, &[&large]);
        let (again, repeated) = request(&letters, &[&large]);
        assert_eq!(repeated, [true]);
        let appended = letters.append(Lines { text: vec![b'x'; 3_000], ..full.finish(&source, 0, false).0.unwrap() });
        assert_eq!(appended.await.unwrap(), Err(DeadLetterError::Full));
        assert_eq!(letters.count_repeats(again.finish(&source, 0, false).1, 1).await, [Err(DeadLetterError::Full)]);
        assert_eq!(request(&letters, &[&large]).1, [false]);
    }

    fn futures_are_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    }
}
