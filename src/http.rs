//! The table of contents of the HTTP interface: routes, and the layers around them.

mod address_rate_limit;
mod answer;
mod authorize;
mod body;
mod cached;
mod client_address;
mod console;
mod console_state;
mod cors;
mod dead_letters;
mod endless;
mod erasures;
mod error_page;
mod events;
mod fast_path;
mod find;
mod gate;
mod health;
mod key_expiry;
mod key_in_path;
mod keys;
mod ledger;
mod middleware;
mod not_found;
mod operator;
mod operator_turns;
mod opt_out;
mod overview;
mod pixel;
mod polls;
mod preferences;
pub mod problem;
mod query;
mod rate_headers;
mod request_log;
mod retry_after;
mod rig;
mod run_to_completion;
mod schemas;
pub mod server;
mod tail;
mod unread_body;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::HeaderValue,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;

pub use client_address::{Peer, Proxies};
pub use console_state::{Console, FirstEvent};
pub use fast_path::FastPath;
pub use gate::{Gate, Policy};
pub use health::look;
use middleware::{Middleware, Serves};
pub use operator::exposition;
pub use operator_turns::Turns;
pub use polls::Polls;

/// The listener for events. Each path may begin with `/k/<key>`: see `key_in_path.rs`. `extra_path` is an additional path for events, if not empty. `hsts_seconds` is how long browsers
/// must use HTTPS only, if not 0.
#[must_use]
pub fn for_events(gate: Arc<Gate>, extra_path: &str, hsts_seconds: u64) -> FastPath {
    let mut routes = Router::new()
        .route("/v1/events", post(events::post).options(cors::preflight))
        .route("/v1/pixel.gif", get(pixel::get))
        .route("/v1/schemas", get(schemas::list))
        .route("/v1/schemas/{event_name}", get(schemas::newest))
        .route("/v1/schemas/{event_name}/{version}", get(schemas::version))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/errors", get(error_page::errors))
        .route("/openapi.yaml", get(error_page::contract))
        .fallback(not_found::for_events);
    if !extra_path.is_empty() {
        routes = routes.route(extra_path, post(events::post).get(pixel::get).options(cors::preflight));
    }
    let hsts = (hsts_seconds > 0).then(|| HeaderValue::try_from(format!("max-age={hsts_seconds}")).ok()).flatten();
    layered(routes, Middleware { gate, serves: Serves::Events, hsts })
}

/// The listener for operators. They must call it by an address, by a name without a dot, or by one of `hosts`.
#[must_use]
pub fn for_operators(gate: Arc<Gate>, hosts: &[String]) -> FastPath {
    let routes = Router::new()
        // A scrape is some hundred lines; gzip reduces them to a tenth.
        .route("/metrics", get(operator::metrics).layer(CompressionLayer::new()))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/errors", get(error_page::errors))
        .route("/openapi.yaml", get(error_page::contract))
        .route("/admin/dead-letters", get(dead_letters::list))
        .route("/admin/dead-letters/letters", get(dead_letters::show))
        .route("/admin/dead-letters/replay", post(dead_letters::replay))
        .route("/admin/dead-letters/drop", post(dead_letters::drop))
        .route("/admin/events/{event_uuid}", get(find::get))
        .route("/admin/ledger", get(ledger::get))
        .route("/admin/erasures", post(erasures::post))
        .route("/admin/tail", get(tail::get))
        .route("/", get(console::page))
        .route("/console/{file}", get(console::file))
        .route("/admin/console", get(console::settings))
        .route("/admin/overview", get(overview::get))
        .route("/admin/fleet", get(overview::fleet))
        .route("/admin/keys", get(keys::get))
        .route("/admin/schemas/{event_name}/diff", get(schemas::diff))
        .route("/v1/schemas", get(schemas::list))
        .route("/v1/schemas/{event_name}", get(schemas::newest))
        .route("/v1/schemas/{event_name}/{version}", get(schemas::version))
        .fallback(not_found::for_operators);
    let routes = if gate.rig.is_some() { rig::routes(routes) } else { routes };
    layered(routes, Middleware { gate, serves: Serves::Operators { hosts: hosts.into() }, hsts: None })
}

fn layered(routes: Router<Arc<Gate>>, middleware: Middleware) -> FastPath {
    let gate = middleware.gate.clone();
    // From the outermost inwards.
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(middleware.clone(), middleware::layer))
        // Bodies have their own limit: see `http/body.rs`.
        .layer(DefaultBodyLimit::disable());
    let routes = routes.method_not_allowed_fallback(not_found::wrong_method);
    FastPath::new(middleware, routes.with_state(gate).layer(layers))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    /// For tests of code that reads headers.
    pub(super) fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }
}
