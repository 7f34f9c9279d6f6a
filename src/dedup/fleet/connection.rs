//! The connection to the store of the fleet, with a circuit breaker. When the store fails, the circuit opens: no request
//! waits for the store, and a background task probes it until it answers in time again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{sync::watch, time::timeout};

use super::protocol::{Protocol, complaint, fleet_secret};
use crate::{
    dedup::Scopes,
    event::ScopeSecret,
    limits::{FLEET_CONNECT_TIMEOUT, FLEET_PROBE_EVERY, FLEET_PROBE_PAUSE, FLEET_SETTLE_TIMEOUT, FLEET_STEADY_AFTER},
    telemetry::Metrics,
};

/// A connection, with a number that tells it from earlier ones.
#[derive(Clone)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    number: u64,
}

/// The known state of the store.
enum State {
    /// The store answers.
    Up(Connection),
    /// The store does not answer, for this reason; `None` before the first attempt.
    Down(Option<String>),
}

/// See the module.
pub(super) struct StoreConnection {
    client: Client,
    protocol: Protocol,
    scopes: Scopes,
    deadline: Duration,
    state: watch::Sender<State>,
    metrics: Arc<Metrics>,
}

impl StoreConnection {
    /// Not connected yet; [`StoreConnection::run`] connects.
    pub(super) fn new(client: Client, protocol: Protocol, scopes: Scopes, deadline: Duration, metrics: Arc<Metrics>) -> Self {
        Self { client, protocol, scopes, deadline, state: watch::Sender::new(State::Down(None)), metrics }
    }

    /// The connection, unless the store is down.
    pub(super) fn connection(&self) -> Option<Connection> {
        match &*self.state.borrow() {
            State::Up(connection) => Some(connection.clone()),
            State::Down(_) => None,
        }
    }

