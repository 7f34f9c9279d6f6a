//! The account of one minute: what was received in it, how it was answered, and how each sink ended it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::NameId;
use crate::progress::Settlement;

/// Numbers of events by their answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Made durable in the spool: new events.
    pub accepted: u64,
    /// Accepted before.
    pub duplicate: u64,
    /// Not valid; each is a dead letter, or a repetition of one.
    pub rejected: u64,
    /// Not stored now: their senders keep them.
    pub retry: u64,
}

/// Numbers of accepted events by how one sink ended them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endings {
    /// The sink has them.
    pub delivered: u64,
    /// The sink refused them for good; each is a dead letter.
    pub refused: u64,
    /// The disk lost them.
    pub lost: u64,
    /// Erased before the sink got them.
    pub erased: u64,
    /// They were for another sink only.
    pub skipped: u64,
    /// Dropped for this sink, because those that waited for it filled its part of the spool.
    pub dropped: u64,
}

/// The account of one minute, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Events read from request bodies, each counted when its fate was known.
    pub received: u64,
    /// Events that were stored again from dead letters or from the quarantine. They were received before.
    pub replayed: u64,
    /// By answer.
    pub answers: Answers,
    /// By key and answer.
    pub by_key: BTreeMap<NameId, Answers>,
    /// By event name and answer.
    pub by_name: BTreeMap<NameId, Answers>,
    /// By sink and ending.
    pub by_sink: BTreeMap<NameId, Endings>,
}

impl Answers {
    /// The sum of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.accepted + self.duplicate + self.rejected + self.retry
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
        self.retry += other.retry;
    }
}

impl Endings {
    /// The sum of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.delivered + self.refused + self.lost + self.erased + self.skipped + self.dropped
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.refused += other.refused;
        self.lost += other.lost;
        self.erased += other.erased;
        self.skipped += other.skipped;
        self.dropped += other.dropped;
    }

    /// Takes `other` away, which was counted before.
    pub(super) fn take(&mut self, other: &Self) {
        let Self { delivered, refused, lost, erased, skipped, dropped } = *other;
        for (mine, taken) in [
            (&mut self.delivered, delivered),
            (&mut self.refused, refused),
            (&mut self.lost, lost),
            (&mut self.erased, erased),
            (&mut self.skipped, skipped),
            (&mut self.dropped, dropped),
        ] {
            *mine = mine.saturating_sub(taken);
        }
    }

    /// The number of events that ended as `settlement`.
    pub fn of(&mut self, settlement: Settlement) -> &mut u64 {
        match settlement {
            Settlement::Delivered => &mut self.delivered,
            Settlement::Refused => &mut self.refused,
            Settlement::Lost => &mut self.lost,
            Settlement::Erased => &mut self.erased,
            Settlement::Skipped => &mut self.skipped,
            Settlement::Dropped => &mut self.dropped,
        }
    }
}

impl Account {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.replayed += other.replayed;
        self.answers.add(&other.answers);
        for (key, answers) in &other.by_key {
            self.by_key.entry(*key).or_default().add(answers);
        }
        for (name, answers) in &other.by_name {
            self.by_name.entry(*name).or_default().add(answers);
        }
        for (sink, endings) in &other.by_sink {
            self.by_sink.entry(*sink).or_default().add(endings);
        }
    }

    /// Counts `answers` of events with this key and name.
    pub(super) fn count(&mut self, key: NameId, name: NameId, answers: &Answers) {
        self.answers.add(answers);
        self.by_key.entry(key).or_default().add(answers);
        self.by_name.entry(name).or_default().add(answers);
    }

    /// By how many events it does not balance: what came in, against the answers, and these against keys and names.
    #[must_use]
    pub fn imbalance(&self) -> u64 {
        let total = self.answers.total();
        let sum = |answers: &BTreeMap<NameId, Answers>| answers.values().map(Answers::total).sum::<u64>();
        (self.received + self.replayed).abs_diff(total) + sum(&self.by_key).abs_diff(total) + sum(&self.by_name).abs_diff(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_add_up_and_an_event_without_an_answer_unbalances_them() {
        let mut account = Account { received: 3, ..Account::default() };
        account.count(1, 7, &Answers { accepted: 2, ..Answers::default() });
        assert_eq!(account.imbalance(), 1);
        account.count(2, 7, &Answers { rejected: 1, ..Answers::default() });
        assert_eq!(account.imbalance(), 0);
        let mut twice = account.clone();
        twice.add(&account);
        assert_eq!((twice.received, twice.answers.accepted, twice.by_name[&7].total(), twice.imbalance()), (6, 4, 6, 0));
        *twice.by_sink.entry(1).or_default().of(Settlement::Lost) += 2;
        assert_eq!(twice.by_sink[&1].total(), 2);
    }
}
