//! Faults that a test asks for: answers with an error, slow answers, a sink that is down. Each lasts for a time, or until the reset.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::limits::DEV_LATENCY_MAX;

/// The faults in force. A new one of a kind replaces the last of this kind.
#[derive(Debug, Default)]
pub struct Faults(Mutex<InForce>);

#[derive(Debug, Default)]
struct InForce {
    status: Option<Timed<Fault>>,
    latency: Option<Timed<Duration>>,
    sink_down: Option<Timed<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Timed<T> {
    what: T,
    /// `None`: until the reset.
    until: Option<Instant>,
}

impl<T: Copy> Timed<T> {
    fn now(timed: Option<Self>) -> Option<T> {
        timed.filter(|timed| timed.until.is_none_or(|until| Instant::now() < until)).map(|timed| timed.what)
    }
}

/// The answer to each request for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its status: 400 to 599.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
}

/// What a test asks for: `{"status": 503, "for_ms": 4000}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Each request is answered with this status, and its events are not taken.
    pub status: Option<u16>,
    /// The `Retry-After` of these answers, in seconds.
    pub retry_after: Option<u32>,
    /// Each request is answered so much later.
    pub latency_ms: Option<u64>,
    /// `down`: nothing is delivered, and accepted events wait in the spool.
    pub sink: Option<String>,
    /// How long it lasts; until the reset if it is absent.
    pub for_ms: Option<u64>,
}

/// The faults in force, as a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Faulty {
    status: Option<u16>,
    latency_ms: Option<u64>,
    sink: &'static str,
}

/// Why a fault cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Nothing is asked for.
    #[error("nothing is asked for: \"status\", \"latency_ms\" and \"sink\" can be")]
    Nothing,
    /// No status of an error.
    #[error("{0} is no status of an error: 400 to 599 are")]
    Status(u16),
    /// `retry_after` without a status.
    #[error("\"retry_after\" belongs to a \"status\"")]
    RetryAfter,
    /// Too long.
    #[error("\"latency_ms\" is at most {}", DEV_LATENCY_MAX.as_millis())]
    Latency,
    /// No state of a sink.
    #[error("\"sink\" can be \"down\" or \"up\", not {0:?}")]
    Sink(String),
}

impl Faults {
    /// Puts faults into force.
    ///
    /// # Errors
    /// [`FaultError`]; then nothing changes.
    pub fn ask(&self, asked: &Asked) -> Result<(), FaultError> {
        let Asked { status, retry_after, latency_ms, sink, for_ms } = asked;
        if status.is_none() && latency_ms.is_none() && sink.is_none() {
            return Err(if retry_after.is_some() { FaultError::RetryAfter } else { FaultError::Nothing });
        }
        if let Some(status) = status.filter(|status| !(400..600).contains(status)) {
            return Err(FaultError::Status(status));
        }
        if retry_after.is_some() && status.is_none() {
            return Err(FaultError::RetryAfter);
        }
        let latency = latency_ms.map(Duration::from_millis);
        if latency.is_some_and(|latency| latency > DEV_LATENCY_MAX) {
            return Err(FaultError::Latency);
        }
        let is_down = match sink.as_deref() {
            None => None,
            Some("down") => Some(true),
            Some("up") => Some(false),
            Some(other) => return Err(FaultError::Sink(other.to_owned())),
        };
        // A time beyond the end of time is none.
        let until = for_ms.and_then(|millis| Instant::now().checked_add(Duration::from_millis(millis)));
        let mut in_force = self.lock();
        if let Some(status) = *status {
            in_force.status = Some(Timed { what: Fault { status, retry_after: *retry_after }, until });
        }
        if let Some(what) = latency {
            in_force.latency = Some(Timed { what, until });
        }
        if let Some(is_down) = is_down {
            in_force.sink_down = is_down.then_some(Timed { what: (), until });
        }
        Ok(())
    }

    /// Waits as long as a request is to be slow. Returns the answer if it is to be an error.
    pub async fn strike(&self) -> Option<Fault> {
        let (latency, status) = {
            let in_force = self.lock();
            (Timed::now(in_force.latency), Timed::now(in_force.status))
        };
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        status
    }

    /// Whether nothing is to be delivered.
    #[must_use]
    pub fn is_sink_down(&self) -> bool {
        Timed::now(self.lock().sink_down).is_some()
    }

    /// The faults in force.
    #[must_use]
    pub fn now(&self) -> Faulty {
        let in_force = self.lock();
        Faulty {
            status: Timed::now(in_force.status).map(|fault| fault.status),
            latency_ms: Timed::now(in_force.latency).map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            sink: if Timed::now(in_force.sink_down).is_some() { "down" } else { "up" },
        }
    }

    /// Ends all of them.
    pub fn reset(&self) {
        *self.lock() = InForce::default();
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(faults: &Faults, json: &str) -> Result<(), FaultError> {
        faults.ask(&serde_json::from_str(json).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_lasts_for_its_time_or_until_the_reset() {
        let faults = Faults::default();
        assert_eq!((faults.strike().await, faults.is_sink_down()), (None, false));
        ask(&faults, r#"{"status":503,"retry_after":2,"for_ms":4000}"#).unwrap();
        ask(&faults, r#"{"sink":"down"}"#).unwrap();
        assert_eq!(faults.strike().await, Some(Fault { status: 503, retry_after: Some(2) }));
        ask(&faults, r#"{"latency_ms":3000,"for_ms":3500}"#).unwrap();
        let before = Instant::now();
        assert_eq!(faults.strike().await.map(|fault| fault.status), Some(503), "as when the request came");
        assert_eq!(before.elapsed(), Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(faults.strike().await, None);
        assert_eq!(before.elapsed(), Duration::from_secs(4), "and fast again");
        assert!(faults.is_sink_down());
        assert_eq!(faults.now(), Faulty { status: None, latency_ms: None, sink: "down" });
        ask(&faults, r#"{"sink":"up"}"#).unwrap();
        assert!(!faults.is_sink_down());
        ask(&faults, r#"{"status":429}"#).unwrap();
        faults.reset();
        assert_eq!(faults.strike().await, None);
    }

    #[test]
    fn what_cannot_be_had_is_said_and_changes_nothing() {
        let faults = Faults::default();
        for (json, error) in [
            ("{}", FaultError::Nothing),
            (r#"{"for_ms":1}"#, FaultError::Nothing),
            (r#"{"status":200}"#, FaultError::Status(200)),
            (r#"{"status":600,"sink":"down"}"#, FaultError::Status(600)),
            (r#"{"retry_after":1}"#, FaultError::RetryAfter),
            (r#"{"latency_ms":600000}"#, FaultError::Latency),
            (r#"{"sink":"away"}"#, FaultError::Sink("away".into())),
        ] {
            assert_eq!(ask(&faults, json), Err(error), "{json}");
        }
        assert_eq!(faults.now(), Faulty { status: None, latency_ms: None, sink: "up" });
        assert!(serde_json::from_str::<Asked>(r#"{"statuss":503}"#).is_err());
    }
}
