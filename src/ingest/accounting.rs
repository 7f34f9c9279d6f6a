//! What the ledger is told of a request.

use uuid::Uuid;

use super::{components::Ingest, submission::Submission};
use crate::{
    dedup::Identity,
    event::Record,
    ledger::{AcceptedEvents, Answers, KnownNames, Ledger, NameId, OTHER, Repeated},
    outcome::Outcome,
    spool::FrameBuffer,
};

/// Collects what the ledger must know of the valid events of a body, while their records are at hand.
pub(super) struct Collector<'a> {
    ledger: &'a Ledger,
    known: Option<KnownNames<'a>>,
    /// The key of a request; `None` if each record has its own.
    key: Option<NameId>,
    /// The name of each event.
    pub(super) names: Vec<NameId>,
    /// Those that are stored.
    pub(super) accepted: AcceptedEvents,
}

impl<'a> Collector<'a> {
    /// For `events` valid events of a request with the key `source`, or of events that were received before.
    pub(super) fn new(ledger: &'a Ledger, events: usize, source: Option<&str>) -> Self {
        Self {
            ledger,
            known: None,
            key: source.map(|source| ledger.names().keys.id(source)),
            names: Vec::with_capacity(events),
            accepted: AcceptedEvents::new(source.is_none()),
        }
    }

    /// The next record of the body; `is_fresh` if it is stored.
    pub(super) fn look_at(&mut self, record: &[u8], is_fresh: bool) {
        let Some(head) = Record::head(record) else { return self.names.push(OTHER) };
        let events = &self.ledger.names().events;
        let name = self.known.get_or_insert_with(|| events.known()).get(head.event_name).unwrap_or_else(|| {
            // A new name needs the lock that a look-up holds.
            self.known = None;
            events.id(head.event_name)
        });
        self.names.push(name);
        if is_fresh {
            let key = self.key.unwrap_or_else(|| self.ledger.names().keys.id(head.source));
            self.accepted.push(head.received_millis, key, name);
        }
    }
}

/// The events of a request, until each has an outcome. If the request ends before, the ledger says so.
pub(super) struct Unanswered<'a> {
    ledger: &'a Ledger,
    events: u64,
}

impl<'a> Unanswered<'a> {
    pub(super) fn new(ledger: &'a Ledger, events: usize) -> Self {
        Self { ledger, events: events as u64 }
    }

    /// All of them have an outcome.
    pub(super) fn are_answered(mut self) {
        self.events = 0;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.ledger.unanswered(self.events);
    }
}

impl Ingest {
    /// What the ledger must know of records that are stored without a claim.
    #[must_use]
    pub fn accounted(&self, records: &[Record]) -> AcceptedEvents {
        let mut collector = Collector::new(&self.ledger, records.len(), None);
        records.iter().for_each(|record| collector.look_at(record.as_bytes(), true));
        collector.accepted
    }

    /// The names of events that are not stored.
    pub(super) fn names_of(&self, frames: &mut FrameBuffer, source: Option<&str>) -> Vec<NameId> {
        let mut collector = Collector::new(&self.ledger, usize::try_from(frames.frames()).unwrap_or(0), source);
        frames.retain(|_, record| {
            collector.look_at(record, false);
            true
        });
        collector.names
    }
}

/// The events of a request that it did not store, for the ledger. Those that it stored are accounted for already, whatever they
/// are answered.
pub(super) struct NotStored<'a> {
    submission: &'a Submission,
    ids: &'a [Identity],
    places: &'a [Option<u64>],
    names: &'a [NameId],
    /// The next valid event.
    index: usize,
    /// Events that were stored have ascending numbers; a twin has the number of an earlier one.
    next_place: u64,
    answers: Vec<(NameId, Answers)>,
    repeated: Vec<(Uuid, i64)>,
}

impl<'a> NotStored<'a> {
    /// For a request whose valid events have these identities, numbers in the spool, and names.
    pub(super) fn new(submission: &'a Submission, ids: &'a [Identity], places: &'a [Option<u64>], names: &'a [NameId]) -> Self {
        let (answers, repeated) = (Vec::new(), Vec::new());
        Self { submission, ids, places, names, index: 0, next_place: 0, answers, repeated }
    }

    /// The next valid event.
    pub(super) fn valid(&mut self, outcome: &Outcome) {
        let index = self.index;
        self.index += 1;
        if let Some(place) = self.places.get(index).copied().flatten().filter(|place| *place >= self.next_place) {
            self.next_place = place + 1;
            return;
        }
        if let (Outcome::Duplicate, Some(identity)) = (outcome, self.ids.get(index)) {
            self.repeated.push((identity.id, self.submission.received_millis));
        }
        self.rejected(self.names.get(index).copied().unwrap_or(OTHER), outcome);
    }

    /// An event that was not valid, or not stored.
    pub(super) fn rejected(&mut self, name: NameId, outcome: &Outcome) {
        let mut count = Answers::default();
        match outcome {
            Outcome::Accepted => count.accepted = 1,
            Outcome::Duplicate => count.duplicate = 1,
            Outcome::Rejected(_) => count.rejected = 1,
            Outcome::Retry(_) => count.retry = 1,
        }
        self.answers.push((name, count));
    }

    /// Tells the ledger.
    pub(super) fn tell(self, ledger: &Ledger) {
        if self.answers.is_empty() {
            return;
        }
        let key = ledger.names().keys.id(&self.submission.source);
        ledger.answered(self.submission.received_millis, key, self.answers);
        let repeated = self.repeated.into_iter();
        ledger.repeated(repeated.map(|(identity, received_millis)| Repeated { identity, received_millis, key }));
    }
}
