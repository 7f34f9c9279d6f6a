//! Shares: how much one key may hold of the resources that all keys need, the spool and the dedup window (promise P5).
//!
//! A share is a limit, not a reservation: the shares of two keys may add up to more than the whole. Shares are the last line of
//! defence, after the rate limits of events and bytes, and matter during an outage of the sink: then one sender fills its share
//! of the spool, and all other senders are accepted as before.
//!
//! | held | counted from | until | refused beyond the share |
//! |---|---|---|---|
//! | bytes of the spool | the append | everything up to it is delivered | always |
//! | identities of the dedup window | the append | they expire | while the window is nearly full |
//!
//! Identities are refused only while the window is nearly full, because a key does no harm before: the window forgets the
//! oldest identities, of any key, only when it is full.
//!
//! - [`KeyShare::reserve`] adds what a request is about to store, so that concurrent requests do not exceed the share together.
//!   A dropped [`Reserved`] gives its part back; a [stored](Reserved::store) one is counted until it is released.
//! - Holdings are released by ranges of the spool and by buckets of time: see `release_schedule`.
//! - A tally belongs to the name of a key and survives a reload of the configuration. After a restart, undelivered events are
//!   counted again in the background (`ingest/recount_on_start.rs`); identities of delivered events are not, because their runs
//!   on disk do not record the key.
//! - Events that an operator replays or salvages are not counted until a restart, and never refused.

mod release_schedule;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::limits::{DEDUP_SHARE_BUCKETS, DEDUP_SHARE_FROM_PERCENT, SHARE_STRETCHES};
use release_schedule::{AppendedRanges, Buckets, bucket_millis};

/// The percentage at which a key has no limit of its own.
pub const WHOLE_PERCENT: u8 = 100;

/// The resources that keys share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of the spool.
    Spool,
    /// Identities of the dedup window.
    Dedup,
}

impl Resource {
    /// The name of the resource in the places of conditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Dedup => "dedup",
        }
    }
}

/// A key holds as much of this resource as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareUsedUp(pub Resource);

/// The total amounts that are shared.
#[derive(Clone, Copy, Debug)]
pub struct ShareConfig {
    /// Bytes that the spool may hold.
    pub spool_bytes: u64,
    /// Identities that the dedup window may hold.
    pub identities: u64,
    /// How long the window remembers an identity.
    pub window: Duration,
}

/// The shares of all keys.
#[derive(Debug)]
pub struct Shares {
    config: ShareConfig,
    by_name: Mutex<BTreeMap<Arc<str>, Arc<KeyShare>>>,
    is_window_tight: Arc<AtomicBool>,
}

/// The share of one key.
#[derive(Debug)]
pub struct KeyShare {
    name: Arc<str>,
    spool: Part,
    identities: Part,
    tally: Mutex<Tally>,
    stretch_bytes: u64,
    bucket_millis: i64,
    /// For all keys: whether the dedup window is nearly full.
    is_window_tight: Arc<AtomicBool>,
}

/// The parts of a key's share that are to be released, and when.
#[derive(Debug, Default)]
struct Tally {
    appended: AppendedRanges,
    /// Ranges from before the start: counted while newer ones are appended.
    recounted: AppendedRanges,
    identities: Buckets,
}

#[derive(Debug)]
struct Part {
    used: AtomicU64,
    /// [`u64::MAX`]: no limit.
    limit: AtomicU64,
    /// Something was refused since the last call of `look`.
    was_refused: AtomicBool,
    /// The last call of `look` reported that the part is used up.
    is_said: AtomicBool,
}

/// A change in whether a key has used up its share of a resource, or in the numbers of a share that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareChange {
    /// Name of the key.
    pub name: Arc<str>,
    /// The resource.
    pub resource: Resource,
    /// How much the key holds, and its limit; `None` if the key may hold more again.
    pub used_up: Option<(u64, u64)>,
}

/// What a key holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Name of the key.
    pub name: Arc<str>,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// Identities of the dedup window.
    pub identities: u64,
}

impl Shares {
    /// Creates shares that hold nothing.
    #[must_use]
    pub fn new(config: ShareConfig) -> Self {
        Self { config, by_name: Mutex::default(), is_window_tight: Arc::default() }
    }

    /// The share of the key `name`, which may hold `percent` from now on.
    #[must_use]
    pub fn of(&self, name: &Arc<str>, percent: u8) -> Arc<KeyShare> {
        let share = self.find(name);
        share.spool.set_limit(self.config.spool_bytes, percent);
        share.identities.set_limit(self.config.identities, percent);
        share
    }

