//! The pipeline: from the body of a request to one outcome per event.
//!
//! ```text
//! pay       inflate ─▶ count ─▶ bytes, events   before any event is validated (promise P5)
//! validate  decode ─▶ schema ─▶ enrich           no I/O, no waiting: a pure function of the bytes and the registry
//! store     claim ─▶ append ─▶ confirm          durable before the answer (promise P1)
//! answer    outcomes in input order             one per event, by construction (promise P2)
//! ```

mod accounting;
mod await_delivery;
mod components;
mod conflicts;
mod delivery_admission;
mod delivery_waiters;
mod keep_conflicts;
mod keep_letters;
mod prepare;
mod reconfirm_on_start;
mod recount_on_start;
mod replay;
mod replayed_event;
mod report;
mod store;
mod stored;
mod submission;
mod validate;

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    config::Durability,
    outcome::{Outcome, PerEvent, RetryCause},
};
use accounting::{NotStored, Unanswered};
pub use components::Ingest;
use conflicts::unkept;
pub use delivery_admission::{AwaitedSink, DeliveryAdmission};
pub use delivery_waiters::DeliveryWaiters;
pub use prepare::Prepared;
pub use reconfirm_on_start::reconfirm_on_start;
pub use recount_on_start::recount_on_start;
pub use replay::{Opinion, opinion};
pub use replayed_event::{Refused, ReplayedEvent, Sender};
use stored::Waiting;
pub use submission::{Fate, Submission, SubmissionError};
use validate::{ValidatedBody, Verdict};

impl Ingest {
    /// Stores a request's events: one [`Fate`] per event, in input order.
    ///
    /// Run the future to its end, even if the client disconnects, so that every stored event is also counted.
    pub async fn finish(&self, prepared: Prepared) -> PerEvent<Fate> {
        let Prepared { mut validated, submission } = prepared;
        let submission = &submission;
        let unanswered = Unanswered::new(&self.ledger, validated.verdicts.len());
        let validated_at = validated.validated_at;
        let until = Instant::from_std(validated_at) + self.delivered_wait;
        let _place = match self.admission.as_ref().map(DeliveryAdmission::admit).transpose() {
            Ok(place) => place,
            Err(cause) => {
                let fates = self.refuse(&mut validated, submission, cause);
                unanswered.are_answered();
                return fates;
            }
        };
        let audience = validated.audience.take();
        let (letters, repeats) = validated.take_letters(submission);
        let letters = letters.map(|lines| self.begin_letters(lines));
        let ids = validated.identities(&self.scopes.secret(), submission.sender.dedup_scope());
        let frames = std::mem::take(&mut validated.frames);
        let mut stored =
            self.store(frames, &ids, Some(Waiting { submission, verdicts: &validated.verdicts, validated_at, until })).await;
        if submission.durability == Durability::Delivered {
            let ids: Vec<Uuid> = ids.iter().map(|identity| identity.id).collect();
            Box::pin(self.await_delivery(&ids, &mut stored, until)).await;
        }
        let kept = match letters {
            None => Ok(()),
            Some(letters) => self.letters_kept(letters, until).await,
        };
        let mut repeated = self.count_repeats(repeats, submission.received_millis, until).await.into_iter();
        let mut not_stored = NotStored::new(submission, &ids, &stored.places);
        let mut outcomes = stored.outcomes.into_iter();
        let mut fates = PerEvent::with_capacity(validated.verdicts.len());
        for verdict in validated.verdicts {
            fates.push(match verdict {
                Verdict::Valid { event_uuid, event_name, .. } => {
                    let outcome = outcomes.next().unwrap_or(Outcome::Retry(RetryCause::StorageUnavailable));
                    not_stored.valid(event_name, &outcome);
                    Fate { event_uuid: (outcome != Outcome::Accepted).then(|| event_uuid.to_string()), outcome }
                }
                Verdict::Rejected { event_uuid, rejection, event_name, is_repeated } => {
                    // Without a stored dead letter the event is not rejected yet: its sender must keep it.
                    let outcome = match if is_repeated { repeated.next().unwrap_or(kept) } else { kept } {
                        Ok(()) => Outcome::Rejected(rejection),
                        Err(error) => Outcome::Retry(unkept(error)),
                    };
                    not_stored.rejected(event_name, &outcome);
                    Fate { event_uuid, outcome }
                }
            });
        }
        not_stored.tell(&self.ledger);
        unanswered.are_answered();
        let outcomes = fates.iter().map(|fate| &fate.outcome);
        let counts = self.metrics.count_outcomes(&submission.source, &submission.sender.accepted, outcomes);
        self.report(submission, audience, &fates, &counts);
        fates
    }

    /// The fates of a request of which nothing is stored.
    fn refuse(&self, validated: &mut ValidatedBody, submission: &Submission, cause: RetryCause) -> PerEvent<Fate> {
        let event_uuid = |verdict: &Verdict| match verdict {
            Verdict::Valid { event_uuid, .. } => Some(event_uuid.to_string()),
            Verdict::Rejected { event_uuid, .. } => event_uuid.clone(),
        };
        let fate = |verdict| Fate { event_uuid: event_uuid(verdict), outcome: Outcome::Retry(cause) };
        let fates: PerEvent<Fate> = validated.verdicts.iter().map(fate).collect();
        let mut not_stored = NotStored::new(submission, &[], &[]);
        for (verdict, fate) in validated.verdicts.iter().zip(&fates) {
            match verdict {
                Verdict::Valid { event_name, .. } => not_stored.valid(*event_name, &fate.outcome),
                Verdict::Rejected { event_name, .. } => not_stored.rejected(*event_name, &fate.outcome),
            }
        }
        not_stored.tell(&self.ledger);
        let outcomes = fates.iter().map(|fate| &fate.outcome);
        let counts = self.metrics.count_outcomes(&submission.source, &submission.sender.accepted, outcomes);
        self.report(submission, validated.audience.take(), &fates, &counts);
        fates
    }
}
