//! The last poll of gateways, from which the next one makes rates. Nobody looks: nothing is polled.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::{
    limits::{OVERVIEW_INTERVAL_MAX, OVERVIEW_KEPT},
    overview::{Polled, Report, Watched},
};

/// The gateways that a page of the console looks at, and the document that it was sent last.
#[derive(Debug, Default)]
pub struct Polls(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    polled: Option<Instant>,
    watched: Vec<Watched>,
    document: Bytes,
}

impl Polls {
    /// The figures of now, or of a moment ago if somebody asked then. `ask` polls the gateways of these names, in their order. One
    /// poll at a time: others wait for it, and are told the same.
    pub(super) async fn report(&self, names: &[String], ask: impl AsyncFnOnce() -> Vec<Result<Polled, String>>) -> Bytes {
        let mut recent = self.0.lock().await;
        let age = recent.polled.map(|polled| polled.elapsed());
        if age.is_some_and(|age| age < OVERVIEW_KEPT) {
            return recent.document.clone();
        }
        if age.is_none_or(|age| age > OVERVIEW_INTERVAL_MAX) {
            recent.watched = names.iter().cloned().map(Watched::new).collect();
        }
        let answers = ask().await;
        recent.watched.iter_mut().zip(answers).for_each(|(watched, answer)| watched.take(answer));
        recent.polled = Some(Instant::now());
        // Cannot fail: only texts and numbers are written.
        recent.document = serde_json::to_vec(&Report::of(&recent.watched)).unwrap_or_default().into();
        recent.document.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        overview::Readiness,
        telemetry::{Exposition, Metrics},
    };

    #[tokio::test]
    async fn who_asks_again_at_once_is_told_the_same_and_costs_no_poll() {
        let (polls, metrics) = (Polls::default(), Metrics::new());
        let asked = std::cell::Cell::new(0);
        let ask = async || {
            asked.set(asked.get() + 1);
            let exposition = Exposition::parse(&metrics.exposition()).unwrap();
            vec![Ok(Polled { at: Instant::now(), exposition, readiness: Readiness::default() })]
        };
        let names = ["here".to_owned()];
        let first = polls.report(&names, ask).await;
        assert_eq!((polls.report(&names, ask).await, asked.get()), (first.clone(), 1));
        let document = |bytes: &Bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(document(&first)["events"]["received_per_second"], serde_json::Value::Null, "nothing is known of rates yet");
        // A moment later the rate is known; long after, it begins anew.
        for (age, is_known) in [(OVERVIEW_KEPT, true), (OVERVIEW_INTERVAL_MAX * 2, false)] {
            let before = Instant::now().checked_sub(age).expect("the machine runs for longer");
            polls.0.lock().await.polled = Some(before);
            let report = document(&polls.report(&names, ask).await);
            assert_eq!(report["events"]["received_per_second"].is_number(), is_known, "{report}");
        }
        assert_eq!(asked.get(), 3);
    }
}
