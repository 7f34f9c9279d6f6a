//! Limits the open connections per client address, and chooses the connection that is closed when there are too many.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use super::activity::Activity;
use crate::rate_limit::Prefix;

/// The open connections by client address. There are never more entries than connections.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    open: Mutex<Open>,
    per_address_max: usize,
}

#[derive(Debug, Default)]
struct Open {
    by_address: HashMap<Prefix, Place>,
    /// The addresses with their counts. Of two addresses with the same count, the one that has had it longer comes later.
    by_count: BTreeSet<(usize, Reverse<u64>, Prefix)>,
    /// Changes of a count so far.
    changes: u64,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Place {
    connections: Vec<Arc<Activity>>,
    /// The number of the change that set the current count.
    changed: u64,
}

/// An open connection that counts against its address. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct CountedConnection {
    limits: Arc<ConnectionLimits>,
    from: Prefix,
    activity: Arc<Activity>,
}

impl Open {
    /// Changes the connections of an address.
    fn change(&mut self, from: Prefix, change: impl FnOnce(&mut Vec<Arc<Activity>>)) {
        let place = self.by_address.entry(from).or_default();
        self.by_count.remove(&(place.connections.len(), Reverse(place.changed), from));
        change(&mut place.connections);
        self.changes += 1;
        place.changed = self.changes;
        let count = place.connections.len();
        if count == 0 {
            self.by_address.remove(&from);
        } else {
            self.by_count.insert((count, Reverse(self.changes), from));
        }
    }

    fn count(&self, from: Prefix) -> usize {
        self.by_address.get(&from).map_or(0, |place| place.connections.len())
    }
}

impl ConnectionLimits {
    pub(super) fn new(per_address_max: usize) -> Self {
        Self { open: Mutex::default(), per_address_max }
    }

    /// Counts one more connection of `address`; `None` if the address has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, activity: Arc<Activity>) -> Option<CountedConnection> {
        let from = Prefix::from(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.count(from) >= self.per_address_max {
            return None;
        }
        open.change(from, |connections| connections.push(activity.clone()));
        Some(CountedConnection { limits: self.clone(), from, activity })
    }

    /// Closes one connection for a new one from `newcomer`: of the address with most connections, the connection that has been
    /// idle longest. If all its connections have an open request, the one that has had an open request longest, but only if the
    /// address has more connections than the newcomer will have. Returns whether a connection was closed.
    pub(super) fn make_room(&self, newcomer: IpAddr) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, _, from)) = open.by_count.last().copied() else { return false };
        let Some(place) = open.by_address.get(&from) else { return false };
        let goes = place.connections.iter().min_by_key(|activity| (activity.is_open(), activity.idle_since()));
        let Some(goes) = goes.filter(|goes| !goes.is_open() || count > open.count(newcomer.into()) + 1).cloned() else {
            return false;
        };
        goes.close();
        open.change(from, |connections| leave(connections, &goes));
        true
    }
}

fn leave(connections: &mut Vec<Arc<Activity>>, who: &Arc<Activity>) {
    if let Some(at) = connections.iter().position(|known| Arc::ptr_eq(known, who)) {
        connections.swap_remove(at);
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection that `make_room` closed is already removed.
        let is_known = |place: &Place| place.connections.iter().any(|known| Arc::ptr_eq(known, &self.activity));
        if open.by_address.get(&self.from).is_some_and(is_known) {
            open.change(self.from, |connections| leave(connections, &self.activity));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn enter(limits: &Arc<ConnectionLimits>, last: u8) -> Option<CountedConnection> {
        let activity = Activity::new();
        activity.is_served_by(tokio::spawn(std::future::pending::<()>()).abort_handle());
        limits.enter(address(last), activity)
    }

    fn assert_empty(limits: &ConnectionLimits) {
        let open = limits.open.lock().unwrap();
        assert!(open.by_address.is_empty() && open.by_count.is_empty(), "nothing is remembered of those who left");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_connections_and_gets_a_place_back_when_one_ends() {
        let limits = Arc::new(ConnectionLimits::new(2));
        let first = enter(&limits, 1).unwrap();
        let second = enter(&limits, 1).unwrap();
        assert!(enter(&limits, 1).is_none());
        let other = enter(&limits, 2).unwrap();
        drop(first);
        let third = enter(&limits, 1).unwrap();
        drop((second, third, other));
        assert_empty(&limits);
    }

    /// Closes one of these connections for a newcomer. Returns its index.
    async fn closed_for(newcomer: u8, limits: &ConnectionLimits, members: &[&CountedConnection]) -> Option<usize> {
        let open = |member: &&CountedConnection| !member.activity.is_closed();
        let before: Vec<bool> = members.iter().map(open).collect();
        let is_closed = limits.make_room(address(newcomer));
        // An aborted task ends when the runtime runs next.
        tokio::task::yield_now().await;
        let closed = (0..members.len()).find(|at| before[*at] && !open(&members[*at]));
        assert_eq!(closed.is_some(), is_closed);
        closed
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_the_address_with_most_goes_first() {
        let limits = Arc::new(ConnectionLimits::new(10));
        let mut members = Vec::new();
        // The honest connection came first, and has been idle longest.
        for last in [1, 2, 2, 2, 3] {
            members.push(enter(&limits, last).unwrap());
            advance(Duration::from_secs(1)).await;
        }
        let members: Vec<&CountedConnection> = members.iter().collect();
        members[1].activity.open_only();
        members[2].activity.is_idle_from(Instant::now());
        assert_eq!(closed_for(9, &limits, &members).await, Some(3));
        assert_eq!(closed_for(9, &limits, &members).await, Some(2), "the one that is left has a request open");
        // Now each of them has an open request.
        members[0].activity.open_only();
        members[4].activity.open_only();
        assert_eq!(closed_for(9, &limits, &members).await, None, "nobody has more than the newcomer would have");
        members[4].activity.is_idle_from(Instant::now());
        members[1].activity.is_idle_from(Instant::now());
        members[0].activity.is_idle_from(Instant::now());
        assert_eq!(closed_for(9, &limits, &members).await, Some(0), "who has had so many for the longest");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_more_than_a_newcomer_loses_one_even_if_all_are_in_use() {
        let limits = Arc::new(ConnectionLimits::new(10));
        let (first, second, other) = (enter(&limits, 2).unwrap(), enter(&limits, 2).unwrap(), enter(&limits, 1).unwrap());
        for member in [&first, &second, &other] {
            member.activity.open_only();
        }
        assert_eq!(closed_for(1, &limits, &[&first, &second, &other]).await, None);
        assert_eq!(closed_for(3, &limits, &[&first, &second, &other]).await, Some(0));
        drop((first, second, other));
        assert_empty(&limits);
    }
}
