//! A watcher: what it asked for, and the sample of the present tick.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{question::Question, reservoir::Reservoir};
use crate::{limits::WATCH_LATE_TICKS, outcome::Outcome};

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
    /// The lines of a sample of them, each with the number of its arrival.
    sample: Reservoir<(u64, String)>,
    arrivals: u64,
}

/// What came in a tick.
#[derive(Debug, PartialEq)]
pub struct Seen {
    /// The lines of the events that are shown, in the order of their arrival.
    pub lines: Vec<String>,
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

    /// Of these events of a request, those that are shown, by their indexes, if no later one takes their place. `line` makes the
    /// line of one: it is called for few.
    pub(super) fn offer<'a>(
        &self,
        rng: &mut Rng,
        events: impl Iterator<Item = (usize, &'a Outcome)>,
        mut line: impl FnMut(usize) -> String,
    ) {
        let floor = self.floor.load(Relaxed);
        let mut best = Reservoir::new(self.question.room());
        let (mut matched, mut least) = (0, floor);
        for (index, outcome) in events {
            if !self.question.wants_outcome(outcome) {
                continue;
            }
            matched += 1;
            let rank = rng.u64(..);
            if rank > least {
                best.offer(rank, index);
                least = floor.max(best.floor());
            }
        }
        if matched == 0 {
            return;
        }
        let mut best: Vec<(u64, usize)> = best.take().collect();
        best.sort_unstable_by_key(|(_, index)| *index);
        // Made without the lock.
        let lines: Vec<(u64, String)> = best.into_iter().map(|(rank, index)| (rank, line(index))).collect();
        let mut tick = self.lock();
        tick.matched += matched;
        for (rank, line) in lines {
            let arrival = tick.arrivals;
            tick.arrivals += 1;
            tick.sample.offer(rank, (arrival, line));
        }
        // A request that read the floor before a tick ended compares with that of the tick before: some microseconds of a tick.
        self.floor.store(tick.sample.floor(), Relaxed);
    }

    /// Ends the tick, and begins the next.
    pub(super) fn take(&self) -> Seen {
        let now = Instant::now();
        let mut tick = self.lock();
        let (matched, took) = (std::mem::take(&mut tick.matched), now.duration_since(tick.began));
        let mut lines: Vec<(u64, String)> = tick.sample.take().map(|(_, line)| line).collect();
        tick.began = now;
        self.floor.store(0, Relaxed);
        drop(tick);
        lines.sort_unstable_by_key(|(arrival, _)| *arrival);
        let lines = lines.into_iter().map(|(_, line)| line).collect();
        Seen { lines, matched, took, is_late: took > self.question.tick() * WATCH_LATE_TICKS }
    }

    fn lock(&self) -> MutexGuard<'_, Tick> {
        self.tick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::RetryCause;

    fn watcher(parameters: &[(&str, &str)]) -> Watcher {
        Watcher::new(Question::parse(parameters.iter().copied()).unwrap())
    }

    /// Offers a request with so many events; the name of each begins with the name of the request.
    fn offer(watcher: &Watcher, rng: &mut Rng, request: usize, events: usize) {
        let outcome = Outcome::Accepted;
        watcher.offer(rng, (0..events).map(|index| (index, &outcome)), |index| format!("{request} {index}"));
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
            assert_eq!((seen.matched, seen.lines.len()), (1_000, 10));
            for line in seen.lines {
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
    fn only_what_may_be_shown_is_made_and_lines_are_in_the_order_of_their_arrival() {
        let (watcher, mut rng) = (watcher(&[("rate", "50")]), Rng::with_seed(1));
        let (outcome, mut made) = (Outcome::Accepted, 0);
        for _ in 0..100 {
            watcher.offer(&mut rng, (0..1_000).map(|index| (index, &outcome)), |_| {
                made += 1;
                format!("{made:06}")
            });
        }
        // Ten of 100,000: 10 × (1 + ln 10,000) are expected.
        assert!((10..200).contains(&made), "{made}");
        let seen = watcher.take();
        assert_eq!((seen.matched, seen.lines.len()), (100_000, 10));
        assert!(seen.lines.is_sorted(), "{:?}", seen.lines);
        assert_eq!(watcher.take().matched, 0, "the next tick begins empty");
    }

    #[test]
    fn below_the_rate_all_is_shown_and_other_outcomes_are_not_counted() {
        let (watcher, mut rng) = (watcher(&[("outcome", "retry")]), Rng::with_seed(1));
        let outcomes =
            [Outcome::Accepted, Outcome::Retry(RetryCause::Busy), Outcome::Duplicate, Outcome::Retry(RetryCause::Lost)];
        watcher.offer(&mut rng, outcomes.iter().enumerate(), |index| index.to_string());
        let seen = watcher.take();
        assert_eq!((seen.lines, seen.matched, seen.is_late), (vec!["1".into(), "3".into()], 2, false));
    }
}
