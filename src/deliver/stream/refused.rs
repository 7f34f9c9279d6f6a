//! Events that the stream will never take, and events that the disk lost: stored as dead letters, or reported. If a letter
//! cannot be written, or its event cannot be read, only this event waits, with its own pauses.

use std::time::Instant;

use super::{Flow, intake::Unsendable, record_format::StreamFormat, refusal::Refusal};
use crate::{
    event::Record,
    limits::{DELIVERY_DISK_PATIENCE, STREAM_REFUSALS_MAX},
};

impl Flow {
    /// Whether so many events wait to become dead letters that reading must stop.
    pub(super) fn has_too_many_refusals(&self) -> bool {
        self.refusals.len() >= STREAM_REFUSALS_MAX
    }

    pub(super) async fn keep_what_cannot_be_sent(&mut self, found: Unsendable, now: Instant) {
        let Unsendable { unreadable, too_large, of_other_sinks, lost } = found;
        if !of_other_sinks.is_empty() {
            self.journal.settled(&of_other_sinks);
            self.shared.skip(&of_other_sinks);
        }
        let lost = self.shared.note_lost(&lost);
        if !lost.is_empty() {
            self.shared.make_endings_durable();
            self.journal.settled(&lost);
        }
        let refusals = unreadable.into_iter().chain(too_large);
        self.refusals
            .extend(refusals.map(|(frame, reason)| Refusal { frame: Some(frame.clone()), ..Refusal::new(frame.seq, &reason) }));
        self.keep_refusals(now).await;
    }

    /// Writes the dead letters that are due.
    pub(super) async fn keep_refusals(&mut self, now: Instant) {
        let is_due = |refusal: &mut Refusal| refusal.retry_at.is_none_or(|at| at <= now);
        let due: Vec<Refusal> = self.refusals.extract_if(.., is_due).collect();
        for mut refusal in due {
            if self.keep_refusal(&mut refusal).await {
                self.shared.make_endings_durable();
                self.journal.settled(&[refusal.seq]);
            } else {
                // A long wait must not take memory.
                refusal.frame = None;
                refusal.retry_at =
                    Some(now + refusal.tries.failed(&DELIVERY_DISK_PATIENCE, now).unwrap_or(DELIVERY_DISK_PATIENCE.longest));
                self.refusals.push(refusal);
            }
        }
    }

    async fn keep_refusal(&mut self, refusal: &mut Refusal) -> bool {
        // An erasure waits until the letter is written, and then finds it.
        let under_way = self.shared.spool.begin_attempt();
        if under_way.is_erased(refusal.seq) {
            self.shared.leave_out_erased(&[refusal.seq]);
            return true;
        }
        if refusal.frame.is_none() {
            let reader = refusal.reader.get_or_insert_with(|| self.shared.spool.reader(refusal.seq));
            let Ok(batch) = tokio::task::block_in_place(|| reader.read(1, usize::MAX)) else { return false };
            refusal.reader = None;
            refusal.frame = batch.frames.into_iter().find(|frame| frame.seq == refusal.seq);
        }
        let (Some(frame), reason) = (&refusal.frame, &*refusal.reason) else {
            let seq = refusal.seq;
            self.shared.note_lost(&[seq..seq + 1]);
            return true;
        };
        match (&self.intake.form, Record::decode(frame.body.clone())) {
            (StreamFormat::Lines { .. }, _) => self.shared.keep_line(frame, reason).await,
            (StreamFormat::Events(_), Ok(record)) => self.shared.keep_refused(frame.seq, &record, reason).await,
            (StreamFormat::Events(_), Err(error)) => self.shared.keep_unreadable(frame, &error.to_string()).await,
        }
    }
}
