//! The send rate of one shard. Each shard learns its rate from its own responses.
//!
//! A shard has no rate limit until it throttles. Then the limit falls to the rate that the shard stored, and grows again while
//! throttling is low. A shard that takes nothing is paused; the pause doubles each time (full jitter).

use std::time::{Duration, Instant};

use crate::{
    deliver::shared::backoff,
    limits::{PACE_CALM_INTERVALS, PACE_GROWTH, PACE_INTERVAL, PACE_RATE_MIN, PACE_REST, PACE_THROTTLED_SHARE, STREAM_BACKOFF},
};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct ShardThrottle {
    /// Seconds of an undisturbed shard that may be used per second; `None` without a limit.
    rate: Option<f64>,
    /// Time until which the sent records use up the rate.
    filled_until: Instant,
    /// Time until which capacity accumulates.
    rests_until: Instant,
    /// Time until which nothing is sent.
    paused_until: Instant,
    /// Calls in a row in which the shard took nothing; calls that were in flight together count once.
    failures: u32,
    /// Intervals in a row without much throttling.
    calm_intervals: u32,
    failed_at: Option<Instant>,
    /// When the first call was sent of those since which the shard takes nothing.
    failing_since: Option<Instant>,
    interval: Interval,
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    began: Instant,
    stored: f64,
    throttled: f64,
}

/// Result of one call for a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShardTally {
    /// Cost of the stored records.
    pub(super) stored: f64,
    /// Cost of the throttled records.
    pub(super) throttled: f64,
    /// Cost of the records with other failures.
    pub(super) failed: f64,
}

impl ShardThrottle {
    pub(super) fn new(now: Instant) -> Self {
        let interval = Interval { began: now, stored: 0.0, throttled: 0.0 };
        Self {
            rate: None,
            filled_until: now,
            rests_until: now,
            paused_until: now,
            failures: 0,
            failed_at: None,
            failing_since: None,
            calm_intervals: 0,
            interval,
        }
    }

