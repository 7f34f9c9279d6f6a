//! The answers to a wrong path and to a wrong method: they name the right one.

use axum::http::{Method, Uri};

use super::{
    key_in_path::without_key,
    problem::{Problem, ProblemCode},
};
use crate::{json::quoted, limits::SUGGESTION_BYTES_MAX};

/// A path, and how it is called.
struct Route {
    method: &'static str,
    path: &'static str,
}

const fn route(method: &'static str, path: &'static str) -> Route {
    Route { method, path }
}

/// The routes for senders. The configured extra path is not among them, because an answer must not give it away.
const EVENTS: [Route; 7] = [
    route("POST", "/v1/events"),
    route("GET", "/v1/pixel.gif"),
    route("GET", "/v1/schemas"),
    route("GET", "/healthz"),
    route("GET", "/readyz"),
    route("GET", "/errors"),
    route("GET", "/openapi.yaml"),
];

/// The routes for operators that senders do not have.
const OPERATORS: [Route; 9] = [
    route("GET", "/metrics"),
    route("GET", "/admin/dead-letters"),
    route("GET", "/admin/dead-letters/letters"),
    route("POST", "/admin/dead-letters/replay"),
    route("POST", "/admin/dead-letters/drop"),
    route("POST", "/admin/erasures"),
    route("GET", "/admin/overview"),
    route("GET", "/admin/ledger"),
    route("GET", "/admin/tail"),
];

/// The routes that only the listener for events has.
const SENDERS_ONLY: [&str; 2] = ["/v1/events", "/v1/pixel.gif"];

/// The answer of the listener for events to a path that does not exist.
pub(super) async fn for_events(uri: Uri) -> Problem {
    let path = uri.path();
    if let Some(found) = same(path, &OPERATORS) {
        return nothing_at(path, &format!("{} is on the listener for operators (`admin.listen`)", found.path));
    }
    match nearest(path, EVENTS.iter()) {
        Some(Route { method, path: right }) => nothing_at(path, &format!("did you mean {method} {right}?")),
        None => nothing_at(path, "POST /v1/events takes events"),
    }
}

/// The answer of the listener for operators to a path that does not exist.
pub(super) async fn for_operators(uri: Uri) -> Problem {
    let path = uri.path();
    let is_shared = |route: &&Route| !SENDERS_ONLY.contains(&route.path);
    if let Some(found) = nearest(path, EVENTS.iter()).filter(|found| SENDERS_ONLY.contains(&found.path)) {
        return nothing_at(path, &format!("{} is on the listener for events (`http.listen`)", found.path));
    }
    match nearest(path, OPERATORS.iter().chain(EVENTS.iter().filter(is_shared))) {
        Some(Route { method, path: right }) => nothing_at(path, &format!("did you mean {method} {right}?")),
        None => nothing_at(path, "this is the listener for operators: GET / is the console; GET /readyz, GET /metrics"),
    }
}

fn nothing_at(path: &str, hint: &str) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is nothing at {}; {hint}", quoted(&without_key(path))))
}

/// The answer to a method that the path does not have.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    let right = same(path, &EVENTS).or_else(|| same(path, &OPERATORS));
    // The extra path, and the schema of one event.
    let Some(right) = right else {
        return Problem::new(ProblemCode::MethodNotAllowed, "the path has other methods: see Allow");
    };
    let detail = match right.path {
        "/v1/events" => format!(
            "{path} takes events by POST, not {method}: curl -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \
             --data-binary @event.json URL; what an event is: /openapi.yaml"
        ),
        _ => format!("{path} takes no {method}: use {}", right.method),
    };
    Problem::new(ProblemCode::MethodNotAllowed, detail)
}

/// The route that `path` names but for case and slashes.
fn same<'r>(path: &str, routes: &'r [Route]) -> Option<&'r Route> {
    let path = plain(path)?;
    routes.iter().find(|route| route.path[1..] == path)
}

/// The route nearest to `path`: the same but for case and slashes, or the same last part, or one that is spelled much alike.
fn nearest<'r>(path: &str, routes: impl Iterator<Item = &'r Route> + Clone) -> Option<&'r Route> {
    let path = plain(path)?;
    let last = last_part(&path);
    let likeness = |route: &Route| {
        let right = &route.path[1..];
        if right == path {
            return 3.0;
        }
        let of_last = strsim::jaro_winkler(last_part(right), last);
        of_last.max(strsim::jaro_winkler(right, &path))
    };
    let alike = routes.map(|route| (likeness(route), route)).filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, route)| route)
}

/// Likeness from which a path is worth naming; 1.0 is equality. `event` has 0.97 to `events`, `ready` 0.97 to `readyz`, and
/// `login` below 0.6 to all.
const LIKENESS_MIN: f64 = 0.85;

/// The path in lower case, without doubled and outer slashes. `None` if it is too long to be compared.
fn plain(path: &str) -> Option<String> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    (path.len() <= SUGGESTION_BYTES_MAX).then(|| parts.collect::<Vec<_>>().join("/").to_ascii_lowercase())
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(path: &str) -> Option<&'static str> {
        nearest(path, EVENTS.iter()).map(|route| route.path)
    }

    #[test]
    fn a_path_that_is_nearly_right_is_told_the_right_one() {
        for path in [
            "/events",
            "/event",
            "/v1/event",
            "/v1/events/",
            "/V1/Events",
            "//v1//events",
            "/v2/events",
            "/api/events",
            "/api/v1/events/",
            "/v1/evnets",
        ] {
            assert_eq!(meant(path), Some("/v1/events"), "{path}");
        }
        for (path, right) in [
            ("/pixel.gif", "/v1/pixel.gif"),
            ("/v1/pixel", "/v1/pixel.gif"),
            ("/schemas", "/v1/schemas"),
            ("/v1/schema", "/v1/schemas"),
            ("/health", "/healthz"),
            ("/ready", "/readyz"),
            ("/error", "/errors"),
            ("/openapi.yml", "/openapi.yaml"),
            ("/openapi.json", "/openapi.yaml"),
        ] {
            assert_eq!(meant(path), Some(right), "{path}");
        }
        for path in ["/", "/v1", "/login", "/wp-admin/setup.php", &"/v1/events".repeat(100)] {
            assert_eq!(meant(path), None, "{path}");
        }
    }
}
