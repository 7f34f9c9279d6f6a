//! The window against a reference model (a map), over random histories.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::dedup::Claims;

#[derive(Clone, Debug)]
enum Op {
    /// Claims these identities, and holds the claims.
    Claim(Vec<usize>),
    /// Ends the oldest held claims: confirmed, or the ones at odd places released first, or dropped.
    Confirm,
    ConfirmEven,
    Drop,
    Settle,
    /// Up to this many marks ago; the spool then drops what it may.
    Checkpoint(u64),
    /// Without or with sealing first.
    Crash,
    Close,
    Advance(i64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::collection::vec(0..60_usize, 1..7).prop_map(Op::Claim),
        8 => Just(Op::Confirm),
        2 => Just(Op::ConfirmEven),
        2 => Just(Op::Drop),
        1 => Just(Op::Settle),
        1 => (0..20_u64).prop_map(Op::Checkpoint),
        1 => Just(Op::Crash),
        1 => Just(Op::Close),
        1 => (1..400_i64).prop_map(Op::Advance),
    ]
}

#[derive(Default)]
struct Model {
    /// Mark and time of each confirmed identity.
    confirmed: HashMap<usize, (u64, i64)>,
    /// Confirmed once, and later claimed as fresh. A restart may take this back, because it restores only the stored time.
    left: HashSet<usize>,
    in_flight: HashMap<usize, usize>,
    next_mark: u64,
    checkpointed: u64,
    now: i64,
    /// The latest time that the window was given.
    told: i64,
    batches: usize,
}

const WINDOW_MILLIS: i64 = 1000;

fn id(n: usize) -> Uuid {
    Uuid::from_u128(n as u128 * 0x1234_5678_9abc_def0_1357_9bdf)
}

impl Model {
    /// Checks the outcomes of a claim, and applies them.
    fn claimed(&mut self, ids: &[usize], outcomes: &[Claim]) {
        self.batches += 1;
        let mut first: HashMap<usize, usize> = HashMap::new();
        assert_eq!(ids.len(), outcomes.len());
        for (index, (n, outcome)) in ids.iter().zip(outcomes).enumerate() {
            let twin = first.get(n).copied();
            let expected = match (self.in_flight.get(n), self.confirmed.get(n)) {
                (Some(batch), _) if *batch == self.batches => Claim::TwinOf(twin.unwrap()),
                (Some(_), _) => Claim::InFlight,
                (None, Some((_, at))) if self.now - at <= WINDOW_MILLIS => DUPLICATE,
                // After the window both answers are right, until the run that holds the identity has been forgotten.
                (None, Some(_)) if matches!(outcome, Claim::Duplicate { .. }) => DUPLICATE,
                (None, None) if self.left.contains(n) && *outcome == DUPLICATE => DUPLICATE,
                (None, _) => Claim::Fresh,
            };
            assert_eq!(*outcome, expected, "id {n} at {index} of {ids:?}, now {}", self.now);
            if expected == Claim::Fresh {
                first.insert(*n, index);
                self.in_flight.insert(*n, self.batches);
                self.left.extend(self.confirmed.remove(n).map(|_| *n));
            }
        }
    }

    /// Applies the end of a batch.
    fn ended(&mut self, ns: &[usize], outcomes: &[Claim], confirms: impl Fn(usize) -> bool) {
        for (index, (n, outcome)) in ns.iter().zip(outcomes).enumerate() {
            if *outcome == Claim::Fresh {
                self.in_flight.remove(n);
                if confirms(index) {
                    self.confirmed.insert(*n, (self.next_mark, self.told));
                    self.next_mark += 1;
                }
            }
        }
    }
}

fn run(config: &WindowConfig, ops: Vec<Op>) {
    let mut model = Model::default();
    let mut window = open(config);
    let mut held: VecDeque<(Vec<usize>, Claims)> = VecDeque::new();
    for op in ops {
        match op {
            Op::Claim(ns) => {
                model.told = model.now;
                let ids: Vec<Uuid> = ns.iter().map(|n| id(*n)).collect();
                let mut claimed = window.claim(&unknown(&ids), model.now);
                if claimed.is_err() {
                    window.settle();
                    claimed = window.claim(&unknown(&ids), model.now);
                }
                match claimed {
                    Ok(claims) => {
                        model.claimed(&ns, claims.outcomes());
                        held.push_back((ns, claims));
                    }
                    Err(_) => {
                        let stats = window.stats();
                        let in_memory = stats.identities_hot + stats.identities_in_flight;
                        assert!(in_memory + ids.len() as u64 > 16, "refused at {in_memory}");
                    }
                }
            }
            Op::Confirm | Op::ConfirmEven | Op::Drop => {
                let Some((ns, mut claims)) = held.pop_front() else { continue };
                let (first_mark, outcomes) = (model.next_mark, claims.outcomes().to_vec());
                match op {
                    Op::Confirm => {
                        model.ended(&ns, &outcomes, |_| true);
                        claims.confirm(first_mark);
                    }
                    Op::ConfirmEven => {
                        model.ended(&ns, &outcomes, |index| index % 2 == 0);
                        claims.retain(|index| index % 2 == 0);
                        claims.confirm(first_mark);
                    }
                    _ => model.ended(&ns, &outcomes, |_| false),
                }
            }
            Op::Settle => window.settle(),
            Op::Checkpoint(back) => {
                let mark = model.next_mark.saturating_sub(back);
                window.checkpoint(mark).unwrap();
                model.checkpointed = model.checkpointed.max(mark);
            }
            Op::Crash | Op::Close => {
                held.clear();
                model.in_flight.clear();
                if matches!(op, Op::Close) {
                    window.close().unwrap();
                }
                drop(window);
                model.told = model.now;
                window = Window::open(config.clone(), model.now).unwrap().0;
                let from = window.sealed_mark().max(model.checkpointed);
                let mut spooled: Vec<(Identity, u64)> = model
                    .confirmed
                    .iter()
                    .filter(|(_, (mark, _))| *mark >= from)
                    .map(|(n, (mark, _))| (Identity::unknown(id(*n)), *mark))
                    .collect();
                spooled.sort_by_key(|(_, mark)| *mark);
                window.restore(spooled, model.now).unwrap();
            }
            Op::Advance(millis) => model.now += millis,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_window_answers_like_a_map_over_any_history(ops in prop::collection::vec(op(), 1..250)) {
        let folder = scratch();
        let config = WindowConfig { window: Duration::from_millis(WINDOW_MILLIS as u64), ..tiny(folder.path()) };
        run(&config, ops);
    }
}