    /// The share of the key `name`, with its limit unchanged.
    #[must_use]
    pub fn find(&self, name: &str) -> Arc<KeyShare> {
        let mut shares = self.shares();
        if let Some(share) = shares.get(name) {
            return share.clone();
        }
        let name: Arc<str> = name.into();
        let share = Arc::new(KeyShare {
            name: name.clone(),
            spool: Part::unbounded(),
            identities: Part::unbounded(),
            tally: Mutex::default(),
            stretch_bytes: self.stretch_bytes(),
            bucket_millis: bucket_millis(self.config.window),
            is_window_tight: self.is_window_tight.clone(),
        });
        shares.insert(name, share.clone());
        share
    }

    fn stretch_bytes(&self) -> u64 {
        (self.config.spool_bytes / SHARE_STRETCHES).max(1)
    }

    /// Releases delivered and expired parts. Returns the parts that are used up, or no longer so. Call it about once a second.
    pub fn look(&self, settled_exclusive: u64, now_millis: i64, window_identities: u64) -> Vec<ShareChange> {
        let tight_from = u128::from(self.config.identities) * u128::from(DEDUP_SHARE_FROM_PERCENT) / 100;
        let is_tight = u128::from(window_identities) >= tight_from;
        self.is_window_tight.store(is_tight, Ordering::Relaxed);
        let shares: Vec<Arc<KeyShare>> = self.shares().values().cloned().collect();
        let mut said = Vec::new();
        for share in shares {
            share.release(settled_exclusive, now_millis);
            for (resource, part, is_bounded) in
                [(Resource::Spool, &share.spool, true), (Resource::Dedup, &share.identities, is_tight)]
            {
                let used_up = part.look(is_bounded);
                said.extend(used_up.map(|used_up| ShareChange { name: share.name.clone(), resource, used_up }));
            }
        }
        said
    }

    /// What each key holds, sorted by name.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        let holding = |share: &Arc<KeyShare>| Holding {
            name: share.name.clone(),
            spool_bytes: share.spool.used.load(Ordering::Relaxed),
            identities: share.identities.used.load(Ordering::Relaxed),
        };
        self.shares().values().map(holding).collect()
    }

    fn shares(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<KeyShare>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyShare {
    /// Adds what a request is about to store: `bytes` of the spool, and `identities`. A key that holds nothing may store one
    /// request of any size, because otherwise it could never store that request. `released` returns the delivered position of
    /// the spool and the time; it is called only if the share seems to be used up.
    ///
    /// # Errors
    /// [`ShareUsedUp`], and nothing is added.
    pub fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        identities: u64,
        released: impl FnOnce() -> (u64, i64),
    ) -> Result<Reserved, ShareUsedUp> {
        let reserved = self.try_reserve(bytes, identities).or_else(|_| {
            let (settled_exclusive, now_millis) = released();
            self.release(settled_exclusive, now_millis);
            self.try_reserve(bytes, identities)
        });
        reserved.inspect_err(|ShareUsedUp(resource)| self.part(*resource).was_refused.store(true, Ordering::Relaxed))
    }

    fn try_reserve(self: &Arc<Self>, bytes: u64, identities: u64) -> Result<Reserved, ShareUsedUp> {
        let fits_spool = self.spool.add(bytes);
        let fits_window = self.identities.add(identities);
        // If dropped, it gives both parts back.
        let reserved = Reserved { share: self.clone(), bytes, identities };
        if !fits_spool {
            Err(ShareUsedUp(Resource::Spool))
        } else if !fits_window && self.is_window_tight.load(Ordering::Relaxed) {
            Err(ShareUsedUp(Resource::Dedup))
        } else {
            Ok(reserved)
        }
    }

    /// Counts events from before the start: a stretch of the spool with this many bytes and events of this key.
    pub fn recount(&self, seqs: Range<u64>, bytes: u64, identities: u64, now_millis: i64) {
        self.spool.add(bytes);
        self.identities.add(identities);
        let mut tally = self.tally();
        tally.recounted.add(seqs, bytes, self.stretch_bytes);
        tally.identities.add(now_millis.div_euclid(self.bucket_millis), identities);
    }

    fn release(&self, settled_exclusive: u64, now_millis: i64) {
        let mut tally = self.tally();
        let bytes = tally.appended.settle(settled_exclusive) + tally.recounted.settle(settled_exclusive);
        let oldest = now_millis.div_euclid(self.bucket_millis) - DEDUP_SHARE_BUCKETS;
        let identities = tally.identities.expire(oldest);
        drop(tally);
        self.spool.used.fetch_sub(bytes, Ordering::Relaxed);
        self.identities.used.fetch_sub(identities, Ordering::Relaxed);
    }

    fn part(&self, resource: Resource) -> &Part {
        match resource {
            Resource::Spool => &self.spool,
            Resource::Dedup => &self.identities,
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn unbounded() -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            was_refused: AtomicBool::new(false),
            is_said: AtomicBool::new(false),
        }
    }

    fn set_limit(&self, whole: u64, percent: u8) {
        let limit = match percent {
            // The whole resource is the limit, and exceeding it has its own code.
            WHOLE_PERCENT.. => u64::MAX,
            _ => (u128::from(whole) * u128::from(percent) / 100) as u64,
        };
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Adds `amount`. Returns whether it fits.
    fn add(&self, amount: u64) -> bool {
        let before = self.used.fetch_add(amount, Ordering::Relaxed);
        before == 0 || before.saturating_add(amount) <= self.limit.load(Ordering::Relaxed)
    }

    /// `Some` if there is something to report. A used-up share stays reported until a tenth of it is free and no request is
    /// refused, so that it is not reported again with every delivery.
    fn look(&self, is_bounded: bool) -> Option<Option<(u64, u64)>> {
        let (used, limit) = (self.used.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed));
        let was_refused = self.was_refused.swap(false, Ordering::Relaxed);
        let was_said = self.is_said.load(Ordering::Relaxed);
        let is_used_up = is_bounded && limit != u64::MAX && (was_refused || (was_said && used > limit - limit / 10));
        self.is_said.store(is_used_up, Ordering::Relaxed);
        (is_used_up || was_said).then(|| is_used_up.then_some((used, limit)))
    }
}

