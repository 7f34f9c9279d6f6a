//! What the stream will never take, and what the disk lost: kept with the dead letters, or told.

use super::{Flow, form::Form, intake::Found};
use crate::{event::Record, limits::DELIVERY_BACKOFF};

impl Flow {
    pub(super) async fn keep_what_cannot_be_sent(&mut self, found: Found) {
        let Found { unreadable, too_large, lost } = found;
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            tracing::error!(from = first, to = last, count = lost.len(), "events are lost to a damaged disk; see quarantine/");
            self.shared.metrics.lost_events.inc_by(lost.len() as u64);
            self.confirm(&lost);
        }
        for (frame, reason) in unreadable {
            self.shared.keep_unreadable(&frame, &reason).await;
            self.confirm(&[frame.seq]);
        }
        for (seq, reason) in too_large {
            self.refuse(seq, &reason).await;
        }
    }

    /// Keeps an event that the stream will never take with the dead letters.
    pub(super) async fn refuse(&mut self, seq: u64, reason: &str) {
        let frame = loop {
            match tokio::task::block_in_place(|| self.shared.spool.reader(seq).read(1, usize::MAX)) {
                Ok(stretch) => break stretch.frames.into_iter().find(|frame| frame.seq == seq),
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read; trying again");
                    tokio::time::sleep(DELIVERY_BACKOFF.0).await;
                }
            }
        };
        match (frame, &self.intake.form) {
            (None, _) => drop(self.shared.metrics.lost_events.inc()),
            (Some(frame), Form::Lines) => self.shared.keep_line(&frame.body).await,
            (Some(frame), Form::Events(_)) => match Record::decode(frame.body.clone()) {
                Ok(record) => self.shared.keep_refused(&record, reason).await,
                Err(error) => self.shared.keep_unreadable(&frame, &error.to_string()).await,
            },
        }
        self.confirm(&[seq]);
    }
}
