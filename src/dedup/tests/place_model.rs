//! The places against a reference model (a list of events), over random histories of the window and of its spool.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Stores so many new events.
    Store(usize),
    /// The disk lost one of the events, and it is stored again.
    StoreAgain(prop::sample::Index),
    Settle,
    /// Seals all. Then the spool drops what it has delivered, if it does.
    Checkpoint {
        drops: bool,
    },
    /// The gateway ends, after or without sealing, and starts again.
    Restart {
        closes: bool,
    },
    /// The spool is replaced by an empty one.
    Replace,
    /// The spool is restored from a backup that lacks so many events.
    GoBack(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..7_usize).prop_map(Op::Store),
        2 => any::<prop::sample::Index>().prop_map(Op::StoreAgain),
        2 => Just(Op::Settle),
        2 => any::<bool>().prop_map(|drops| Op::Checkpoint { drops }),
        2 => any::<bool>().prop_map(|closes| Op::Restart { closes }),
        1 => Just(Op::Replace),
        1 => (1..30_usize).prop_map(Op::GoBack),
    ]
}

/// What may be told of the place of an identity.
#[derive(Clone, Copy, Debug)]
enum Expected {
    At(u64),
    AtOrUnknown(u64),
    Unknown,
}

struct Spool {
    history: Uuid,
    /// The event of each number; those below `first_seq` are delivered, and not there any more.
    events: Vec<Uuid>,
    first_seq: u64,
}

struct Tester {
    config: WindowConfig,
    window: Option<Window>,
    spool: Spool,
    expected: HashMap<Uuid, Expected>,
}

impl Tester {
    fn window(&self) -> &Window {
        self.window.as_ref().unwrap()
    }

    fn end(&self) -> u64 {
        self.spool.events.len() as u64
    }

    /// Opens the window beside the spool, as the start of a gateway does. Returns whether a new history began.
    fn start(&mut self) -> bool {
        self.window = None;
        let config = WindowConfig { spool_history: self.spool.history, spool_end_exclusive: self.end(), ..self.config.clone() };
        let (window, report) = Window::open(config, 0).unwrap();
        let is_new = report.spool_history != self.spool.history;
        self.spool.history = report.spool_history;
        let from = window.sealed_mark().max(self.spool.first_seq);
        let spooled = (from..self.end()).map(|seq| (Identity::unknown(self.spool.events[seq as usize]), seq));
        window.restore(spooled.collect::<Vec<_>>(), 0).unwrap();
        self.window = Some(window);
        is_new
    }

    fn check(&self) {
        let ids: Vec<Uuid> = self.expected.keys().copied().collect();
        for (id, answer) in ids.iter().zip(self.window().look_up(&ids)) {
            let expected = self.expected[id];
            let place = match answer {
                LookUp::Known(known) => match known.place {
                    Place::At(place) => Some(place),
                    Place::Before(_) => None,
                },
                // It was in memory only, and its spool is gone.
                LookUp::Unknown if matches!(expected, Expected::Unknown) => None,
                other => panic!("{other:?}, expected {expected:?}"),
            };
            match expected {
                Expected::At(seq) => assert_eq!(place, Some(seq)),
                Expected::AtOrUnknown(seq) => assert!(place.is_none_or(|place| place == seq), "{place:?} for {seq}"),
                Expected::Unknown => assert_eq!(place, None),
            }
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Store(count) => {
                let ids = random_ids(count);
                remember(self.window(), &ids, self.end(), 0);
                self.expected.extend(ids.iter().copied().zip((self.end()..).map(Expected::At)));
                self.spool.events.extend(ids);
            }
            Op::StoreAgain(which) => {
                let first = self.spool.first_seq as usize;
                let Some(spooled) = self.spool.events.get(first..).filter(|spooled| !spooled.is_empty()) else { return };
                let id = spooled[which.index(spooled.len())];
                // So that there is room.
                self.window().settle();
                self.window().stored_again(Identity::unknown(id), self.end());
                self.expected.insert(id, Expected::At(self.end()));
                self.spool.events.push(id);
            }
            Op::Settle => self.window().settle(),
            Op::Checkpoint { drops } => {
                self.window().checkpoint(u64::MAX).unwrap();
                self.spool.first_seq = if drops { self.end() } else { self.spool.first_seq };
            }
            Op::Restart { closes } => {
                if closes {
                    self.window().close().unwrap();
                }
                assert!(!self.start());
            }
            Op::Replace => {
                self.spool = Spool { history: Uuid::new_v4(), events: Vec::new(), first_seq: 0 };
                self.expected.values_mut().for_each(|expected| *expected = Expected::Unknown);
                self.start();
            }
            Op::GoBack(lacks) => {
                // A backup has no events that were delivered before it was made; here it has all that are there.
                let end = self.spool.events.len().saturating_sub(lacks).max(self.spool.first_seq as usize);
                self.spool.events.truncate(end);
                let is_new = self.start();
                let kept: HashMap<Uuid, u64> = self.spool.events.iter().copied().zip(0..).collect();
                for (id, expected) in &mut self.expected {
                    *expected = match (kept.get(id), *expected) {
                        (Some(seq), Expected::At(_)) if *seq >= self.spool.first_seq || !is_new => Expected::At(*seq),
                        (Some(seq), Expected::At(_) | Expected::AtOrUnknown(_)) => Expected::AtOrUnknown(*seq),
                        _ => Expected::Unknown,
                    };
                }
            }
        }
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_place_is_that_of_the_event_in_the_spool_or_unknown_over_any_history(ops in prop::collection::vec(op(), 1..80)) {
        let folder = scratch();
        let spool = Spool { history: Uuid::new_v4(), events: Vec::new(), first_seq: 0 };
        let mut tester = Tester { config: tiny(folder.path()), window: None, spool, expected: HashMap::new() };
        tester.start();
        for op in ops {
            tester.apply(op);
        }
    }
}