/// A part of a share for events that are being stored. Dropping it gives the part back.
#[must_use = "dropping it gives it back"]
#[derive(Debug)]
pub struct Reserved {
    share: Arc<KeyShare>,
    bytes: u64,
    identities: u64,
}

impl Reserved {
    /// The events are stored at `seqs` in the spool: counted until they are delivered, and until the window forgets them.
    pub fn store(mut self, seqs: Range<u64>, now_millis: i64) {
        let (bytes, identities) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.identities));
        let mut tally = self.share.tally();
        tally.appended.add(seqs, bytes, self.share.stretch_bytes);
        tally.identities.add(now_millis.div_euclid(self.share.bucket_millis), identities);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes > 0 || self.identities > 0 {
            self.share.spool.used.fetch_sub(self.bytes, Ordering::Relaxed);
            self.share.identities.used.fetch_sub(self.identities, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn shares() -> Shares {
        // Ranges of 100 bytes; buckets of an hour.
        let window = Duration::from_millis(HOUR as u64 * DEDUP_SHARE_BUCKETS as u64);
        Shares::new(ShareConfig { spool_bytes: 100 * SHARE_STRETCHES, identities: 1000, window })
    }

    fn half() -> u64 {
        50 * SHARE_STRETCHES
    }

    fn nothing_released() -> (u64, i64) {
        (0, 0)
    }

    fn held(shares: &Shares, name: &str) -> (u64, u64) {
        let held = shares.holdings().into_iter().find(|holding| &*holding.name == name).unwrap();
        (held.spool_bytes, held.identities)
    }

    #[test]
    fn a_key_holds_no_more_than_its_share_until_something_of_it_is_delivered() {
        let shares = shares();
        let (web, service) = (shares.of(&"web".into(), 50), shares.of(&"service".into(), WHOLE_PERCENT));
        web.reserve(half() - 100, 1, nothing_released).unwrap().store(0..10, 0);
        web.reserve(100, 1, nothing_released).unwrap().store(10..11, 0);
        assert_eq!(web.reserve(1, 1, nothing_released).unwrap_err(), ShareUsedUp(Resource::Spool));
        service.reserve(2 * half(), 1, nothing_released).unwrap().store(11..12, 0);
        assert_eq!((held(&shares, "web"), held(&shares, "service")), ((half(), 2), (2 * half(), 1)));
        // A part of the first stretch is not delivered, so all of it counts.
        assert_eq!(web.reserve(1, 1, || (9, 0)).unwrap_err(), ShareUsedUp(Resource::Spool));
        // `reserve` asks for the delivered position before it refuses.
        web.reserve(half() - 100, 1, || (10, 0)).unwrap().store(12..13, 0);
        assert_eq!(held(&shares, "web"), (half(), 3));
        shares.look(13, 0, 0);
        assert_eq!((held(&shares, "web").0, held(&shares, "service").0), (0, 0));
    }

    #[test]
    fn what_is_not_stored_is_given_back_and_requests_at_once_do_not_exceed_the_share_together() {
        let shares = shares();
        let web = shares.of(&"web".into(), 50);
        let first = web.reserve(half() - 10, 1, nothing_released).unwrap();
        assert_eq!(web.reserve(11, 1, nothing_released).unwrap_err(), ShareUsedUp(Resource::Spool));
        drop(first);
        assert_eq!(held(&shares, "web"), (0, 0));
        // A request larger than the share is accepted alone, because otherwise it would never be accepted.
        let alone = web.reserve(half() + 1, 1, nothing_released).unwrap();
        assert!(web.reserve(1, 1, nothing_released).is_err());
        drop(alone);
        web.reserve(11, 1, nothing_released).unwrap().store(0..1, 0);
    }

    #[test]
    fn identities_are_refused_while_the_window_is_nearly_full_until_they_expire() {
        let shares = shares();
        let web = shares.of(&"web".into(), 50);
        web.reserve(1, 500, nothing_released).unwrap().store(0..500, 0);
        web.reserve(1, 100, nothing_released).unwrap().store(500..600, HOUR);
        assert_eq!(held(&shares, "web").1, 600, "nobody else needs the room");
        assert_eq!(shares.look(0, HOUR, 900), []);
        let end = HOUR * DEDUP_SHARE_BUCKETS;
        assert_eq!(web.reserve(1, 1, || (0, end)).unwrap_err(), ShareUsedUp(Resource::Dedup));
        let said = |used_up| ShareChange { name: "web".into(), resource: Resource::Dedup, used_up };
        assert_eq!(shares.look(0, end, 900), [said(Some((600, 500)))]);
        web.reserve(1, 1, || (0, end + HOUR)).unwrap().store(600..601, end + HOUR);
        assert_eq!(shares.look(0, end + HOUR, 900), [said(None)]);
        assert_eq!(held(&shares, "web").1, 101);
    }

    #[test]
    fn a_share_belongs_to_the_name_of_the_key_and_follows_its_percentage() {
        let shares = shares();
        let web = shares.of(&"web".into(), 50);
        web.reserve(half(), 1, nothing_released).unwrap().store(0..1, 0);
        assert!(web.reserve(1, 1, nothing_released).is_err());
        let again = shares.of(&"web".into(), 60);
        again.reserve(half() / 5, 1, nothing_released).unwrap().store(1..2, 0);
        assert!(again.reserve(1, 1, nothing_released).is_err() && web.reserve(1, 1, nothing_released).is_err());
        shares.of(&"web".into(), WHOLE_PERCENT).reserve(half(), 1, nothing_released).unwrap().store(2..3, 0);
    }

    #[test]
    fn a_part_is_said_to_be_used_up_until_a_tenth_of_it_is_free_and_nobody_is_refused() {
        let shares = shares();
        let web = shares.of(&"web".into(), 50);
        let said = |used_up| vec![ShareChange { name: "web".into(), resource: Resource::Spool, used_up }];
        for seq in 0..20 {
            web.reserve(half() / 20, 1, nothing_released).unwrap().store(seq..seq + 1, 0);
        }
        assert_eq!(shares.look(0, 0, 0), [], "nobody was refused");
        assert!(web.reserve(1, 1, nothing_released).is_err());
        assert_eq!(shares.look(0, 0, 0), said(Some((half(), half()))));
        assert_eq!(shares.look(1, 0, 0), said(Some((half() / 20 * 19, half()))));
        assert_eq!(shares.look(2, 0, 0), said(None));
        assert_eq!(shares.look(2, 0, 0), []);
    }

    #[test]
    fn what_was_there_at_the_start_counts_until_it_is_delivered_beside_what_comes_meanwhile() {
        let shares = shares();
        let web = shares.of(&"web".into(), 50);
        web.reserve(100, 1, nothing_released).unwrap().store(1000..1001, 0);
        web.recount(0..500, half(), 500, 0);
        assert!(web.reserve(1, 1, nothing_released).is_err());
        assert_eq!(held(&shares, "web"), (half() + 100, 501));
        web.reserve(1, 1, || (500, 0)).unwrap().store(1001..1002, 0);
        assert_eq!(held(&shares, "web"), (101, 502));
    }
}