    /// Why the store is down, if it is.
    pub(super) fn failing(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up(_) | State::Down(None) => None,
            State::Down(reason) => reason.clone(),
        }
    }

    /// Waits for a connection.
    pub(super) async fn when_up(&self) -> Option<Connection> {
        let mut state = self.state.subscribe();
        let up = state.wait_for(|state| matches!(state, State::Up(_))).await.ok()?;
        match &*up {
            State::Up(connection) => Some(connection.clone()),
            State::Down(_) => None,
        }
    }

    /// Waits until the first connection attempt has succeeded or failed.
    pub(super) async fn when_tried(&self) {
        let _ = self.state.subscribe().wait_for(|state| !matches!(state, State::Down(None))).await;
    }

    /// Sends a pipeline and waits for its answers, for at most `wait`. Without answers in time, this connection is not used
    /// again. The store may still execute what was sent.
    pub(super) async fn exchange(&self, connection: &Connection, pipeline: &Pipeline, wait: Duration) -> Option<Vec<Value>> {
        let mut redis = connection.redis.clone();
        match answers(&mut redis, pipeline, wait).await {
            Ok(values) => Some(values),
            Err(reason) => {
                self.fail(connection, reason);
                None
            }
        }
    }

    /// Marks the store as failed on `connection`, unless the connection has been replaced already.
    pub(super) fn fail(&self, connection: &Connection, reason: String) {
        let is_current = |state: &State| matches!(state, State::Up(current) if current.number == connection.number);
        self.state.send_if_modified(|state| {
            let fails = is_current(state);
            if fails {
                self.note_down(&reason);
                *state = State::Down(Some(reason));
            }
            fails
        });
    }

    fn note_down(&self, reason: &str) {
        self.metrics.dedup_store_up.set(0);
        tracing::warn!(
            reason,
            "the shared dedup store fails: events are accepted without asking it, and tagged, until it is back"
        );
    }

    /// Keeps the connection up; runs until it is dropped.
    pub(super) async fn run(&self) {
        let mut number = 0;
        let mut failures: u32 = 0;
        loop {
            match self.connect().await {
                Ok(redis) => {
                    number += 1;
                    let connection = Connection { redis, number };
                    let was_down = matches!(&*self.state.borrow(), State::Down(Some(_)));
                    tracing::info!(
                        "{}",
                        if was_down { "the shared dedup store is back" } else { "the shared dedup store answers" }
                    );
                    self.metrics.dedup_store_up.set(1);
                    self.state.send_replace(State::Up(connection.clone()));
                    let up_since = Instant::now();
                    self.watch(&connection).await;
                    failures = if up_since.elapsed() >= FLEET_STEADY_AFTER { 0 } else { failures.saturating_add(1) };
                }
                Err(reason) => {
                    failures = failures.saturating_add(1);
                    self.state.send_if_modified(|state| {
                        let is_news = matches!(state, State::Down(None));
                        if is_news {
                            self.note_down(&reason);
                        }
                        *state = State::Down(Some(reason));
                        is_news
                    });
                }
            }
            tokio::time::sleep(pause(failures)).await;
        }
    }

    /// Connects and probes.
    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connected = timeout(FLEET_CONNECT_TIMEOUT, connecting).await;
        let mut redis = connected
            .map_err(|_| format!("no connection within {} ms", FLEET_CONNECT_TIMEOUT.as_millis()))?
            .map_err(|error| format!("no connection: {error}"))?;
        self.probe(&mut redis, self.deadline).await?;
        Ok(redis)
    }

    async fn probe(&self, redis: &mut MultiplexedConnection, wait: Duration) -> Result<(), String> {
        let ours = self.scopes.secret();
        let values = answers(redis, &self.protocol.probe(&ours), wait).await?;
        if let Some(refusal) = values.iter().find(|value| matches!(value, Value::ServerError(_))) {
            return Err(complaint(refusal));
        }
        match values.last().map(fleet_secret).transpose()?.flatten() {
            Some(theirs) if theirs != *ours => self.adopt(theirs).await,
            _ => {}
        }
        Ok(())
    }

    /// Adopts the fleet's secret, which differs from this gateway's.
    async fn adopt(&self, secret: ScopeSecret) {
        let scopes = self.scopes.clone();
        let kept = tokio::task::spawn_blocking(move || scopes.adopt(secret)).await.map_err(std::io::Error::other).flatten();
        tracing::warn!(
            kept = kept.is_ok(),
            "this gateway takes over the dedup secret of its fleet; an event that a browser key sent to it before may be \
             accepted once more"
        );
        if let Err(error) = kept {
            tracing::error!(%error, "the dedup secret of the fleet cannot be kept; the next start asks the store again");
        }
    }

    /// Returns once the connection has failed. Probes the connection, so that a failure is found without traffic. The probe's
    /// timeout is long, because the probe waits behind the requests' commands.
    async fn watch(&self, connection: &Connection) {
        let mut state = self.state.subscribe();
        loop {
            let down = state.wait_for(|state| matches!(state, State::Down(_)));
            if timeout(FLEET_PROBE_EVERY, down).await.is_ok() {
                return;
            }
            if let Err(reason) = self.probe(&mut connection.redis.clone(), FLEET_SETTLE_TIMEOUT).await {
                self.fail(connection, reason);
            }
        }
    }
}

/// As many answers as there are commands, or the reason why not.
async fn answers(redis: &mut MultiplexedConnection, pipeline: &Pipeline, wait: Duration) -> Result<Vec<Value>, String> {
    let values = timeout(wait, redis.send_packed_commands(pipeline, 0, pipeline.len())).await;
    let values = values.map_err(|_| format!("no answer within {} ms", wait.as_millis()))?.map_err(|error| error.to_string())?;
    if values.len() != pipeline.len() {
        return Err(format!("{} answers to {} commands", values.len(), pipeline.len()));
    }
    Ok(values)
}

/// None at first, then longer after each failure in a row. Half is random, so that a fleet does not reconnect all at once.
fn pause(failures: u32) -> Duration {
    let (first, longest) = FLEET_PROBE_PAUSE;
    let bound = match failures {
        0 => Duration::ZERO,
        failures => first.saturating_mul(1 << (failures - 1).min(16)).min(longest),
    };
    bound.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let (first, longest) = FLEET_PROBE_PAUSE;
        assert_eq!(pause(0), Duration::ZERO);
        let mut bound = first;
        for failures in 1..100 {
            let pauses: Vec<Duration> = (0..200).map(|_| pause(failures)).collect();
            let (shortest, greatest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*shortest >= bound / 2 && *greatest <= bound, "{failures}: {shortest:?} to {greatest:?}, bound {bound:?}");
            // The random part spreads over most of that half.
            assert!(*greatest - *shortest > bound / 4, "{failures}: {shortest:?} to {greatest:?}");
            bound = (bound * 2).min(longest);
        }
        assert_eq!(bound, longest);
        assert!(first * 8 <= longest, "there is something to grow to");
    }
}
