//! Turns for work of more than about a millisecond. The machine's processors limit how many turns there are at one time, so
//! that small requests, health and metrics are answered while large bodies are processed.
//!
//! Senders wait in separate queues, by key and client address. Keys take turns, and so do the addresses of a key. So a sender
//! with ten large bodies waits only for itself, and all users of a browser key together get the turns of one key.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{
    limits::{WORK_WAITING_MAX, WORK_WAITING_PER_SENDER_MAX},
    rate_limit::Prefix,
};

/// Grants the turns.
#[derive(Debug)]
pub struct WorkPool(Mutex<Lines>);

/// The right to work; released when dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<WorkPool>>);

/// Too many requests are waiting already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many large requests wait for their turn; send fewer at a time, or smaller ones")]
pub struct NoTurn;

#[derive(Debug)]
struct Lines {
    free: usize,
    waiting: usize,
    /// The queues in the order in which they are served.
    keys: VecDeque<Key>,
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    waiting: usize,
    addresses: VecDeque<Address>,
}

#[derive(Debug)]
struct Address {
    address: Option<Prefix>,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

impl WorkPool {
    /// A pool with `turns` turns at one time.
    #[must_use]
    pub fn new(turns: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Lines { free: turns.max(1), waiting: 0, keys: VecDeque::new() })))
    }

    /// A pool with as many turns at one time as there are processors.
    #[must_use]
    pub fn of_this_machine() -> Arc<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Waits for a turn of a sender.
    ///
    /// # Errors
    /// [`NoTurn`] if too many requests wait already, of this sender or of all senders.
    pub async fn turn(self: &Arc<Self>, key: &Arc<str>, address: Option<Prefix>) -> Result<Turn, NoTurn> {
        let turn = {
            let mut lines = self.lines();
            if lines.free > 0 {
                lines.free -= 1;
                return Ok(Turn(Some(self.clone())));
            }
            lines.enter(key, address)?
        };
        turn.await.map_err(|_| NoTurn)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(pool) = self.0.take() else { return };
        loop {
            let next = {
                let mut lines = pool.lines();
                let next = lines.next();
                lines.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(pool.clone()))) {
                Ok(()) => return,
                // The waiting request is gone.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

impl Lines {
    fn enter(&mut self, key: &Arc<str>, address: Option<Prefix>) -> Result<oneshot::Receiver<Turn>, NoTurn> {
        if self.waiting >= WORK_WAITING_MAX {
            self.make_room(key)?;
        }
        let at = self.keys.iter().position(|line| line.name == *key).unwrap_or_else(|| {
            self.keys.push_back(Key { name: key.clone(), waiting: 0, addresses: VecDeque::new() });
            self.keys.len() - 1
        });
        let line = &mut self.keys[at];
        let at = line.addresses.iter().position(|line| line.address == address).unwrap_or_else(|| {
            line.addresses.push_back(Address { address, waiting: VecDeque::new() });
            line.addresses.len() - 1
        });
        let waiting = &mut line.addresses[at].waiting;
        if waiting.len() >= WORK_WAITING_PER_SENDER_MAX {
            return Err(NoTurn);
        }
        let (turn, wait) = oneshot::channel();
        waiting.push_back(turn);
        line.waiting += 1;
        self.waiting += 1;
        Ok(wait)
    }

    /// Removes the last request of the longest queue, if that queue is longer than the queue of `key` would be.
    fn make_room(&mut self, key: &Arc<str>) -> Result<(), NoTurn> {
        let own = self.keys.iter().find(|line| line.name == *key).map_or(0, |line| line.waiting);
        let longest = self.keys.iter_mut().max_by_key(|line| line.waiting).filter(|line| line.waiting > own + 1).ok_or(NoTurn)?;
        let crowd = longest.addresses.iter_mut().max_by_key(|line| line.waiting.len()).ok_or(NoTurn)?;
        drop(crowd.waiting.pop_back());
        longest.waiting -= 1;
        self.waiting -= 1;
        longest.addresses.retain(|line| !line.waiting.is_empty());
        Ok(())
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let mut key = self.keys.pop_front()?;
        let mut address = key.addresses.pop_front()?;
        let next = address.waiting.pop_front();
        key.waiting -= 1;
        self.waiting -= 1;
        if !address.waiting.is_empty() {
            key.addresses.push_back(address);
        }
        if key.waiting > 0 {
            self.keys.push_back(key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn from(last: u8) -> Option<Prefix> {
        Some(IpAddr::from([192, 0, 2, last]).into())
    }

    /// A request that waits for a turn, or has one.
    type Waiting = Pin<Box<dyn Future<Output = Result<Turn, NoTurn>>>>;

    fn wait(pool: &Arc<WorkPool>, key: &str, address: u8) -> Waiting {
        let (pool, key) = (pool.clone(), Arc::from(key));
        let mut waiting: Waiting = Box::pin(async move { pool.turn(&key, from(address)).await });
        assert!(poll(waiting.as_mut()).is_none());
        waiting
    }

    #[test]
    fn keys_take_turns_and_the_addresses_of_a_key_do() {
        let pool = WorkPool::new(1);
        let mut turn = poll(pin!(pool.turn(&"a".into(), None))).unwrap().ok();
        let senders = [("a", 1), ("a", 1), ("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 1)];
        let mut waiting: Vec<_> = senders.iter().map(|(key, address)| Some(wait(&pool, key, *address))).collect();
        let mut served = Vec::new();
        while turn.take().is_some() {
            for (one, sender) in waiting.iter_mut().zip(senders) {
                if let Some(Ok(next)) = one.as_mut().and_then(|one| poll(one.as_mut())) {
                    (*one, turn) = (None, Some(next));
                    served.push(sender);
                }
            }
        }
        assert_eq!(served, [("a", 1), ("b", 1), ("a", 2), ("b", 1), ("a", 3), ("a", 1), ("a", 1)]);
        assert_eq!(pool.lines().free, 1);
    }

    #[test]
    fn who_goes_away_leaves_its_turn_to_the_next() {
        let pool = WorkPool::new(1);
        let turn = poll(pin!(pool.turn(&"a".into(), None))).unwrap().unwrap();
        let (gone, given, mut last) = (wait(&pool, "b", 1), wait(&pool, "c", 1), wait(&pool, "d", 1));
        drop(gone);
        drop(turn);
        // The turn is granted, but never received.
        drop(given);
        let turn = poll(last.as_mut()).unwrap().unwrap();
        assert_eq!(pool.lines().free, 0);
        assert_eq!(pool.lines().waiting, 0);
        drop(turn);
        assert_eq!(pool.lines().free, 1);
    }

    #[test]
    fn lines_are_bounded_and_the_longest_makes_room_for_a_newcomer() {
        let pool = WorkPool::new(1);
        let _turn = poll(pin!(pool.turn(&"a".into(), None))).unwrap().unwrap();
        let mut crowd = Vec::new();
        for number in 0..WORK_WAITING_MAX {
            crowd.push(wait(&pool, "crowd", (number / WORK_WAITING_PER_SENDER_MAX) as u8));
        }
        assert_eq!(poll(pin!(pool.turn(&"crowd".into(), from(0)))).unwrap().err(), Some(NoTurn));
        assert_eq!(poll(pin!(pool.turn(&"crowd".into(), from(99)))).unwrap().err(), Some(NoTurn));
        let honest = wait(&pool, "honest", 1);
        let sent_away = crowd.iter_mut().filter_map(|one| poll(one.as_mut())).filter(Result::is_err).count();
        assert_eq!((sent_away, pool.lines().waiting), (1, WORK_WAITING_MAX));
        drop(honest);
        let other = WorkPool::new(1);
        let _turn = poll(pin!(other.turn(&"a".into(), None))).unwrap().unwrap();
        let _own: Vec<_> = (0..WORK_WAITING_PER_SENDER_MAX).map(|_| wait(&other, "a", 1)).collect();
        assert_eq!(poll(pin!(other.turn(&"a".into(), from(1)))).unwrap().err(), Some(NoTurn));
    }
}
