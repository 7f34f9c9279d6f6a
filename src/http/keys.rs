//! `GET /admin/keys`: the keys in force, and what each sent, for the console. No secret is among it, and no part of its hash.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    Gate, operator,
    problem::{Problem, ProblemCode},
};
use crate::{
    auth::Source,
    clock::coarse_unix_seconds,
    event::iso_millis,
    limits::CONSOLE_KEYS_MAX,
    telemetry::{Metrics, RefusedRequest, SecretInForce, SourceOutcome},
};

#[derive(Serialize)]
struct List {
    /// By name.
    keys: Vec<Key>,
    /// Whether there are more.
    truncated: bool,
}

/// A key. Counts are since the start of the gateway.
#[derive(Serialize)]
struct Key {
    name: String,
    /// `browser` or `server`.
    kind: &'static str,
    enabled: bool,
    secrets: Vec<Secret>,
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    retry: u64,
    /// Requests that were refused as a whole, by code; the most frequent first.
    refused_requests: Vec<Refused>,
}

/// A secret of a key, by its times alone.
#[derive(Serialize)]
struct Secret {
    /// `None`: not since the start.
    last_used: Option<String>,
    not_after: Option<String>,
    expired: bool,
}

#[derive(Serialize)]
struct Refused {
    code: &'static str,
    count: u64,
}

/// Lists the keys.
pub(super) async fn get(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    operator::authorize(&request.into_parts().0)?;
    let _turn = gate.turns.question()?;
    let policy = gate.policy.load();
    let mut secrets: HashMap<Arc<str>, Vec<Secret>> = HashMap::new();
    for secret in policy.keys.secrets_in_force() {
        secrets.entry(secret.key.clone()).or_default().push(Secret::of(&secret, coarse_unix_seconds()));
    }
    let mut sources: Vec<&Arc<Source>> = policy.keys.sources().collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let truncated = sources.len() > CONSOLE_KEYS_MAX;
    sources.truncate(CONSOLE_KEYS_MAX);
    let key = |source: &Arc<Source>| Key::of(source, secrets.remove(&source.name).unwrap_or_default(), &gate.metrics);
    Ok(Json(List { keys: sources.into_iter().map(key).collect(), truncated }).into_response())
}

impl Secret {
    fn of(secret: &SecretInForce, now: i64) -> Self {
        let time = |seconds: i64| iso_millis(seconds.saturating_mul(1000)).as_str().to_owned();
        let last_used = secret.usage.last_used();
        Self {
            last_used: (last_used > 0).then(|| time(last_used)),
            not_after: secret.not_after.map(time),
            expired: secret.not_after.is_some_and(|not_after| now >= not_after),
        }
    }
}

impl Key {
    fn of(source: &Source, secrets: Vec<Secret>, metrics: &Metrics) -> Self {
        let events = |outcome| {
            let counter = metrics.events.get(&SourceOutcome { source: source.name.clone(), outcome });
            counter.map_or(0, |counter| counter.get())
        };
        let refused = ProblemCode::ALL.into_iter().filter_map(|code| {
            let labels = RefusedRequest { source: source.name.clone(), code: code.as_str() };
            Some(Refused { code: code.as_str(), count: metrics.refused_requests.get(&labels)?.get() })
        });
        let mut refused_requests: Vec<Refused> = refused.collect();
        refused_requests.sort_by_key(|refused| std::cmp::Reverse(refused.count));
        Self {
            name: source.name.to_string(),
            kind: if source.is_public() { "browser" } else { "server" },
            enabled: source.is_enabled(),
            secrets,
            accepted: events("accepted"),
            duplicate: events("duplicate"),
            rejected: events("rejected"),
            retry: events("retry"),
            refused_requests,
        }
    }
}
