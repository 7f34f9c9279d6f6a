//! Reading the spool in order, from any sequence number, past whatever decayed.

use std::{io, ops::Range, sync::Arc};

use super::{
    frame::Frame,
    scan::{Scan, Step},
    segment::{quarantine_segment, segment_path},
    shared::{Place, Shared, Span},
};
use crate::limits::SPOOL_READ_TRIES;

/// What one [`Reader::read`] found. Both lists are in order, and together they hold every sequence number between the
/// reader's position before and after exactly once, save those that were delivered and unlinked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Frames, whole and checked.
    pub frames: Vec<Frame>,
    /// Sequence numbers whose frames decayed. The damaged file is kept in `quarantine/`.
    pub lost: Vec<Range<u64>>,
}

/// A position in the spool. Readers are independent of each other and never hold up the writer. Reading blocks on the
/// disk, so it belongs on a blocking thread. A clone looks ahead from the same position without moving it.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    next_seq: u64,
    open: Option<OpenSegment>,
    /// The frame at `next_seq`, read already but too large for the last stretch.
    held: Option<Frame>,
    failed_reads: u32,
}

#[derive(Clone)]
struct OpenSegment {
    first_seq: u64,
    scan: Scan,
    is_quarantined: bool,
}

/// How much of a stretch may still be filled.
struct Limits {
    records_max: usize,
    bytes_left: usize,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, seq: u64) -> Self {
        Self { shared, next_seq: seq, open: None, held: None, failed_reads: 0 }
    }

    /// Sequence number that comes next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Reads on: at most `records_max` frames, whose bodies have at most `bytes_max` bytes together (but always one, if
    /// there is one). Never past the durable end; an empty stretch means that it is reached.
    ///
    /// # Errors
    /// The disk's, with the position where it was: read again later. A place at which reading keeps failing is taken for
    /// damaged after some tries, so that what follows is not held up for ever.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> io::Result<Stretch> {
        let mut stretch = Stretch::default();
        let mut limits = Limits { records_max: records_max.max(1), bytes_left: bytes_max };
        match self.fill(&mut stretch, &mut limits) {
            // What came before the failure is good; the next call meets it again.
            Err(error) if stretch == Stretch::default() => {
                self.failed_reads += 1;
                Err(error)
            }
            _ => {
                self.failed_reads = 0;
                Ok(stretch)
            }
        }
    }

    fn fill(&mut self, stretch: &mut Stretch, limits: &mut Limits) -> io::Result<()> {
        loop {
            let place = self.shared.segments().place(self.next_seq);
            match place {
                Place::End => return Ok(()),
                Place::Before(seq) => self.skip_missing(seq, stretch),
                Place::In(span) => {
                    let Some(mut open) = self.open(span)? else {
                        // Unlinked since we looked, and looking again shows it; or else taken away by a stranger.
                        if self.shared.segments().is_live(span.first_seq) {
                            self.skip_missing(span.end_seq, stretch);
                        }
                        continue;
                    };
                    let filled = self.fill_from(&mut open, span, stretch, limits);
                    self.open = Some(open);
                    if filled? == Filled::ToTheLimit {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The segment of `span`; `None` where there is no such file.
    fn open(&mut self, span: Span) -> io::Result<Option<OpenSegment>> {
        if let Some(mut open) = self.open.take().filter(|open| open.first_seq == span.first_seq) {
            open.scan.extend(span.bytes);
            return Ok(Some(open));
        }
        match self.shared.disk.open(&segment_path(&self.shared.dir, span.first_seq)) {
            Ok(file) => {
                let scan = Scan::new(file, self.shared.salt, span.first_seq, span.bytes);
                Ok(Some(OpenSegment { first_seq: span.first_seq, scan, is_quarantined: false }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fill_from(
        &mut self,
        open: &mut OpenSegment,
        span: Span,
        stretch: &mut Stretch,
        limits: &mut Limits,
    ) -> io::Result<Filled> {
        open.scan.take_unreadable_for_damage(self.failed_reads >= SPOOL_READ_TRIES);
        while self.next_seq < span.end_seq {
            if stretch.frames.len() == limits.records_max {
                return Ok(Filled::ToTheLimit);
            }
            let frame = match self.held.take() {
                Some(frame) => frame,
                None => match open.scan.next(span.end_seq)? {
                    Step::Frame { frame, .. } => frame,
                    Step::Damage { lost, .. } => {
                        self.quarantine(open);
                        self.lose(lost, stretch);
                        continue;
                    }
                    // The file ends before its frames do.
                    Step::End => {
                        self.skip_missing(span.end_seq, stretch);
                        continue;
                    }
                },
            };
            if frame.seq < self.next_seq {
                continue;
            }
            if frame.body.len() > limits.bytes_left && !stretch.frames.is_empty() {
                self.held = Some(frame);
                return Ok(Filled::ToTheLimit);
            }
            limits.bytes_left = limits.bytes_left.saturating_sub(frame.body.len());
            self.next_seq = frame.seq + 1;
            stretch.frames.push(frame);
        }
        Ok(Filled::ToTheEnd)
    }

    /// Goes on at `seq`: no file holds what is before it. That is a loss only from the cursor on; what is missing below was
    /// delivered and unlinked.
    fn skip_missing(&mut self, seq: u64, stretch: &mut Stretch) {
        let delivered = self.shared.delivered().clamp(self.next_seq, seq);
        self.next_seq = delivered;
        self.lose(delivered..seq, stretch);
    }

    /// Reports what of `lost` this reader had not passed yet.
    fn lose(&mut self, lost: Range<u64>, stretch: &mut Stretch) {
        let lost = lost.start.max(self.next_seq)..lost.end;
        if lost.is_empty() {
            return;
        }
        self.next_seq = lost.end;
        match stretch.lost.last_mut() {
            Some(last) if last.end == lost.start => last.end = lost.end,
            _ => stretch.lost.push(lost),
        }
    }

    fn quarantine(&self, open: &mut OpenSegment) {
        if open.is_quarantined {
            return;
        }
        open.is_quarantined = true;
        if let Err(error) = quarantine_segment(&*self.shared.disk, &self.shared.dir, open.first_seq) {
            tracing::warn!(segment = open.first_seq, %error, "a damaged segment could not be kept in the quarantine");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Filled {
    /// The stretch is as large as it may be.
    ToTheLimit,
    /// The segment has no more.
    ToTheEnd,
}
