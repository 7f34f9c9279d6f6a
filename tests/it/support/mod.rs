//! What the black-box tests share: the real program as a process, clients that speak TLS to it, events by seed, and
//! readers of what it left on disk that use none of its own code.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]

pub mod client;
pub mod events;
pub mod faults;
pub mod gateway;
pub mod haproxy;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod kinesis;
pub mod lake_commands;
pub mod lines;
pub mod metrics;
pub mod namespace;
pub mod outage;
pub mod readback;
pub mod registry;
#[cfg(feature = "s3")]
pub mod s3;
pub mod sender;
pub mod store;
pub mod streaming;
pub mod typed_tables;

use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Says something on the terminal even where the test passes: figures, seeds, and why a part was not run.
pub fn say(text: impl std::fmt::Display) {
    // `eprintln!` would be captured.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A test, or a part of it, that cannot be run here, with the reason. Where everything is required, as in CI, it fails;
/// elsewhere it says so on the terminal. `LAKEGATE_REQUIRE_ALL=1` requires everything, and `=0` does not, also where `CI` is set.
///
/// # Panics
/// Where everything is required.
pub fn cannot_run(what: &str, reason: impl std::fmt::Display) {
    let is_set = |variable: &str| std::env::var(variable).ok().map(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let required = is_set("LAKEGATE_REQUIRE_ALL").or_else(|| is_set("CI")).unwrap_or(false);
    assert!(!required, "{what} cannot be tested, and everything is required here: {reason}");
    say(format_args!("NOT RUN, {what} cannot be tested here: {reason}"));
}

/// Waits until `condition` holds; panics, saying `what` was awaited, when it does not within `limit`.
pub async fn eventually(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < limit, "waited {limit:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The seed of this run: what the variable says, else a new one. It is printed, so that a failure can be run again.
pub fn seed(variable: &str) -> u64 {
    let seed = std::env::var(variable).ok().map_or_else(|| fastrand::u64(..), |text| text.parse().expect("a seed is a u64"));
    say(format_args!("{variable}={seed}"));
    seed
}
