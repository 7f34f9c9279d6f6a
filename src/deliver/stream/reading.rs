//! Reads new events and backlogs from the spool; each class has its own pauses after a read error.

use std::time::Instant;

use super::{Flow, shard_queues::Class};
use crate::limits::STREAM_READ_INTERVAL;

impl Flow {
    /// Reads events from the spool as far as memory allows. Returns whether it read anything.
    pub(super) async fn read(&mut self, is_hurried: bool, now: Instant) -> bool {
        // Suspected records must not block the events that would prove them invalid.
        let (held, room) = (self.intake.held_bytes(), self.settings.memory_bytes_max);
        let is_full = held - self.suspects.bytes().min(held) >= room || held >= 2 * room;
        if is_full || self.has_too_many_refusals() || !self.shards.is_known_or_unknowable() {
            return false;
        }
        let (intake, queues) = (&mut self.intake, &mut self.queues);
        // New events linger anyway, so many small groups of the spool are read at once.
        let is_rested = |class: Class| self.reading[class as usize].is_none_or(|at| at <= now);
        let is_due = (is_hurried || now >= self.read_again_at) && is_rested(Class::Live);
        let reads_live = is_due && !intake.has_read_up_to(intake.spool.durable_end());
        let reads_backlog = queues.iter().any(|queue| queue.backlog.is_some()) && is_rested(Class::Backlog);
        if !reads_live && !reads_backlog {
            return false;
        }
        let (live, backlog) = tokio::task::block_in_place(|| {
            let live = if reads_live { intake.read_live(queues, now) } else { None };
            (live, if reads_backlog { intake.read_backlog(queues, now) } else { None })
        });
        if live.is_some() && intake.has_read_up_to(intake.spool.durable_end()) {
            self.read_again_at = now + STREAM_READ_INTERVAL.min(self.settings.linger / 4);
        }
        let mut has_read = false;
        for (class, found) in [(Class::Live, live), (Class::Backlog, backlog)] {
            match found {
                Some(Ok(found)) => {
                    has_read = true;
                    self.reads_again(class);
                    self.keep_what_cannot_be_sent(found, now).await;
                }
                Some(Err(_)) => {
                    // The spool reports the error, and knows when the next attempt makes sense.
                    self.reading[class as usize] = Some(now + self.shared.spool.unreadable_pause());
                    if class == Class::Live {
                        self.intake.step_aside(&mut self.queues);
                    }
                }
                None => {}
            }
        }
        has_read
    }

    /// Ends the pause of `class` after a successful read.
    fn reads_again(&mut self, class: Class) {
        self.reading[class as usize] = None;
        if self.intake.has_read_up_to(self.intake.spool.durable_end()) {
            // The block at which live reading failed is a backlog now, see `Intake::step_aside`.
            self.reading[Class::Live as usize] = None;
        }
    }
}
