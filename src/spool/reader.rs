//! Reads the spool in order, from any sequence number, and skips damage.

use std::{io, ops::Range, sync::Arc, time::Instant};

use super::{
    disk::read_full_at,
    fault::{Fault, read_file},
    frame::{FRAME_HEADER_BYTES, Frame},
    losses::{Loss, LostEvent},
    recovery::ID_NAME,
    scan::{BLOCK, ReadFault, Scan, Step},
    segment::{SEGMENT_HEADER_BYTES, quarantine_segment, segment_name, segment_path},
    shared::{Place, Shared, Span},
    unreadable::{Verdict, WHOLE_FILE, concerns_the_place},
};
use crate::{
    fault::Tries,
    limits::{SPOOL_LOSS_EVENTS_MAX, SPOOL_START_PATIENCE},
};

/// Result of one [`Reader::read`]. Both lists are in order. Together they hold every sequence number between the reader's
/// position before and after exactly once, except those that were delivered and unlinked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBatch {
    /// Whole and verified frames.
    pub frames: Vec<Frame>,
    /// Sequence numbers of lost frames. `quarantine/` keeps the damaged file, and `lost.ndjson` there lists them.
    pub lost: Vec<Range<u64>>,
}

/// A position in the spool. Readers are independent of each other and never delay the writer. Reading blocks on the disk, so
/// read on a blocking thread. A clone reads ahead from the same position without moving the original.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    next_seq: u64,
    open: Option<OpenSegment>,
    /// The frame at `next_seq`, already read but too large for the last batch.
    held: Option<Frame>,
    /// See [`Reader::that_only_looks`].
    only_looks: bool,
}

#[derive(Clone)]
struct OpenSegment {
    span: Span,
    scan: Scan,
    is_quarantined: bool,
}

