//! Tests the whole spool against a model, on a faulty disk, with crashes in the middle of any operation. A seed always gives
//! the same run; `SPOOL_SIM_SEEDS=100000` runs that many.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    AppendError, Appended, Cursor, CursorError, Frame, FrameBuffer, ReadBatch, Reader, Spool, SpoolConfig,
    fault_disk::{FaultDisk, Faults, Rng},
    segment::{parse_segment_name, segment_name},
    writer::Writer,
};
use crate::{conditions::Conditions, fault::Patience, limits::SPOOL_UNREADABLE_PATIENCE};

const STEPS: usize = 120;
const QUOTA_BYTES: u64 = 6000;

fn dir() -> PathBuf {
    PathBuf::from("/spool")
}

/// A body that contains its id, and can be verified.
fn body_of(id: u64) -> Vec<u8> {
    let filler = (0..id * 7 % 90).map(|index| (id * 31 + index) as u8);
    id.to_le_bytes().into_iter().chain(filler).collect()
}

fn id_of(frame: &Frame) -> u64 {
    let id = u64::from_le_bytes(*frame.body.first_chunk().expect("a whole body"));
    assert_eq!(frame.body, body_of(id), "only whole bodies are read");
    id
}

/// Answers in order of arrival: number of the append, and its result.
type Answers = Arc<Mutex<Vec<(usize, Result<Appended, AppendError>)>>>;

struct Process {
    spool: Spool,
    writer: Writer,
    reader: Reader,
}

