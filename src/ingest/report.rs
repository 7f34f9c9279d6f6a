//! Who is told of the fates of a request besides its sender: the log of its rejections, and whoever watches live.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    components::Ingest,
    replayed_event::{ReplayedEvent, Sender},
    submission::{Fate, Submission},
};
use crate::{
    decode::only_element,
    live_events::{Audience, Request, Told, event_name},
    outcome::{Counts, Outcome},
    schema::Resolution,
};

impl Ingest {
    /// Counts the rejections for the log, and shows the events to their `audience`.
    pub(super) fn report(&self, submission: &Submission, audience: Option<Box<Audience>>, fates: &[Fate], counts: &Counts) {
        if counts.rejected > 0 {
            let rejected = fates.iter().filter_map(|fate| match &fate.outcome {
                Outcome::Rejected(rejection) => Some((&**rejection, fate.event_uuid.as_deref())),
                _ => None,
            });
            self.metrics.refusals.count_rejected(&submission.source, rejected);
        }
        if let Some(audience) = audience {
            self.show(*audience, &submission.source, false, fates, |_| submission.received_millis);
        }
    }

    /// Shows replayed events to those who watch.
    pub(super) fn show_replayed(&self, sender: Sender<'_>, events: &[ReplayedEvent<'_>], fates: &[Fate]) {
        if self.live_events.audience(sender.source, &Bytes::new()).is_none() {
            return;
        }
        let body = Bytes::from(events.iter().flat_map(|event| event.raw).copied().collect::<Vec<u8>>());
        let Some(mut audience) = self.live_events.audience(sender.source, &body) else { return };
        let mut rest = &body[..];
        for event in events {
            let (raw, after) = rest.split_at(event.raw.len());
            rest = after;
            only_element(raw, |element| audience.note(raw, || element.event.as_ref().ok().and_then(event_name)));
        }
        self.show(*audience, sender.source, true, fates, |index| events.get(index).map_or(0, |event| event.received_millis));
    }

    /// The version of the schema that judges an event of this name; where there is none, the version that the event names.
    #[must_use]
    pub fn version(&self, event_name: &str, named: Option<u32>) -> Option<u32> {
        match self.registry.load().resolve(event_name, named) {
            Resolution::Known(schema) => Some(schema.version),
            Resolution::UnknownName | Resolution::UnknownVersion(_) => named,
        }
    }

    #[cold]
    fn show(&self, audience: Audience, key: &Arc<str>, is_replay: bool, fates: &[Fate], received_millis: impl Fn(usize) -> i64) {
        let told = |index: usize| {
            let fate = fates.get(index)?;
            Some(Told { outcome: &fate.outcome, received_millis: received_millis(index) })
        };
        audience.show(&Request { key, is_replay, version: &|name, named| self.version(name, named) }, told);
    }
}
