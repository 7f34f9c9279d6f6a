//! Validates and stores events from the dead letters like the events of a request, with four differences:
//!
//! - Each event keeps its first time of receipt, and its source. Its client address is no longer known.
//! - Identities are claimed at the current time, because the window knows them from now on.
//! - An event that the sink refused was accepted once, so the window knows its identity. The name of its dead letter is claimed
//!   instead ([`Refused`](super::Refused)), so the event reaches the sink again, once for each dead letter.
//! - An event that is still invalid makes no second dead letter. Nothing counts as received, because it was received before.

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    components::Ingest,
    replayed_event::{ReplayedEvent, Sender},
    submission::Fate,
    validate::{ValidatedBody, Validator, Verdict, by_registry},
};
use crate::{
    config::{Durability, UnknownEvents},
    decode::{only_element, read_fields, uuid_text},
    dedup::Identity,
    limits::EVENT_BYTES_MAX,
    outcome::{Outcome, Rejection, RetryCause},
    schema::{Registry, Suggestions},
};

impl Ingest {
    /// Replays events of one sender: one [`Fate`] each, in order, with the identity if it is readable.
    pub async fn replay(&self, sender: Sender<'_>, events: &[ReplayedEvent<'_>]) -> Vec<Fate> {
        let mut validated = tokio::task::block_in_place(|| self.validate_replayed(sender, events));
        let frames = std::mem::take(&mut validated.frames);
        let scope = sender.is_scoped.then_some(&**sender.source);
        let own = validated.identities(&self.scopes.secret(), scope);
        let (ids, again) = claimed_for(&own, &validated, events);
        // A conflicting duplicate makes no second dead letter here either.
        let mut stored = self.store(frames, &ids, None).await;
        if self.durability() == Durability::Delivered {
            let ids: Vec<Uuid> = ids.iter().map(|identity| identity.id).collect();
            Box::pin(self.await_delivery(&ids, &mut stored, Instant::now() + self.delivered_wait)).await;
        }
        let mut places = stored.places.into_iter();
        let valid = validated.verdicts.iter().map(|verdict| matches!(verdict, Verdict::Valid { .. }));
        let places: Vec<Option<u64>> = valid.map(|is_valid| if is_valid { places.next().flatten() } else { None }).collect();
        let fates = fates(validated, stored.outcomes);
        for ((identity, place), fate) in again.into_iter().zip(places).zip(&fates) {
            if let (Some(identity), Some(place), Outcome::Accepted) = (identity, place, &fate.outcome) {
                // Requests that wait for the event from now on wait for this copy.
                self.progress.forget_refusal(identity);
                self.delivery_waiters.remember(identity, place);
            }
        }
        self.metrics.count_replayed(fates.iter().map(|fate| &fate.outcome));
        self.show_replayed(sender, events, &fates);
        fates
    }

    /// The expected result of [`Ingest::replay`], without asking the dedup window and without storing anything.
    #[must_use]
    pub fn try_replay(&self, sender: Sender<'_>, events: &[ReplayedEvent<'_>]) -> Vec<Fate> {
        let validated = tokio::task::block_in_place(|| self.validate_replayed(sender, events));
        let accepted = vec![Outcome::Accepted; validated.verdicts.len()];
        fates(validated, accepted)
    }

    fn validate_replayed(&self, sender: Sender<'_>, events: &[ReplayedEvent<'_>]) -> ValidatedBody {
        let (registry, now) = (self.registry.load(), std::time::Instant::now());
        let mut validated = ValidatedBody::with_capacity(events.iter().map(|event| event.raw.len()).sum(), events.len(), now);
        // An operator requested the replay, and reads all faults of each event.
        validated.suggestions = Suggestions::with_every_fault();
        for event in events {
            let validator = Validator {
                registry: &registry,
                unknown_events: self.unknown_events,
                source: sender.source,
                is_scoped: sender.is_scoped,
                client_address: None,
                sent_events: sender.events,
                // The event was received once, and an operator may raise the limit of a key.
                event_bytes_max: EVENT_BYTES_MAX,
                received_millis: event.received_millis,
                created_in_time: sender.created_days.around(event.received_millis),
                replayed: true,
                refused: event.refused,
                known_letters: self.dead_letters.known(),
                event_names: &self.ledger.names().events,
                metrics: &self.metrics,
            };
            validator.replayed(event.raw, &mut validated);
        }
        debug_assert_eq!(validated.verdicts.len(), events.len());
        validated
    }
}

/// The identity to claim for each valid event, given its `own` identity: the name of its dead letter if the sink had refused
/// the event. Also returns, for each event, the identity of an event replayed in this way.
fn claimed_for(own: &[Identity], validated: &ValidatedBody, events: &[ReplayedEvent<'_>]) -> (Vec<Identity>, Vec<Option<Uuid>>) {
    let (mut own, mut ids) = (own.iter(), Vec::with_capacity(own.len()));
    let again = validated.verdicts.iter().zip(events).map(|(verdict, event)| {
        let Verdict::Valid { event_uuid, .. } = verdict else { return None };
        let identity = *own.next()?;
        let refused = event.refused.filter(|refused| refused.event_uuid == *event_uuid);
        ids.push(refused.map_or(identity, |refused| Identity::unknown(refused.letter)));
        refused.map(|_| identity.id)
    });
    let again = again.collect();
    (ids, again)
}

fn fates(validated: ValidatedBody, stored: impl IntoIterator<Item = Outcome>) -> Vec<Fate> {
    let mut stored = stored.into_iter();
    let fate = |verdict| match verdict {
        Verdict::Valid { event_uuid, .. } => Fate {
            event_uuid: Some(event_uuid.to_string()),
            outcome: stored.next().unwrap_or(Outcome::Retry(RetryCause::StorageUnavailable)),
        },
        Verdict::Rejected { event_uuid, rejection, .. } => Fate { event_uuid, outcome: Outcome::Rejected(rejection) },
    };
    validated.verdicts.into_iter().map(fate).collect()
}

/// The result of checking an event against a registry, without sending it.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// The identity, if readable.
    pub event_uuid: Option<String>,
    /// The name, if readable.
    pub event_name: Option<String>,
    /// The version that validated the event, or why the event is refused.
    pub verdict: Result<Option<u32>, Rejection>,
}

/// Checks the event `raw` against `registry`, regardless of the permissions of keys.
#[must_use]
pub fn opinion(registry: &Registry, unknown_events: UnknownEvents, raw: &[u8]) -> Opinion {
    let mut opinion = Opinion { event_uuid: None, event_name: None, verdict: Ok(None) };
    only_element(raw, |element| {
        let event = match element.event {
            Ok(event) => event,
            Err(rejection) => return opinion.verdict = Err(rejection),
        };
        opinion.event_uuid = uuid_text(&event);
        let name = event.members().find(|(name, _)| name == "event_name").and_then(|(_, name)| name.string());
        opinion.event_name = name.map(std::borrow::Cow::into_owned);
        opinion.verdict = read_fields(&event)
            .and_then(|fields| by_registry(registry, unknown_events, &event, &fields, &mut Suggestions::default()))
            .map(|(version, _)| version);
    });
    opinion
}
