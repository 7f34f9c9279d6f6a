//! Searches a spool and its quarantine.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;

use super::{
    criterion::{Criterion, Subject, Verdict},
    letters::is_erased,
    report::{QuarantineReport, SpoolReport},
};
use crate::{
    dead_letters::{StoredLetter, lines_in},
    event::Record,
    limits::{ERASURE_READ_BYTES, ERASURE_READ_EVENTS},
    spool::{Frame, Spool},
};

/// What the frames of a spool hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// Records of events.
    Events,
    /// Lines of dead letters.
    Letters,
}

/// A frame with a selected event.
#[derive(Debug)]
pub(super) struct SelectedFrame {
    pub(super) seq: u64,
    /// Lines of other dead letters in the same frame, which must be kept, and their number.
    pub(super) others: Option<(Vec<u8>, usize)>,
}

impl Contents {
    /// Whether a frame is selected; `None` if it cannot be read.
    fn selects(self, criterion: &Criterion, frame: &Frame) -> Option<bool> {
        Some(self.select(criterion, frame)?.is_some())
    }

    /// The frame, if it holds a selected event; `None` if it cannot be read.
    fn select(self, criterion: &Criterion, frame: &Frame) -> Option<Option<SelectedFrame>> {
        match self {
            Self::Events => {
                let record = Record::decode(frame.body.clone()).ok()?;
                let envelope = record.envelope();
                let event_uuid = envelope.event_uuid.to_string();
                let verdict = criterion.judge(&Subject {
                    event_uuid: Some(&event_uuid),
                    event_name: Some(envelope.event_name.as_str()),
                    client_address: envelope.client_address,
                    payload: Some(record.payload()),
                });
                Some((verdict == Verdict::Selected).then_some(SelectedFrame { seq: frame.seq, others: None }))
            }
            Self::Letters => {
                let lines = lines_in(&frame.body);
                let (mut others, mut count) = (Vec::new(), 0);
                for line in &lines {
                    if !is_erased(criterion, line, &StoredLetter::parse(line).ok()?) {
                        others.extend_from_slice(line);
                        others.push(b'\n');
                        count += 1;
                    }
                }
                let others = (count > 0).then_some((others, count));
                Some((count < lines.len()).then_some(SelectedFrame { seq: frame.seq, others }))
            }
        }
    }
}

/// Searches the frames below `end_seq_exclusive` that are on the disk. Returns the selected ones, in order.
pub(super) fn search(
    spool: &Spool,
    contents: Contents,
    criterion: &Criterion,
    end_seq_exclusive: u64,
    is_interrupted: &AtomicBool,
    report: &mut SpoolReport,
) -> io::Result<Vec<SelectedFrame>> {
    let mut reader = spool.reader(spool.stats().first_seq).that_only_looks();
    let mut selected = Vec::new();
    (report.searched, report.unreadable) = (0, 0);
    while reader.next_seq() < end_seq_exclusive {
        go_on(is_interrupted)?;
        let batch = reader.read_until(end_seq_exclusive, ERASURE_READ_EVENTS, ERASURE_READ_BYTES)?;
        if batch.frames.is_empty() && batch.lost.is_empty() {
            break;
        }
        report.unreadable += batch.lost.iter().map(|lost| lost.end - lost.start).sum::<u64>();
        for frame in &batch.frames {
            report.searched += 1;
            match contents.select(criterion, frame) {
                Some(found) => selected.extend(found),
                None => report.unreadable += 1,
            }
        }
    }
    let delivered = spool.cursor().delivered_exclusive;
    // An interrupted run may have met events whose segments are gone now.
    report.erased = report.erased.max(selected.len() as u64);
    let before = selected.partition_point(|frame| frame.seq < delivered);
    report.undelivered = report.undelivered.max((selected.len() - before) as u64);
    let seqs: Vec<u64> = selected.iter().map(|frame| frame.seq).collect();
    report.segments = spool.segments_of(&seqs).len() as u64;
    Ok(selected)
}

/// An error, if the process stops.
pub(super) fn go_on(is_interrupted: &AtomicBool) -> io::Result<()> {
    match is_interrupted.load(Ordering::Relaxed) {
        true => Err(io::Error::new(io::ErrorKind::Interrupted, "the gateway stops")),
        false => Ok(()),
    }
}

/// Searches the quarantine of `spool`, and erases there unless `dry_run` is set.
pub(super) fn search_quarantine(
    spool: &Spool,
    name: &str,
    contents: Contents,
    criterion: &Criterion,
    dry_run: bool,
    reports: &mut Vec<QuarantineReport>,
) -> io::Result<()> {
    let is_erased = &mut |_: Uuid, frame: &Frame| contents.selects(criterion, frame) == Some(true);
    for file in spool.erase_quarantined(dry_run, is_erased)? {
        let found = QuarantineReport {
            spool: name.to_owned(),
            file: file.name,
            searched: file.frames,
            erased: file.erased,
            unsearched_bytes: file.unsearched_bytes,
            later: file.is_segment && file.erased > 0,
        };
        match reports.iter_mut().find(|known| (&known.spool, &known.file) == (&found.spool, &found.file)) {
            // An earlier run of this erasure may have overwritten some.
            Some(known) => *known = QuarantineReport { erased: known.erased.max(found.erased), ..found },
            None => reports.push(found),
        }
    }
    if criterion.is_of_identities() {
        spool.erase_listed(dry_run, &|event_uuid| criterion.selects_uuid(event_uuid))?;
    }
    Ok(())
}
