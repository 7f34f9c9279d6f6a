//! What the ledger is told of a request.

use std::slice;

use uuid::Uuid;

use super::{components::Ingest, stored::Waiting, submission::Submission, validate::Verdict};
use crate::{
    dedup::Identity,
    event::Record,
    ledger::{AcceptedEvents, Answers, Ledger, NameId, OTHER, Repeated},
    outcome::Outcome,
};

/// Collects what the ledger must know of the events that are stored, while their records are at hand.
pub(super) struct Collector<'a> {
    ledger: &'a Ledger,
    /// `None` if each record has its own time of receipt, key and name.
    request: Option<OfRequest<'a>>,
    pub(super) accepted: AcceptedEvents,
}

/// What the events of a request share, and the verdicts that are not looked at yet.
struct OfRequest<'a> {
    received_millis: i64,
    key: NameId,
    verdicts: slice::Iter<'a, Verdict>,
}

impl<'a> Collector<'a> {
    /// For the events of a request, or for events that were received before.
    pub(super) fn new(ledger: &'a Ledger, waiting: Option<Waiting<'a>>) -> Self {
        let request = waiting.map(|Waiting { submission, verdicts, .. }| OfRequest {
            received_millis: submission.received_millis,
            key: submission.sender.ledger_number(|name| ledger.names().keys.id(name)),
            verdicts: verdicts.iter(),
        });
        Self { ledger, accepted: AcceptedEvents::new(request.is_none()), request }
    }

    /// The next record of the body; `is_fresh` if it is stored.
    pub(super) fn look_at(&mut self, record: &[u8], is_fresh: bool) {
        let Some(request) = &mut self.request else {
            if is_fresh {
                self.add(record);
            }
            return;
        };
        let mut names = request.verdicts.by_ref().filter_map(|verdict| match verdict {
            Verdict::Valid { event_name, .. } => Some(*event_name),
            Verdict::Rejected { .. } => None,
        });
        let name = names.next().unwrap_or(OTHER);
        if is_fresh {
            self.accepted.push(request.received_millis, request.key, name);
        }
    }

    /// Adds a record that was received before.
    fn add(&mut self, record: &[u8]) {
        let Some(head) = Record::head(record) else { return };
        let names = self.ledger.names();
        self.accepted.push(head.received_millis, names.keys.id(head.source), names.events.id(head.event_name));
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
        let mut collector = Collector::new(&self.ledger, None);
        records.iter().for_each(|record| collector.look_at(record.as_bytes(), true));
        collector.accepted
    }
}

/// The events of a request that it did not store, for the ledger. Those that it stored are accounted for already, whatever they
/// are answered.
pub(super) struct NotStored<'a> {
    submission: &'a Submission,
    ids: &'a [Identity],
    places: &'a [Option<u64>],
    /// The next valid event.
    index: usize,
    /// Events that were stored have ascending numbers; a twin has the number of an earlier one.
    next_place: u64,
    answers: Vec<(NameId, Answers)>,
    repeated: Vec<(Uuid, i64)>,
}

impl<'a> NotStored<'a> {
    /// For a request whose valid events have these identities and numbers in the spool.
    pub(super) fn new(submission: &'a Submission, ids: &'a [Identity], places: &'a [Option<u64>]) -> Self {
        let (answers, repeated) = (Vec::new(), Vec::new());
        Self { submission, ids, places, index: 0, next_place: 0, answers, repeated }
    }

    /// The next valid event, whose name has the number `name`.
    pub(super) fn valid(&mut self, name: NameId, outcome: &Outcome) {
        let index = self.index;
        self.index += 1;
        if let Some(place) = self.places.get(index).copied().flatten().filter(|place| *place >= self.next_place) {
            self.next_place = place + 1;
            return;
        }
        if let (Outcome::Duplicate, Some(identity)) = (outcome, self.ids.get(index)) {
            self.repeated.push((identity.id, self.submission.received_millis));
        }
        self.rejected(name, outcome);
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
        let key = self.submission.sender.ledger_number(|name| ledger.names().keys.id(name));
        ledger.answered(self.submission.received_millis, key, self.answers);
        let repeated = self.repeated.into_iter();
        ledger.repeated(repeated.map(|(identity, received_millis)| Repeated { identity, received_millis, key }));
    }
}
