//! What libFuzzer gets (`make fuzz`), in short and without it: the corpus, and for a few seconds mutations of it by seed.

#[path = "../../fuzz/harness.rs"]
#[allow(dead_code, reason = "the targets name each function, this goes by the list")]
mod harness;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use self::harness::TARGETS;
use fastrand::Rng;

use crate::support::{say, seed};

/// Time for the mutations of one target.
const TIME: Duration = Duration::from_secs(3);

/// Inputs made from `corpus`, for ever.
fn mutated(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(0..=input.len());
        match rng.u8(0..6) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.splice(at..at, (0..rng.usize(1..9)).map(|_| rng.u8(..)).collect::<Vec<_>>())),
            3 => drop(input.drain(at..(at + rng.usize(0..17)).min(input.len()))),
            // What means something in one place may mean something else in another.
            4 => {
                let other = rng.choice(corpus).cloned().unwrap_or_default();
                let from = rng.usize(0..=other.len());
                input.splice(at..at, other[from..(from + rng.usize(0..65)).min(other.len())].iter().copied());
            }
            _ => {
                let piece = rng.choice(PIECES).copied().unwrap_or_default();
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
    input
}

/// What parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud83d\\ude00",
    b"\\udead",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\x00",
    b"\xef\xbb\xbf",
    b"\xff",
    b"1e999",
    b"-0",
    b"0.1e+5",
    b"\"source\":1,",
    b"\"event_uuid\":",
    b"\xe2\x80\xa8",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
];

fn check(target: &str, run: fn(&[u8]), input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
    assert!(outcome.is_ok(), "{target} fails on {:?}; keep it in fuzz/corpus/{target}/", input.escape_ascii().to_string());
}

#[test]
fn no_bytes_of_anybody_break_a_promise() {
    for (target, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(corpus.len() >= 5, "{} holds next to nothing", folder.display());
        corpus.iter().for_each(|input| check(target, run, input));
        let mut rng = Rng::with_seed(seed("LAKEGATE_FUZZ_SEED"));
        let (started, mut runs) = (Instant::now(), 0);
        while started.elapsed() < TIME {
            check(target, run, &mutated(&mut rng, &corpus));
            runs += 1;
        }
        assert!(runs > 100, "{target}: {runs} runs in {TIME:?}");
        say(format_args!("{target}: {} files, {runs} mutations", corpus.len()));
    }
}
