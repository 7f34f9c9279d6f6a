//! A gateway that is watched: its last answer, and what happened between its last two.

use std::time::Instant;

use serde::Deserialize;

use crate::telemetry::{Exposition, Interval};

/// A reason of `/readyz`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) blocks: bool,
    #[serde(default)]
    pub(crate) place: String,
    pub(crate) detail: String,
}

/// What `/readyz` says, as far as it is not in the metrics.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<Reason>,
}

/// The answer of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    pub(crate) at: Instant,
    pub(crate) exposition: Exposition,
    pub(crate) readiness: Readiness,
}

/// A gateway that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Its address, for people.
    pub(crate) label: String,
    /// Its last answer.
    pub(crate) last: Option<Polled>,
    /// What happened between its last two answers, if the last poll was answered.
    pub(crate) interval: Option<Interval>,
    /// Why the last poll was not answered, if so.
    pub(crate) error: Option<String>,
}

impl Watched {
    /// One that was not asked yet.
    pub(crate) fn new(label: String) -> Self {
        Self { label, last: None, interval: None, error: None }
    }

    /// Takes the answer to a poll, or the reason why there is none.
    pub(crate) fn take(&mut self, answer: Result<Polled, String>) {
        match answer {
            Ok(polled) => {
                self.interval = Some(match &self.last {
                    Some(last) => Interval::between(&last.exposition, &polled.exposition, polled.at - last.at),
                    None => Interval::first(&polled.exposition),
                });
                (self.last, self.error) = (Some(polled), None);
            }
            // The last answer stays: what happens until the next one is counted from there.
            Err(error) => (self.interval, self.error) = (None, Some(error)),
        }
    }
}
