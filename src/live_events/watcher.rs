//! A watcher: what it asked for, and the sample of the present tick.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    question::Question,
    reservoir::Reservoir,
    shown::{Shown, Told},
};
use crate::limits::WATCH_LATE_TICKS;

/// See the module.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) question: Question,
    /// The floor of the reservoir, readable without its lock.
    floor: AtomicU64,
    tick: Mutex<Tick>,
}

/// What came since the watcher looked last.
#[derive(Debug)]
struct Tick {
    began: Instant,
    /// Events that are asked for.
    matched: u64,
    /// A sample of them, each with the number of its arrival.
    sample: Reservoir<(u64, Shown)>,
    arrivals: u64,
}

/// What came in a tick.
#[derive(Debug, PartialEq)]
pub struct Seen {
    /// The events that are shown, in the order of their arrival.
    pub events: Vec<Shown>,
    /// How many events were asked for.
    pub matched: u64,
    /// The time of the tick.
    pub took: Duration,
    /// Whether the tick was long because the watcher did not look: what is not shown is missed, not sampled.
    pub is_late: bool,
}

impl Watcher {
    pub(super) fn new(question: Question) -> Self {
        let sample = Reservoir::new(question.room());
        let tick = Tick { began: Instant::now(), matched: 0, sample, arrivals: 0 };
        Self { question, floor: AtomicU64::new(0), tick: Mutex::new(tick) }
    }

    /// Offers events of a request, by their indexes. `keep` copies one: it is called for few.
    pub(super) fn offer<'a>(
        &self,
        rng: &mut Rng,
        events: impl Iterator<Item = (usize, Told<'a>)>,
        mut keep: impl FnMut(usize, &Told<'a>) -> Shown,
    ) {
        let floor = self.floor.load(Relaxed);
        let mut best = Reservoir::new(self.question.room());
        let (mut matched, mut least) = (0, floor);
        for (index, told) in events {
            if !self.question.wants_outcome(told.outcome) {
                continue;
            }
            matched += 1;
            let rank = rng.u64(..);
            if rank > least {
                best.offer(rank, (index, told));
                least = floor.max(best.floor());
            }
        }
        if matched == 0 {
            return;
        }
        let mut best: Vec<(u64, (usize, Told<'a>))> = best.take().collect();
        best.sort_unstable_by_key(|(_, (index, _))| *index);
        // Copied without the lock.
        let kept: Vec<(u64, Shown)> = best.into_iter().map(|(rank, (index, told))| (rank, keep(index, &told))).collect();
        let mut tick = self.lock();
        tick.matched += matched;
        for (rank, event) in kept {
            let arrival = tick.arrivals;
            tick.arrivals += 1;
            tick.sample.offer(rank, (arrival, event));
        }
        // A request that read the floor before a tick ended compares with that of the tick before: some microseconds of a tick.
        self.floor.store(tick.sample.floor(), Relaxed);
    }

    /// Ends the tick, and begins the next.
    pub(super) fn take(&self) -> Seen {
        let now = Instant::now();
        let mut tick = self.lock();
        let (matched, took) = (std::mem::take(&mut tick.matched), now.duration_since(tick.began));
        let mut events: Vec<(u64, Shown)> = tick.sample.take().map(|(_, event)| event).collect();
        tick.began = now;
        self.floor.store(0, Relaxed);
        drop(tick);
        events.sort_unstable_by_key(|(arrival, _)| *arrival);
        let events = events.into_iter().map(|(_, event)| event).collect();
        Seen { events, matched, took, is_late: took > self.question.tick() * WATCH_LATE_TICKS }
    }

    fn lock(&self) -> MutexGuard<'_, Tick> {
        self.tick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, RetryCause};

    fn told(outcome: &Outcome) -> Told<'_> {
        Told { outcome, received_millis: 0 }
    }

    fn watcher(parameters: &[(&str, &str)]) -> Watcher {
        Watcher::new(Question::parse(parameters.iter().copied()).unwrap())
    }

    fn lines(seen: &Seen) -> Vec<String> {
        seen.events.iter().map(|event| event.line(&|_, named| named, false)).collect()
    }

    /// Offers a request with so many events; the name of each begins with the name of the request.
    fn offer(watcher: &Watcher, rng: &mut Rng, request: usize, events: usize) {
        let outcome = Outcome::Accepted;
        watcher.offer(rng, (0..events).map(|index| (index, told(&outcome))), |index, _| {
            Shown::of_line(format!("{request} {index}"))
        });
    }

    #[test]
    fn a_tick_shows_each_event_as_likely_as_any_other_whatever_request_it_came_in() {
        const ROUNDS: usize = 4_000;
        // Forty single events, and two requests with many: the first fills the sample, the last comes when it is full.
        let requests: Vec<usize> = std::iter::once(200).chain([1; 40]).chain([760]).collect();
        let (watcher, mut rng) = (watcher(&[("rate", "50")]), Rng::with_seed(7));
        let mut shown = [0_usize; 3];
        for _ in 0..ROUNDS {
            requests.iter().enumerate().for_each(|(request, events)| offer(&watcher, &mut rng, request, *events));
            let seen = watcher.take();
            assert_eq!((seen.matched, seen.events.len()), (1_000, 10));
            for line in lines(&seen) {
                let request: usize = line.split(' ').next().unwrap().parse().unwrap();
                shown[match request {
                    0 => 0,
                    41 => 2,
                    _ => 1,
                }] += 1;
            }
        }
        // Chi-square with 2 degrees of freedom: 13.8 is passed by chance once in a thousand seeds.
        let expected = [0.2, 0.04, 0.76].map(|part| part * (ROUNDS * 10) as f64);
        let chi_square: f64 = shown.iter().zip(expected).map(|(found, e)| (*found as f64 - e).powi(2) / e).sum();
        assert!(chi_square < 13.8, "{chi_square}: {shown:?}");
    }

    #[test]
    fn only_what_may_be_shown_is_copied_and_events_are_in_the_order_of_their_arrival() {
        let (watcher, mut rng) = (watcher(&[("rate", "50")]), Rng::with_seed(1));
        let (outcome, mut made) = (Outcome::Accepted, 0);
        for _ in 0..100 {
            watcher.offer(&mut rng, (0..1_000).map(|index| (index, told(&outcome))), |_, _| {
                made += 1;
                Shown::of_line(format!("{made:06}"))
            });
        }
        // Ten of 100,000: 10 × (1 + ln 10,000) are expected.
        assert!((10..200).contains(&made), "{made}");
        let seen = watcher.take();
        assert_eq!((seen.matched, seen.events.len()), (100_000, 10));
        assert!(lines(&seen).is_sorted(), "{seen:?}");
        assert_eq!(watcher.take().matched, 0, "the next tick begins empty");
    }

    #[test]
    fn below_the_rate_all_is_shown_and_other_outcomes_are_not_counted() {
        let (watcher, mut rng) = (watcher(&[("outcome", "retry")]), Rng::with_seed(1));
        let outcomes =
            [Outcome::Accepted, Outcome::Retry(RetryCause::Busy), Outcome::Duplicate, Outcome::Retry(RetryCause::Lost)];
        watcher.offer(&mut rng, outcomes.iter().map(told).enumerate(), |index, _| Shown::of_line(index.to_string()));
        let seen = watcher.take();
        assert_eq!((lines(&seen), seen.matched, seen.is_late), (vec!["1".into(), "3".into()], 2, false));
    }
}
