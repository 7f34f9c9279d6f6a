//! The ranges of the spool with records that some place has not taken yet, and when each failing place is retried.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Instant};

use crate::{
    deliver::shared::backoff,
    limits::{DELIVERY_BACKOFF, LAKE_UNDELIVERED_RANGES_MAX},
    spool::Reader,
};

/// Where a sink puts a record. See [`Sink::place_of`](crate::sink::Sink::place_of).
pub(super) type Place = Arc<str>;

/// The undelivered ranges and the failing places. Only numbers and names are in memory: the records are on disk.
#[derive(Default)]
pub(super) struct Undelivered {
    ranges: BTreeMap<u64, UndeliveredRange>,
    failing: BTreeMap<Place, Failing>,
    /// Attempts in a row that delivered nothing, because the whole sink fails and not a single place.
    vain_attempts: u32,
}

struct UndeliveredRange {
    end: u64,
    /// `None` if the places are unknown, because a crash came between.
    places: Option<Vec<Place>>,
    /// When the first event was received.
    received: Option<i64>,
    /// After a failed read: no read before this time.
    read_at: Option<Instant>,
    /// The reader that failed, at the position of the failure.
    reader: Option<Reader>,
}

struct Failing {
    failures: u32,
    retry_at: Instant,
    /// The last error.
    cause: String,
    /// Other places were written while this one failed: the place fails, not the sink.
    is_alone: bool,
}

impl Undelivered {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the limit of ranges is reached.
    pub(super) fn is_full(&self) -> bool {
        self.ranges.len() >= LAKE_UNDELIVERED_RANGES_MAX
    }

    /// Where the first range begins.
    pub(super) fn first(&self) -> Option<u64> {
        self.ranges.keys().next().copied()
    }

    /// When the oldest owed event was received, approximately.
    pub(super) fn oldest_received(&self) -> Option<i64> {
        self.ranges.values().next()?.received
    }

    /// Whether no other range is owed.
    pub(super) fn is_only(&self, range: &Range<u64>) -> bool {
        self.ranges.keys().all(|first| *first == range.start)
    }

    /// Adds `range`, which is owed to these places.
    pub(super) fn add(&mut self, range: Range<u64>, places: Option<Vec<Place>>, received: Option<i64>) {
        self.ranges.insert(range.start, UndeliveredRange { end: range.end, places, received, read_at: None, reader: None });
    }

    /// Nothing of `range` is owed any more.
    pub(super) fn settled(&mut self, range: &Range<u64>) {
        self.ranges.remove(&range.start);
    }

    /// The first range that can be tried now, at least in part.
    pub(super) fn due(&self, now: Instant) -> Option<Range<u64>> {
        let is_due = |range: &UndeliveredRange| {
            let is_readable = range.read_at.is_none_or(|at| at <= now);
            is_readable && range.places.as_ref().is_none_or(|places| places.iter().any(|place| !self.rests(place, now)))
        };
        self.ranges.iter().find(|(_, range)| is_due(range)).map(|(first, range)| *first..range.end)
    }

    /// The next time at which a range can be tried, if none can be tried now.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let retry_at = |place: &Place| self.failing.get(place).map(|failing| failing.retry_at);
        let of = |range: &UndeliveredRange| {
            let places = range.places.iter().flatten().filter_map(retry_at).min();
            range.read_at.max(places)
        };
        self.ranges.values().filter_map(of).min()
    }

    /// Whether `place` failed and must not be tried yet.
    pub(super) fn rests(&self, place: &Place, now: Instant) -> bool {
        self.failing.get(place).is_some_and(|failing| now < failing.retry_at)
    }

    /// Records the results of these places: a place with a cause failed. Returns whether the sink as a whole seems to be down.
    ///
    /// If the sink is down, its places are not tried one by one: all failed places are retried together, and all at once when
    /// the sink works again.
    pub(super) fn tried(&mut self, places: &BTreeMap<Place, Option<String>>, now: Instant) -> bool {
        for (place, cause) in places {
            let Some(cause) = cause else {
                self.failing.remove(place);
                continue;
            };
            let new = || Failing { failures: 0, retry_at: now, cause: String::new(), is_alone: false };
            let failing = self.failing.entry(place.clone()).or_insert_with(new);
            failing.failures += 1;
            failing.retry_at = now + backoff(failing.failures, DELIVERY_BACKOFF);
            failing.cause.clone_from(cause);
        }
        let is_written = places.values().any(Option::is_none);
        if is_written {
            self.failing.values_mut().for_each(|failing| failing.is_alone = true);
        }
        let is_away = !is_written && places.keys().any(|place| self.failing.get(place).is_some_and(|failing| !failing.is_alone));
        if is_away {
            self.vain_attempts += 1;
            let retry_at = now + backoff(self.vain_attempts, DELIVERY_BACKOFF);
            self.failing.values_mut().for_each(|failing| failing.retry_at = retry_at);
        } else if is_written && std::mem::take(&mut self.vain_attempts) > 0 {
            self.failing.values_mut().for_each(|failing| failing.retry_at = now);
        }
        is_away
    }

    /// The places that fail while others work, or the only failing place (the cause is then unknown), with their errors.
    pub(super) fn unwritable(&self) -> impl Iterator<Item = (&Place, &str)> {
        let is_only = self.failing.len() == 1;
        let alone = self.failing.iter().filter(move |(place, failing)| !place.is_empty() && (failing.is_alone || is_only));
        alone.map(|(place, failing)| (place, &*failing.cause))
    }

    /// `range` cannot be read before `retry_at`; `reader` is at the failure.
    pub(super) fn could_not_read(&mut self, range: &Range<u64>, reader: Option<Reader>, retry_at: Instant) {
        if let Some(range) = self.ranges.get_mut(&range.start) {
            (range.read_at, range.reader) = (Some(retry_at), reader);
        }
    }

    /// `range` could be read.
    pub(super) fn could_read(&mut self, range: &Range<u64>) {
        if let Some(range) = self.ranges.get_mut(&range.start) {
            (range.read_at, range.reader) = (None, None);
        }
    }

    /// The reader that failed last.
    pub(super) fn take_reader(&mut self, range: &Range<u64>) -> Option<Reader> {
        self.ranges.get_mut(&range.start)?.reader.take()
    }
}