    /// The current rate limit.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Since when the shard takes nothing; `None` if it takes records.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.failing_since
    }

    /// The earliest time for the next record; may be in the past.
    pub(super) fn ready_at(&self) -> Instant {
        self.paused_until.max(self.rests_until)
    }

    /// Counts a record that is sent.
    pub(super) fn spend(&mut self, cost: f64, now: Instant) {
        if let Some(rate) = self.rate {
            self.filled_until = self.filled_until.max(now) + Duration::from_secs_f64(cost / rate);
            // A burst of one interval may be sent at once.
            if self.filled_until > now + PACE_INTERVAL {
                self.rests_until = self.filled_until - PACE_INTERVAL + PACE_REST;
            }
        }
    }

    /// Adapts to the response to a call made at `sent_at`.
    pub(super) fn learn(&mut self, tally: ShardTally, sent_at: Instant, now: Instant) {
        self.interval.stored += tally.stored;
        self.interval.throttled += tally.throttled;
        let went_wrong = tally.throttled + tally.failed > 0.0;
        let is_news = self.failed_at.is_none_or(|failed_at| sent_at >= failed_at);
        if tally.stored > 0.0 || !went_wrong {
            self.failures = 0;
            self.failing_since = None;
        } else if is_news {
            self.failing_since.get_or_insert(sent_at);
            self.failures += 1;
            self.failed_at = Some(now);
        }
        if went_wrong && (is_news || self.failures == 0) {
            self.paused_until = now + backoff(self.failures, STREAM_BACKOFF);
        }
        self.adapt(now);
    }

    fn adapt(&mut self, now: Instant) {
        let Interval { began, stored, throttled } = self.interval;
        let seconds = now.duration_since(began).as_secs_f64();
        if seconds < PACE_INTERVAL.as_secs_f64() {
            return;
        }
        self.interval = Interval { began: now, stored: 0.0, throttled: 0.0 };
        let sent = stored + throttled;
        if throttled > PACE_THROTTLED_SHARE * sent {
            // The measured rate; after a long quiet interval the measurement means little, so the old rate is an upper bound.
            let took = (stored / seconds).max(PACE_RATE_MIN);
            self.rate = Some(self.rate.map_or(took, |rate| took.min(rate)));
            self.calm_intervals = 0;
        } else if let Some(rate) = self.rate {
            self.calm_intervals += 1;
            // Slowly at first, because the limit may be near; then ever faster, because it is not.
            let doublings = self.calm_intervals.saturating_sub(PACE_CALM_INTERVALS).min(8);
            let growth = 1.0 + (PACE_GROWTH * f64::from(1 << doublings)).min(1.0);
            // A limit far above the send rate has no effect and is removed.
            let grown = rate * growth;
            self.rate = (grown < 8.0 * sent / seconds + 1.0).then_some(grown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::KinesisConfig, sink::kinesis};

    fn cost(bytes: usize) -> f64 {
        kinesis::settings(&KinesisConfig::default(), true).rules.cost(bytes)
    }

    /// Simulates a shard that takes `limit` undisturbed seconds per second, counted over a second as Kinesis does, with 20
    /// calls a second for `seconds`.
    fn sent_and_stored(throttle: &mut ShardThrottle, limit: f64, seconds: u32, now: &mut Instant) -> (f64, f64) {
        let (mut sent, mut stored) = (0.0, 0.0);
        let mut room: f64 = 0.0;
        for _ in 0..seconds * 20 {
            let mut tally = ShardTally::default();
            room = (room + limit / 20.0).min(limit);
            for _ in 0..200 {
                if throttle.ready_at() > *now {
                    break;
                }
                throttle.spend(cost(100), *now);
                sent += cost(100);
                if room > 0.0 {
                    (tally.stored, room) = (tally.stored + cost(100), room - cost(100));
                } else {
                    tally.throttled += cost(100);
                }
            }
            stored += tally.stored;
            if tally.stored + tally.throttled > 0.0 {
                throttle.learn(tally, *now, *now);
            }
            *now += Duration::from_millis(50);
        }
        (sent, stored)
    }

    #[test]
    fn the_rate_settles_near_what_the_shard_takes_and_grows_when_it_takes_more() {
        fastrand::seed(7);
        let mut now = Instant::now();
        let mut throttle = ShardThrottle::new(now);
        sent_and_stored(&mut throttle, 1.0, 5, &mut now);
        let (sent, stored) = sent_and_stored(&mut throttle, 1.0, 20, &mut now);
        assert!(stored > 0.8 * 20.0, "it uses most of the shard: {stored}");
        assert!(sent < 1.15 * stored, "and throttles little of what it sends: {sent} {stored}");
        let (_, stored) = sent_and_stored(&mut throttle, 3.0, 20, &mut now);
        assert!(stored > 2.0 * 20.0, "three times the room is found: {stored}");
        sent_and_stored(&mut throttle, 0.0, 10, &mut now);
        let (_, stored) = sent_and_stored(&mut throttle, 1.0, 20, &mut now);
        assert!(stored > 0.6 * 20.0, "it recovers in seconds from a shard that took nothing: {stored}");
    }

    #[test]
    fn a_held_shard_gathers_room_for_some_records_instead_of_taking_each_as_it_comes() {
        let mut now = Instant::now();
        let mut throttle = ShardThrottle { rate: Some(1.0), ..ShardThrottle::new(now) };
        let mut bursts = Vec::new();
        for _ in 0..2_000 {
            let mut burst = 0;
            while throttle.ready_at() <= now {
                throttle.spend(cost(100), now);
                burst += 1;
            }
            bursts.extend((burst > 0).then_some(burst));
            now += Duration::from_millis(1);
        }
        assert!(bursts.iter().all(|burst| *burst >= 90), "{bursts:?}");
        assert!((1_900..2_400).contains(&bursts.iter().sum::<i32>()), "a thousand a second, and the first burst: {bursts:?}");
    }

    #[test]
    fn an_undisturbed_shard_is_never_held_and_a_dead_one_is_asked_ever_less() {
        let mut now = Instant::now();
        let mut throttle = ShardThrottle::new(now);
        let (sent, stored) = sent_and_stored(&mut throttle, 1e9, 2, &mut now);
        assert!((sent - stored).abs() < 1e-6 && throttle.rate().is_none(), "{sent} {stored}");
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            throttle.learn(ShardTally { failed: 1.0, ..Default::default() }, now, now);
            longest = longest.max(throttle.ready_at().saturating_duration_since(now));
        }
        assert!(longest > Duration::from_secs(1), "{longest:?}");
        throttle.learn(ShardTally { stored: 1.0, ..Default::default() }, now, now + longest);
        assert!(throttle.ready_at() <= now + longest, "one success ends it");
    }
}