/// Remaining room in a batch.
struct Limits {
    end_seq: u64,
    records_max: usize,
    bytes_left: usize,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, seq: u64) -> Self {
        Self { shared, next_seq: seq, open: None, held: None, only_looks: false }
    }

    /// Makes the reader neither wait nor decide: places that cannot be read now are in [`ReadBatch::lost`] at once, although
    /// they are not lost yet. Nothing is recorded and nothing is set aside. For callers that can read again later.
    #[must_use]
    pub fn that_only_looks(self) -> Self {
        Self { only_looks: true, ..self }
    }

    /// The next sequence number.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Reads the next frames: at most `records_max` frames with bodies of at most `bytes_max` bytes in total (but at least one
    /// frame, if there is one). Never past the durable end; an empty batch means that the end is reached.
    ///
    /// # Errors
    /// The disk's I/O error; the position does not move. Read again after [`Spool::unreadable_pause`](super::Spool). Frames
    /// before the bad place were returned first. A place that stays unreadable counts as damaged when its time is over, so
    /// that it does not block later events for ever. The time belongs to the place, and all readers share it.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> io::Result<ReadBatch> {
        self.read_until(u64::MAX, records_max, bytes_max)
    }

    /// [`Reader::read`] of frames below `end_seq`, so that a second read returns the same batch, even if parts of it have
    /// decayed meanwhile. Only a loss may reach beyond `end_seq`.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_until(&mut self, end_seq: u64, records_max: usize, bytes_max: usize) -> io::Result<ReadBatch> {
        let mut batch = ReadBatch::default();
        let mut limits = Limits { end_seq, records_max: records_max.max(1), bytes_left: bytes_max };
        match self.fill(&mut batch, &mut limits) {
            // Frames before the failure are valid; the next call meets the failure again.
            Err(error) if batch == ReadBatch::default() => Err(error),
            _ => Ok(batch),
        }
    }

    /// [`Reader::read_until`] that tries again for some seconds, for what a start needs. Blocks.
    ///
    /// # Errors
    /// As [`Reader::read`], after the last try.
    pub fn read_patiently(&mut self, end_seq: u64, records_max: usize, bytes_max: usize) -> io::Result<ReadBatch> {
        let mut tries = Tries::default();
        loop {
            let error = match self.read_until(end_seq, records_max, bytes_max) {
                Ok(batch) => return Ok(batch),
                Err(error) => error,
            };
            let Some(pause) = tries.failed(&SPOOL_START_PATIENCE, Instant::now()) else { return Err(error) };
            std::thread::sleep(pause);
        }
    }

    fn fill(&mut self, batch: &mut ReadBatch, limits: &mut Limits) -> io::Result<()> {
        while self.next_seq < limits.end_seq {
            let place = self.shared.segments().place(self.next_seq);
            match place {
                Place::End => return Ok(()),
                Place::Before(seq) => self.skip_missing(seq, "no file holds them", batch),
                Place::In(span) => {
                    let Some(mut open) = self.open(span, batch)? else { continue };
                    let from = open.scan.offset();
                    let filled = self.fill_from(&mut open, span, batch, limits);
                    if !self.only_looks {
                        let at = open.scan.offset();
                        let end = if filled.is_ok() { at } else { at - at % BLOCK };
                        self.shared.unreadable.passed(span.first_seq, from - from % BLOCK..end);
                    }
                    self.open = Some(open);
                    if filled? == Filled::ToTheLimit {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens the segment of `span`; `None` if it was skipped because it is gone.
    fn open(&mut self, span: Span, batch: &mut ReadBatch) -> io::Result<Option<OpenSegment>> {
        let is_same = |open: &OpenSegment| (open.span.first_seq, open.span.remade) == (span.first_seq, span.remade);
        if let Some(mut open) = self.open.take().filter(is_same) {
            if span.bytes > open.span.bytes {
                open.scan.extend(span.bytes);
                open.span = span;
            }
            return Ok(Some(open));
        }
        // A segment that could not be opened at the start has no known length.
        let is_unknown = span.bytes == SEGMENT_HEADER_BYTES && span.end_seq > span.first_seq;
        let file = self.shared.disk.open(&segment_path(self.shared.folder.path(), span.first_seq));
        let file = file.and_then(|file| Ok((if is_unknown { file.size()? } else { span.bytes }, file)));
        match file {
            Ok((end, file)) => {
                self.shared.unreadable.passed(span.first_seq, 0..0);
                let scan = Scan::new(file, self.shared.salt, span.first_seq, end);
                Ok(Some(OpenSegment { span, scan, is_quarantined: false }))
            }
            // Unlinked or made again since the lookup. A new lookup shows which.
            Err(_) if !self.shared.segments().is_live(span) => Ok(None),
            // The writer holds it open, and makes its name again or ends the process. Nothing is lost meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_held_by_the_writer(span) => {
                Err(again(span.first_seq, &error))
            }
            Err(error) => {
                self.wait_or_give_up(span.first_seq, WHOLE_FILE, &error)?;
                if !self.only_looks {
                    self.shared.unreadable.gave_up(span.first_seq);
                }
                let reason = match error.kind() {
                    io::ErrorKind::NotFound => "the segment was removed".to_owned(),
                    _ => format!("the segment cannot be opened: {error}"),
                };
                self.skip_missing(span.end_seq, &reason, batch);
                Ok(None)
            }
        }
    }

    fn is_held_by_the_writer(&self, span: Span) -> bool {
        !self.only_looks && self.shared.segments().is_active(span)
    }

    fn fill_from(
        &mut self,
        open: &mut OpenSegment,
        span: Span,
        batch: &mut ReadBatch,
        limits: &mut Limits,
    ) -> io::Result<Filled> {
        while self.next_seq < span.end_seq.min(limits.end_seq) {
            if batch.frames.len() == limits.records_max {
                return Ok(Filled::ToTheLimit);
            }
            let frame = match self.held.take() {
                Some(frame) => frame,
                None => match open.scan.next(span.end_seq) {
                    Ok(Step::Frame { frame, .. }) => frame,
                    Ok(Step::Damage { lost, bytes, .. }) => {
                        self.lose_damaged(open, lost, bytes, batch);
                        continue;
                    }
                    // The file ends before its frames do.
                    Ok(Step::End) => {
                        self.skip_missing(span.end_seq, "the segment ends before them", batch);
                        continue;
                    }
                    Err(ReadFault { block, error }) => {
                        self.wait_or_give_up_block(open, block, &error)?;
                        continue;
                    }
                },
            };
            if frame.seq < self.next_seq {
                continue;
            }
            if frame.body.len() > limits.bytes_left && !batch.frames.is_empty() {
                self.held = Some(frame);
                return Ok(Filled::ToTheLimit);
            }
            limits.bytes_left = limits.bytes_left.saturating_sub(frame.body.len());
            self.next_seq = frame.seq + 1;
            batch.frames.push(frame);
        }
        Ok(Filled::ToTheEnd)
    }

    /// `Ok` to continue, if the time of the place is over; otherwise the error.
    fn wait_or_give_up(&self, segment: u64, block: u64, error: &io::Error) -> io::Result<()> {
        if self.only_looks {
            return if concerns_the_place(error) { Ok(()) } else { Err(again(segment, error)) };
        }
        match self.shared.unreadable.failed(segment, block, error, Instant::now()) {
            Verdict::Spent if self.disk_answers(segment) => Ok(()),
            Verdict::Spent | Verdict::Wait => Err(again(segment, error)),
        }
    }

    fn wait_or_give_up_block(&self, open: &mut OpenSegment, block: u64, error: &io::Error) -> io::Result<()> {
        // A block beside one that was given up is given up too, so that a large hole costs its time only once.
        let is_beside = block.checked_sub(BLOCK).is_some_and(|before| open.scan.has_given_up(before));
        if !(is_beside && concerns_the_place(error)) {
            self.wait_or_give_up(open.span.first_seq, block, error)?;
        }
        // A last attempt, without the system's cache.
        if self.only_looks || !open.scan.yields(block) {
            open.scan.give_up(block);
        }
        Ok(())
    }

    /// Whether the disk can be read at all. A disk that cannot be read is gone, not damaged, and may come back.
    fn disk_answers(&self, segment: u64) -> bool {
        let header = || {
            let file = self.shared.disk.open(&segment_path(self.shared.folder.path(), segment))?;
            file.forget_cached()?;
            read_full_at(&*file, &mut [0; SEGMENT_HEADER_BYTES as usize], 0)
        };
        let id = || {
            let path = self.shared.folder.join(ID_NAME);
            self.shared.disk.open(&path)?.forget_cached()?;
            read_file(&*self.shared.disk, &path, 64)
        };
        header().is_ok() || id().is_ok()
    }

    /// Continues at `seq`, because no file holds the frames before it. They are lost only from the cursor on; frames below it
    /// were delivered and unlinked.
    fn skip_missing(&mut self, seq: u64, reason: &str, batch: &mut ReadBatch) {
        let segment = match self.shared.segments().place(self.next_seq) {
            Place::In(span) => segment_name(span.first_seq),
            Place::Before(_) | Place::End => String::new(),
        };
        let delivered = self.shared.delivered().clamp(self.next_seq, seq);
        self.next_seq = delivered;
        if let Some(lost) = self.lose(delivered..seq, batch) {
            self.note_loss(lost, Vec::new(), segment, None, reason.to_owned());
        }
    }

    fn lose_damaged(&mut self, open: &mut OpenSegment, lost: Range<u64>, bytes: Range<u64>, batch: &mut ReadBatch) {
        let all = lost.clone();
        let lost = self.lose(lost, batch);
        if self.only_looks {
            return;
        }
        if !open.is_quarantined {
            open.is_quarantined = true;
            self.keep_segment(open.span.first_seq);
        }
        let Some(lost) = lost else { return };
        let mut events = Vec::new();
        for frame in open.scan.seeming_frames(bytes.clone(), all.start) {
            events.extend(frame.event.map(|event_uuid| LostEvent { seq: frame.seq, event_uuid }));
        }
        // The header of a single frame is bad, but its body may be intact.
        if events.is_empty() && all.end - all.start == 1 {
            let event = open.scan.probable_event(bytes.start, bytes.end);
            events.extend(event.map(|event_uuid| LostEvent { seq: all.start, event_uuid }));
        }
        events.retain(|event| lost.contains(&event.seq));
        events.truncate(SPOOL_LOSS_EVENTS_MAX);
        let reason = match open.scan.has_given_up_any() {
            true => "blocks that cannot be read",
            false if bytes.end - bytes.start < FRAME_HEADER_BYTES as u64 => "bytes are missing",
            false => "the checksum is wrong",
        };
        self.note_loss(lost, events, segment_name(open.span.first_seq), Some([bytes.start, bytes.end]), reason.to_owned());
    }

    /// Reports the part of `lost` that this reader has not passed yet.
    fn lose(&mut self, lost: Range<u64>, batch: &mut ReadBatch) -> Option<Range<u64>> {
        let lost = lost.start.max(self.next_seq)..lost.end;
        if lost.is_empty() {
            return None;
        }
        self.next_seq = lost.end;
        match batch.lost.last_mut() {
            Some(last) if last.end == lost.start => last.end = lost.end,
            _ => batch.lost.push(lost.clone()),
        }
        Some(lost)
    }

    fn note_loss(
        &self,
        lost: Range<u64>,
        probable_events: Vec<LostEvent>,
        segment: String,
        bytes: Option<[u64; 2]>,
        reason: String,
    ) {
        // Delivered frames are never a loss, even if they decayed later.
        let lost = lost.start.max(self.shared.delivered())..lost.end;
        if self.only_looks || lost.is_empty() {
            return;
        }
        let (first_seq, end_seq_exclusive) = (lost.start, lost.end);
        let (spool_id, at) = (self.shared.id, String::new());
        let loss = Loss { spool_id, first_seq, end_seq_exclusive, probable_events, segment, bytes, reason, at };
        // After a failed sync, the disk is not used any more. The restart finds the loss again.
        if self.shared.has_failed() {
            return;
        }
        if let Err(Fault::Broken(error)) = self.shared.losses.note(&*self.shared.disk, &self.shared.quarantine, loss) {
            self.shared.fail("writing down what is lost", &error);
        }
        self.shared.look_into_quarantine();
    }

    fn keep_segment(&self, first_seq: u64) {
        let Shared { disk, folder, quarantine, .. } = &*self.shared;
        self.shared.note_damaged(first_seq);
        if self.shared.has_failed() {
            return;
        }
        match quarantine_segment(&**disk, folder.path(), quarantine, first_seq) {
            Ok(()) => {}
            Err(Fault::Broken(error)) => self.shared.fail("setting a damaged segment aside", &error),
            Err(Fault::Refused(error) | Fault::ReadOnly(error)) => {
                tracing::warn!(segment = first_seq, %error, "a damaged segment is kept in the quarantine once it is delivered");
            }
        }
        self.shared.look_into_quarantine();
    }
}

/// The error at this segment, to be retried.
fn again(segment: u64, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", segment_name(segment)))
}

#[derive(PartialEq, Eq)]
enum Filled {
    /// The batch is full.
    ToTheLimit,
    /// The segment has no more frames.
    ToTheEnd,
}
