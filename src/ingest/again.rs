//! Events out of the dead letters, judged and stored as those of a request are. Three things are their own:
//!
//! - Each has the time at which it was first received, and the source that sent it; where it came from is not known any more.
//! - Identities are claimed as of now, since it is now that the window begins to know them.
//! - What is still not valid makes no second letter, and nothing counts as received, since it was received before.

use std::{sync::Arc, time::SystemTime};

use super::{
    Fate, Ingest,
    judge::{Judge, Judged, Verdict, by_registry},
};
use crate::{
    auth::EventNames,
    config::UnknownEvents,
    decode::{only_element, read_fields, uuid_text},
    event::unix_millis,
    outcome::{Outcome, Rejection, RetryCause},
    schema::{Registry, Suggestions},
};

/// One event, once more.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// Its bytes.
    pub raw: &'a [u8],
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
}

/// Who had sent it.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Name of the key.
    pub source: &'a Arc<str>,
    /// What the key may send.
    pub events: &'a EventNames,
}

impl Ingest {
    /// Takes events of one sender again: one [`Fate`] each, in order, with its identity wherever that is readable.
    pub async fn again(&self, sender: Sender<'_>, events: &[Again<'_>]) -> Vec<Fate> {
        let mut judged = tokio::task::block_in_place(|| self.judge_again(sender, events));
        let frames = std::mem::take(&mut judged.frames);
        let stored = self.store(frames, &judged.uuids(), unix_millis(SystemTime::now())).await;
        let fates = fates(judged, stored.outcomes);
        self.metrics.count_replayed(fates.iter().map(|fate| &fate.outcome));
        fates
    }

    /// What [`Ingest::again`] would come to, where the dedup window is not asked and nothing is stored.
    #[must_use]
    pub fn try_again(&self, sender: Sender<'_>, events: &[Again<'_>]) -> Vec<Fate> {
        let judged = tokio::task::block_in_place(|| self.judge_again(sender, events));
        let accepted = vec![Outcome::Accepted; judged.verdicts.len()];
        fates(judged, accepted)
    }

    fn judge_again(&self, sender: Sender<'_>, events: &[Again<'_>]) -> Judged {
        let registry = self.registry.load();
        let mut judged = Judged::with_capacity(events.iter().map(|event| event.raw.len()).sum());
        let mut suggestions = Suggestions::default();
        for event in events {
            let judge = Judge {
                registry: &registry,
                unknown_events: self.unknown_events,
                source: sender.source,
                client_address: None,
                sent_events: sender.events,
                received_millis: event.received_millis,
                replayed: true,
                metrics: &self.metrics,
            };
            judge.again(event.raw, &mut judged, &mut suggestions);
        }
        debug_assert_eq!(judged.verdicts.len(), events.len());
        judged
    }
}

fn fates(judged: Judged, stored: Vec<Outcome>) -> Vec<Fate> {
    let mut stored = stored.into_iter();
    let fate = |verdict| match verdict {
        Verdict::Valid { event_uuid } => Fate {
            event_uuid: Some(event_uuid.to_string()),
            outcome: stored.next().unwrap_or(Outcome::Retry(RetryCause::StorageUnavailable)),
        },
        Verdict::Rejected { event_uuid, rejection } => Fate { event_uuid, outcome: Outcome::Rejected(rejection) },
    };
    judged.verdicts.into_iter().map(fate).collect()
}

/// What a registry says of an event that nobody sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// Its identity, where it is readable.
    pub event_uuid: Option<String>,
    /// Its name, where it is readable.
    pub event_name: Option<String>,
    /// The version that judged it, or why it is refused.
    pub verdict: Result<Option<u32>, Rejection>,
}

/// What `registry` says of the event `raw`, whoever may send it.
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
            .and_then(|fields| by_registry(registry, unknown_events, &event, &fields, &mut Suggestions::default()));
    });
    opinion
}
