//! How many connections each client address has open.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::rate_limit::Prefix;

/// The connections that are open, by address. There are no more entries than connections.
#[derive(Debug)]
pub(super) struct Crowd {
    open: Mutex<HashMap<Prefix, usize>>,
    per_address_max: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    from: Prefix,
}

impl Crowd {
    pub(super) fn new(per_address_max: usize) -> Self {
        Self { open: Mutex::default(), per_address_max }
    }

    /// Lets one more connection of `address` in; `None` where it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Member> {
        let from = Prefix::from(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(from).or_default();
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(Member { crowd: self.clone(), from })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut open = self.crowd.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = open.get_mut(&self.from) else { return };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_gets_a_place_back_when_one_ends() {
        let crowd = Arc::new(Crowd::new(2));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = crowd.enter(a).unwrap();
        let second = crowd.enter(a).unwrap();
        assert!(crowd.enter(a).is_none());
        let other = crowd.enter(b).unwrap();
        drop(first);
        let third = crowd.enter(a).unwrap();
        drop((second, third, other));
        assert!(crowd.open.lock().unwrap().is_empty(), "nothing is remembered of those who left");
    }
}
