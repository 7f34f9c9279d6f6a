//! Confirmations and releases that wait to be sent to the store. Bounded; adding never waits.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::dedup::Identity;

/// A claim to release: the identity, and the number of the claim.
pub(super) type Release = (Uuid, u64);

/// A part of the backlog, taken to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Portion {
    pub(super) confirms: Vec<Identity>,
    pub(super) releases: Vec<Release>,
}

/// See the module. The order does not matter, because a release names its claim by number and never removes a confirmation.
pub(super) struct Backlog {
    state: Mutex<State>,
    identities_max: usize,
    /// Something was added, or the backlog was closed.
    added: Notify,
    /// Something was sent or given up, or the backlog was closed.
    settled: Notify,
}

#[derive(Default)]
struct State {
    confirms: VecDeque<Identity>,
    releases: VecDeque<Release>,
    /// Number of entries taken, and neither settled nor put back.
    taken: usize,
    is_closed: bool,
}

impl State {
    fn len(&self) -> usize {
        self.confirms.len() + self.releases.len()
    }

    /// Shrinks the backlog: first releases, because claims expire, then the oldest confirmations, because their clients have
    /// stopped retrying. Returns the number of lost confirmations.
    fn shrink_to(&mut self, identities_max: usize) -> u64 {
        let excess = self.len().saturating_sub(identities_max);
        let releases = excess.min(self.releases.len());
        self.releases.drain(..releases);
        self.confirms.drain(..excess - releases);
        (excess - releases) as u64
    }
}

impl Backlog {
    pub(super) fn new(identities_max: usize) -> Self {
        Self { state: Mutex::default(), identities_max, added: Notify::new(), settled: Notify::new() }
    }

    /// Adds confirmations. Returns how many confirmations were given up for lack of room.
    pub(super) fn confirm(&self, identities: impl IntoIterator<Item = Identity>) -> u64 {
        self.add(|state| state.confirms.extend(identities))
    }

    /// Adds releases. Returns the same.
    pub(super) fn release(&self, releases: impl IntoIterator<Item = Release>) -> u64 {
        self.add(|state| state.releases.extend(releases))
    }

    fn add(&self, add: impl FnOnce(&mut State)) -> u64 {
        let mut state = self.lock();
        add(&mut state);
        let given_up = state.shrink_to(self.identities_max);
        drop(state);
        self.added.notify_one();
        given_up
    }

    /// Waits until half of the room is free. Returns false once the backlog is closed.
    pub(super) async fn when_roomy(&self) -> bool {
        self.when_settled(|state| state.len() < self.identities_max / 2).await;
        !self.lock().is_closed
    }

    /// Waits until everything is sent.
    pub(super) async fn when_empty(&self) {
        self.when_settled(|state| state.len() + state.taken == 0).await;
    }

    async fn when_settled(&self, is_reached: impl Fn(&State) -> bool) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // Registered before the check, so that a change in between is not missed.
            settled.as_mut().enable();
            {
                let state = self.lock();
                if is_reached(&state) || state.is_closed {
                    return;
                }
            }
            settled.await;
        }
    }

    /// Waits for entries, and takes at most `identities_max` of them. `None` once the backlog is closed.
    pub(super) async fn take(&self, identities_max: usize) -> Option<Portion> {
        loop {
            {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                let confirms = state.confirms.len().min(identities_max);
                let releases = state.releases.len().min(identities_max - confirms);
                if confirms + releases > 0 {
                    state.taken += confirms + releases;
                    return Some(Portion {
                        confirms: state.confirms.drain(..confirms).collect(),
                        releases: state.releases.drain(..releases).collect(),
                    });
                }
            }
            self.added.notified().await;
        }
    }

    /// Marks a portion as sent.
    pub(super) fn settle(&self, portion: &Portion) {
        self.lock().taken -= portion.confirms.len() + portion.releases.len();
        self.settled.notify_waiters();
    }

    /// Puts back a portion that could not be sent. Returns the number of confirmations given up for lack of room.
    pub(super) fn put_back(&self, portion: Portion) -> u64 {
        let mut state = self.lock();
        state.taken -= portion.confirms.len() + portion.releases.len();
        portion.confirms.into_iter().rev().for_each(|id| state.confirms.push_front(id));
        portion.releases.into_iter().rev().for_each(|release| state.releases.push_front(release));
        let given_up = state.shrink_to(self.identities_max);
        drop(state);
        self.added.notify_one();
        given_up
    }

    /// Number of identities that wait or are being sent.
    pub(super) fn len(&self) -> usize {
        let state = self.lock();
        state.len() + state.taken
    }

    /// Ends all waiting. Entries that are left are not sent.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.added.notify_waiters();
        self.added.notify_one();
        self.settled.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ids(from: u64, count: u64) -> impl Iterator<Item = Identity> {
        (from..from + count).map(|number| Identity::unknown(Uuid::from_u128(number.into())))
    }

    #[tokio::test]
    async fn what_was_put_back_comes_first_again() {
        let backlog = Backlog::new(10);
        assert_eq!(backlog.confirm(ids(0, 4)), 0);
        let portion = backlog.take(2).await.unwrap();
        assert_eq!(portion.confirms, ids(0, 2).collect::<Vec<_>>());
        assert_eq!(backlog.put_back(portion), 0);
        assert_eq!(backlog.take(3).await.unwrap().confirms, ids(0, 3).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn beyond_the_bound_releases_go_first_and_then_the_oldest_confirmations() {
        let backlog = Backlog::new(3);
        backlog.release([(Uuid::nil(), 1), (Uuid::nil(), 2)]);
        assert_eq!(backlog.confirm(ids(0, 2)), 0);
        assert_eq!(backlog.confirm(ids(2, 3)), 2);
        assert_eq!(backlog.take(9).await.unwrap(), Portion { confirms: ids(2, 3).collect(), releases: Vec::new() });
    }

    #[tokio::test]
    async fn closing_ends_every_wait() {
        let backlog = Backlog::new(3);
        backlog.confirm(ids(0, 3));
        let (roomy, (), ()) = tokio::join!(backlog.when_roomy(), backlog.when_empty(), async { backlog.close() });
        assert!(!roomy);
        assert_eq!(backlog.take(1).await, None);
    }

    proptest! {
        /// Steps: add so many, or take so many and settle them, or take them and put them back.
        #[test]
        fn every_confirmation_is_told_or_counted_as_given_up(steps in prop::collection::vec((0..3u8, 1..20u64), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let backlog = Backlog::new(32);
                let (mut added, mut given_up, mut told) = (0, 0, BTreeSet::new());
                for (step, count) in steps.into_iter().chain([(1, 64)]) {
                    if step == 0 {
                        given_up += backlog.confirm(ids(added, count));
                        added += count;
                    } else if backlog.len() > 0 {
                        let portion = backlog.take(count as usize).await.unwrap();
                        if step == 1 {
                            told.extend(portion.confirms.iter().map(|identity| identity.id));
                            backlog.settle(&portion);
                        } else {
                            given_up += backlog.put_back(portion);
                        }
                    }
                    assert!(backlog.len() <= 32);
                }
                assert_eq!(backlog.len(), 0);
                assert_eq!(told.len() as u64 + given_up, added);
            });
        }
    }
}