struct Simulation {
    rng: Rng,
    disk: FaultDisk,
    process: Option<Process>,
    answers: Answers,
    /// Ids of the bodies of each unanswered append, by its number.
    waiting: BTreeMap<usize, Vec<u64>>,
    appends: usize,
    next_id: u64,
    /// Acknowledged, or found at a start, and not delivered.
    kept: BTreeMap<u64, u64>,
    /// All sequence numbers below this one were acknowledged once.
    end_seq: u64,
    /// Bodies that a start may find: neither acknowledged nor refused.
    in_doubt: BTreeSet<u64>,
    /// Possible contents of the cursor's file.
    cursors: Vec<Cursor>,
    spool_id: Option<uuid::Uuid>,
    /// Acknowledged, then reported as lost: the third possible end, if blocks get no retry time at all.
    named: BTreeMap<u64, u64>,
    /// Unreadable blocks are given up at once.
    is_impatient: bool,
    acknowledged: usize,
    found_in_doubt: usize,
    named_lost: usize,
    made_again: usize,
    restarts: usize,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ 0x5EED),
            disk: FaultDisk::new(seed),
            process: None,
            answers: Answers::default(),
            waiting: BTreeMap::new(),
            appends: 0,
            next_id: 1,
            kept: BTreeMap::new(),
            end_seq: 0,
            in_doubt: BTreeSet::new(),
            cursors: vec![Cursor::default()],
            spool_id: None,
            named: BTreeMap::new(),
            is_impatient: seed % 4 == 3,
            acknowledged: 0,
            found_in_doubt: 0,
            named_lost: 0,
            made_again: 0,
            restarts: 0,
        }
    }

    fn config(&self) -> SpoolConfig {
        let at_once = Patience { budget: Duration::ZERO, ..SPOOL_UNREADABLE_PATIENCE };
        SpoolConfig {
            dir: dir(),
            segment_bytes: 700,
            quota_bytes: QUOTA_BYTES,
            free_bytes_min: 100,
            queue_bytes_max: 3000,
            unreadable: if self.is_impatient { at_once } else { SPOOL_UNREADABLE_PATIENCE },
            conditions: Conditions::default(),
        }
    }

    fn run(&mut self) {
        self.start(true);
        for _ in 0..STEPS {
            self.step();
            self.take_answers();
            let must_restart =
                self.disk.is_dead() || self.process.as_ref().is_none_or(|process| process.spool.shared_has_failed());
            if must_restart {
                self.restart(true);
            }
        }
        self.restart(false);
        self.drains_and_goes_on();
        assert_eq!(self.disk.state().retried_syncs, 0, "a failed fsync is never tried again");
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..=39 => self.append(),
            40..=57 => self.read(),
            58..=59 => self.something_vanishes(),
            60..=68 => self.commit(),
            69 => {
                let is_read_only = self.rng.chance(500);
                self.disk.state().is_read_only = is_read_only;
                self.look();
            }
            70..=74 => self.plan(),
            75..=77 => self.roll(),
            78..=79 => {
                self.deliver_all();
                self.roll();
            }
            80..=86 => self.unlink(),
            87..=89 => {
                let after = self.rng.below(25) as u64;
                self.disk.state().dies_after = Some(after);
            }
            90..=92 => {
                // The file system may give less space than it reports as free.
                let (capacity, hidden_bytes) = (1500 + self.rng.below(5000), self.rng.below(500));
                let mut state = self.disk.state();
                (state.capacity, state.hidden_bytes) = (capacity as u64, hidden_bytes as u64);
            }
            93..=94 => self.disk.state().capacity = u64::MAX,
            95..=97 => {
                let rate = |rng: &mut Rng| if rng.chance(300) { rng.below(600) as u32 } else { 0 };
                let faults = Faults {
                    short_write: rate(&mut self.rng),
                    write_error: rate(&mut self.rng),
                    read_error: rate(&mut self.rng),
                    sync_error: rate(&mut self.rng),
                    truncate_error: rate(&mut self.rng),
                    interrupted: rate(&mut self.rng),
                    no_descriptor: rate(&mut self.rng),
                };
                // A segment, possibly the active one, that cannot be read at all.
                let segments: Vec<_> = self.disk.names(&dir()).into_iter().filter(|name| name.ends_with(".seg")).collect();
                let bad = (self.is_impatient && self.rng.chance(600)).then(|| self.rng.below(segments.len()));
                let mut state = self.disk.state();
                state.faults = faults;
                state.bad_sector = bad.and_then(|index| Some((dir().join(segments.get(index)?), 0..1 << 20)));
            }
            _ => self.restart(true),
        }
    }

    fn append(&mut self) {
        let process = self.process.as_mut().unwrap();
        for _ in 0..=self.rng.below(4) {
            let mut frames = FrameBuffer::default();
            let mut ids = Vec::new();
            for _ in 0..self.rng.below(5) {
                frames.push(|buffer| buffer.extend_from_slice(&body_of(self.next_id))).unwrap();
                ids.push(self.next_id);
                self.next_id += 1;
            }
            let number = self.appends;
            self.appends += 1;
            self.in_doubt.extend(&ids);
            self.waiting.insert(number, ids);
            let answers = Arc::clone(&self.answers);
            process.spool.append(frames, move |answer| answers.lock().unwrap().push((number, answer)));
        }
        let quota_before = process.spool.stats().bytes;
        // Sometimes the appends wait for the next step, or a crash.
        if self.rng.chance(800) {
            assert!(process.writer.step().is_some());
        }
        assert!(process.spool.stats().bytes <= QUOTA_BYTES.max(quota_before), "the quota holds");
    }

    fn take_answers(&mut self) {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        let mut last = None;
        for (number, answer) in answers {
            let ids = self.waiting.remove(&number).expect("each append is answered once");
            if !matches!(answer, Err(AppendError::Busy | AppendError::Closed)) {
                assert!(last < Some(number), "answers come in the order of the appends");
                last = Some(number);
            }
            match answer {
                Ok(Appended { first_seq, end_seq_exclusive }) => {
                    assert_eq!((first_seq, end_seq_exclusive), (self.end_seq, self.end_seq + ids.len() as u64));
                    self.end_seq = end_seq_exclusive;
                    self.acknowledged += ids.len();
                    for (seq, id) in (first_seq..).zip(ids) {
                        self.in_doubt.remove(&id);
                        self.kept.insert(seq, id);
                    }
                }
                Err(AppendError::Failed) => {}
                Err(_) => self.in_doubt.retain(|id| !ids.contains(id)),
            }
        }
    }

    /// Reads on, and checks that the frames are the acknowledged ones, in order.
    fn read(&mut self) {
        self.take_answers();
        let process = self.process.as_mut().unwrap();
        let before = process.reader.next_seq();
        let (records_max, bytes_max) = (1 + self.rng.below(20), self.rng.below(300));
        let Ok(batch) = process.reader.read(records_max, bytes_max) else {
            return;
        };
        let after = process.reader.next_seq();
        assert!(batch.frames.len() <= records_max);
        let bytes: usize = batch.frames.iter().map(|frame| frame.body.len()).sum();
        assert!(bytes <= bytes_max || batch.frames.len() == 1);
        if batch.frames.is_empty() && batch.lost.is_empty() {
            assert_eq!(before, self.end_seq, "nothing is held back");
        }
        let mut seqs: Vec<u64> = batch.lost.iter().cloned().flatten().collect();
        for frame in &batch.frames {
            assert_eq!(self.known(frame.seq), Some(id_of(frame)), "sequence number {}", frame.seq);
            seqs.push(frame.seq);
        }
        seqs.sort_unstable();
        assert_eq!(seqs, (before..after).collect::<Vec<_>>(), "each number once, as a frame or as lost");
        for seq in batch.lost.into_iter().flatten() {
            if let Some(id) = self.kept.remove(&seq) {
                assert!(self.is_impatient, "nothing is given up before its time: {seq}");
                self.named.insert(seq, id);
                self.named_lost += 1;
            }
        }
    }

    /// The body acknowledged with this number, or found at a start.
    fn known(&self, seq: u64) -> Option<u64> {
        self.kept.get(&seq).or_else(|| self.named.get(&seq)).copied()
    }

    fn look(&mut self) {
        self.process.as_mut().unwrap().writer.look_after(Instant::now());
    }

    /// Removes files of a running spool. Nothing is lost, if the process lives until it notices.
    fn something_vanishes(&mut self) {
        {
            let mut state = self.disk.state();
            if state.is_dead || state.is_read_only || self.process.as_ref().unwrap().writer.shared.is_read_only() {
                return;
            }
            (state.faults, state.bad_sector) = (Faults::default(), None);
            (state.dies_after, state.capacity) = (None, u64::MAX);
        }
        let process = self.process.as_mut().unwrap();
        let stats = process.spool.stats();
        let is_all_in_the_active = process.spool.cursor().delivered_exclusive >= process.writer.active.first_seq;
        let active = segment_name(process.writer.active.first_seq);
        match self.rng.below(5) {
            0 | 1 => self.disk.take(&dir().join(active)),
            2 if is_all_in_the_active => self.disk.take_folder(&dir()),
            2 | 3 => self.disk.take(&dir().join("cursor")),
            _ => self.disk.take(&dir().join(["lock", "spool.id", "end"][self.rng.below(3)])),
        }
        self.made_again += 1;
        if self.rng.chance(500) {
            // The group being written then is not acknowledged.
            self.append();
        }
        self.look();
        let process = self.process.as_ref().unwrap();
        let raised = process.spool.conditions().list();
        assert!(!process.spool.shared_has_failed(), "{raised:?}");
        assert!(raised.iter().all(|raised| !raised.condition.blocks()), "{raised:?}");
        assert!(process.spool.stats().end_seq_exclusive >= stats.end_seq_exclusive);
    }

    fn commit(&mut self) {
        let process = self.process.as_mut().unwrap();
        let delivered = process.spool.cursor().delivered_exclusive;
        let read = (process.reader.next_seq() - delivered) as usize;
        let seq = delivered + self.rng.below(read + 1) as u64;
        self.commit_to(seq);
    }

    fn deliver_all(&mut self) {
        let reader = &mut self.process.as_mut().unwrap().reader;
        while reader.read(1000, 1 << 20).is_ok_and(|batch| batch != ReadBatch::default()) {}
        let seq = reader.next_seq();
        self.commit_to(seq);
    }

    fn commit_to(&mut self, seq: u64) {
        let spool = &self.process.as_ref().unwrap().spool;
        let old = spool.cursor();
        let result = spool.first_sink().commit(seq);
        let planned_end_exclusive = old.planned_end_exclusive.filter(|end| *end > seq);
        self.note_cursor(old, Cursor { delivered_exclusive: seq, planned_end_exclusive }, &result);
        if result.is_ok() {
            self.kept = self.kept.split_off(&seq);
        }
    }

    fn plan(&mut self) {
        let process = self.process.as_mut().unwrap();
        let cursor = process.spool.cursor();
        let left = process.spool.durable_end() - cursor.delivered_exclusive;
        if left == 0 {
            assert!(matches!(process.spool.first_sink().plan(cursor.delivered_exclusive), Err(CursorError::OutOfRange { .. })));
            return;
        }
        let end = cursor.delivered_exclusive + 1 + self.rng.below(left as usize) as u64;
        let result = process.spool.first_sink().plan(end);
        self.note_cursor(cursor, Cursor { planned_end_exclusive: Some(end), ..cursor }, &result);
    }

    fn note_cursor(&mut self, old: Cursor, new: Cursor, result: &Result<(), CursorError>) {
        let now = self.process.as_ref().unwrap().spool.cursor();
        match result {
            Ok(()) => {
                assert_eq!(now, new);
                self.cursors = vec![new];
            }
            Err(CursorError::OutOfRange { .. }) => panic!("{old:?} {new:?}"),
            Err(_) => {
                assert_eq!(now, old);
                self.cursors.push(new);
            }
        }
    }

    fn roll(&mut self) {
        let process = self.process.as_mut().unwrap();
        process.spool.roll_if_delivered();
        assert!(process.writer.step().is_some());
    }

    fn unlink(&mut self) {
        let process = self.process.as_mut().unwrap();
        let delivered = process.spool.cursor().delivered_exclusive;
        let _ = process.spool.unlink_delivered();
        let stats = process.spool.stats();
        assert!(stats.first_seq <= delivered || stats.end_seq_exclusive == stats.first_seq);
        if !self.disk.is_dead() && !process.spool.shared_has_failed() {
            let segments: Vec<_> =
                self.disk.names(&dir()).into_iter().filter(|name| parse_segment_name(name).is_some()).collect();
            let bytes: usize = segments.iter().map(|name| self.disk.content(&dir().join(name)).unwrap().len()).sum();
            assert_eq!((stats.segments, stats.bytes), (segments.len(), bytes as u64), "what is counted is what is there");
        }
    }

    /// Ends the process, with or without the machine, and starts again, possibly with crashes on the way.
    fn restart(&mut self, may_fail: bool) {
        self.restarts += 1;
        self.process = None;
        self.take_answers();
        assert!(self.waiting.is_empty(), "whatever happens, each append is answered");
        if self.rng.chance(600) {
            self.disk.power_loss();
        } else {
            self.disk.kill();
        }
        self.start(may_fail);
    }

    fn start(&mut self, may_fail: bool) {
        let mut may_fail = may_fail;
        loop {
            {
                let mut state = self.disk.state();
                state.faults = Faults::default();
                state.hidden_bytes = 0;
                state.is_read_only = false;
                state.bad_sector = None;
                // A full disk must not prevent the spool from opening, unless it must begin a segment.
                if !may_fail || self.rng.chance(700) {
                    state.capacity = u64::MAX;
                }
                if may_fail && self.rng.chance(300) {
                    state.dies_after = Some(self.rng.below(12) as u64);
                }
                if may_fail && self.rng.chance(100) {
                    state.faults.sync_error = 300;
                }
            }
            match Spool::open_without_thread(Arc::new(self.disk.clone()), self.config()) {
                Ok((spool, mut writer, report)) => {
                    writer.look_every = Duration::MAX;
                    assert!(report.set_aside.is_empty() && report.damaged_headers.is_empty(), "{report:?}");
                    assert!(!report.cursor_lost && !report.id_restored, "{report:?}");
                    self.disk.state().faults = Faults::default();
                    let reader = spool.reader(spool.cursor().delivered_exclusive);
                    self.process = Some(Process { spool, writer, reader });
                    // The check may write to the disk to record losses, and the planned crash must not hit it.
                    let dies_after = self.disk.state().dies_after.take();
                    self.check_all();
                    self.disk.state().dies_after = dies_after;
                    return;
                }
                Err(error) => {
                    assert!(may_fail, "a healthy disk opens: {error}");
                    may_fail = self.rng.chance(700);
                }
            }
            if self.rng.chance(600) {
                self.disk.power_loss();
            } else {
                self.disk.kill();
            }
        }
    }

    /// After a start: everything acknowledged and not delivered is there, once and in order. Anything else there is whole and
    /// was in doubt. From now on it counts as acknowledged.
    fn check_all(&mut self) {
        let process = self.process.as_ref().unwrap();
        let spool = &process.spool;
        let cursor = spool.cursor();
        assert!(self.cursors.contains(&cursor), "{cursor:?} is none of {:?}", self.cursors);
        self.cursors = vec![cursor];
        assert_eq!(*self.spool_id.get_or_insert(spool.id()), spool.id(), "the spool stays the same");
        self.kept = self.kept.split_off(&cursor.delivered_exclusive);
        let mut reader = spool.reader(cursor.delivered_exclusive);
        let mut seq = cursor.delivered_exclusive;
        loop {
            let batch = reader.read(7, 1000).expect("no faults now");
            // Frames of a group that was never acknowledged may be reported as lost.
            let mut ended = std::mem::replace(&mut seq, reader.next_seq());
            let may_be_lost = |seq: u64| seq >= self.end_seq || !self.kept.contains_key(&seq);
            assert!(
                batch.lost.iter().cloned().flatten().all(may_be_lost),
                "nothing decayed: {:?}, {} named, end {}, cursor {cursor:?}",
                batch.lost,
                self.named.len(),
                self.end_seq
            );
            if batch == ReadBatch::default() {
                break;
            }
            let lost: u64 = batch.lost.iter().map(|lost| lost.end - lost.start).sum();
            assert_eq!(ended + batch.frames.len() as u64 + lost, seq, "each number once, as a frame or as lost");
            for frame in &batch.frames {
                assert!(frame.seq >= ended);
                ended = frame.seq + 1;
                let id = id_of(frame);
                if frame.seq < self.end_seq {
                    assert_eq!(self.known(frame.seq), Some(id), "sequence number {}", frame.seq);
                } else {
                    assert!(self.in_doubt.remove(&id), "{id} was refused, or is there twice");
                    self.kept.insert(frame.seq, id);
                    self.found_in_doubt += 1;
                }
            }
        }
        assert!(seq >= self.end_seq, "acknowledged frames {seq}..{} are lost", self.end_seq);
        assert_eq!(seq, spool.durable_end());
        self.end_seq = seq;
        // Bodies in doubt that are not there were cut.
        self.in_doubt.clear();
    }

    /// On a healthy disk everything can be delivered and unlinked, and then there is room again.
    fn drains_and_goes_on(&mut self) {
        while self.process.as_ref().unwrap().reader.next_seq() < self.end_seq {
            self.read();
        }
        let process = self.process.as_mut().unwrap();
        process.spool.first_sink().commit(self.end_seq).unwrap();
        process.spool.roll_if_delivered();
        process.writer.step();
        process.spool.unlink_delivered().unwrap();
        assert_eq!(process.spool.stats().segments, 1);
        let mut frames = FrameBuffer::default();
        frames.push(|buffer| buffer.extend_from_slice(&body_of(0))).unwrap();
        let answers = Arc::clone(&self.answers);
        process.spool.append(frames, move |answer| answers.lock().unwrap().push((0, answer)));
        process.writer.step();
        let expected = Appended { first_seq: self.end_seq, end_seq_exclusive: self.end_seq + 1 };
        assert_eq!(*self.answers.lock().unwrap(), [(0, Ok(expected))]);
    }
}

#[test]
fn no_crash_and_no_fault_loses_repeats_or_reorders_what_was_acknowledged() {
    let seeds = std::env::var("SPOOL_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1000);
    let (mut acknowledged, mut found_in_doubt, mut restarts, mut named_lost, mut made_again) = (0, 0, 0, 0, 0);
    for seed in 0..seeds {
        let mut simulation = Simulation::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
        assert!(run.is_ok(), "seed {seed}");
        acknowledged += simulation.acknowledged;
        found_in_doubt += simulation.found_in_doubt;
        restarts += simulation.restarts;
        named_lost += simulation.named_lost;
        made_again += simulation.made_again;
    }
    assert!(named_lost > seeds as usize / 5 && made_again > seeds as usize, "{named_lost} named, {made_again} made again");
    // The runs must have had enough events, or they prove nothing.
    assert!(acknowledged > seeds as usize * 20, "{acknowledged} acknowledged");
    assert!(found_in_doubt > seeds as usize / 20 && restarts > seeds as usize, "{found_in_doubt} in doubt, {restarts} restarts");
}
