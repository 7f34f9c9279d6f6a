//! Requests that no key pays for: what they cost, and who pays.

use std::{fs, time::Duration};

use serde_json::json;

use super::event_of;
use crate::support::{
    client::{Answer, Client, Post, Told, Wire},
    gateway::{Gateway, Setup},
    registry,
};

/// What an address may send, in a test: nothing comes back while it runs.
const BURST: u32 = 3;

/// Behind a proxy that says who its clients are: each may send [`BURST`] requests.
async fn start(folder: &std::path::Path) -> Gateway {
    let setup = Setup::new(folder).set("proxy.trusted", "[\"127.0.0.1\"]");
    setup.set("rate_limit.address_requests_per_second", 1).set("rate_limit.address_requests_burst", BURST).start().await
}

async fn ask(client: &Client, method: &str, path: &str, from: &str) -> Answer {
    let origin = if method == "OPTIONS" { "https://menu.example" } else { "https://other.example" };
    client.ask(method, path, &[("x-forwarded-for", from), ("origin", origin)]).await.expect("an answer")
}

/// Asks until it is refused: not before [`BURST`] answers of that `status`, and not much later, since one more comes back each
/// second.
async fn until_refused(client: &Client, method: &str, path: &str, from: &str, status: u16) -> Answer {
    for number in 0..10 * BURST {
        let answer = ask(client, method, path, from).await;
        if answer.status == 429 {
            assert!(number >= BURST, "{method} {path} is refused after {number}");
            return answer;
        }
        assert_eq!(answer.status, status, "{method} {path}");
    }
    panic!("{method} {path} is never refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_no_key_pays_for_its_address_pays_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path()).await;
    let client = gateway.client();
    for (number, (method, path, status)) in [
        ("GET", "/v1/schemas", 200),
        ("HEAD", "/v1/schemas", 200),
        ("GET", "/v1/schemas/menu:section:reached", 200),
        ("GET", "/v1/schemas/menu:section:reached/1", 200),
        ("GET", "/v1/schemas/menu:section:nothing", 404),
        ("OPTIONS", "/v1/events", 204),
        ("GET", "/v1/events", 405),
        ("DELETE", "/v1/events", 405),
        ("POST", "/v1/schemas", 405),
        ("POST", "/healthz", 405),
        ("POST", "/v1/pixel.gif", 405),
        ("HEAD", "/v1/pixel.gif", 200),
        ("GET", "/", 404),
        ("POST", "/nothing/here", 404),
        // Those of events and of pixels pay as before, by their handler and once.
        ("POST", "/v1/events", 401),
    ]
    .into_iter()
    .enumerate()
    {
        let from = format!("198.51.100.{number}");
        let refused = until_refused(&client, method, path, &from, status).await;
        if path == "/v1/pixel.gif" && method == "HEAD" {
            // An image in any case.
            assert_eq!(refused.header("lakegate-code"), "rate_limited", "{refused:?}");
        } else {
            let policy = refused.header("ratelimit");
            assert!(!refused.header("retry-after").is_empty() && policy.contains("address-requests"), "{refused:?}");
        }
        if method != "HEAD" {
            assert_eq!(refused.json()["violated-policies"], json!(["address-requests"]), "{refused:?}");
        }
        // Nobody else pays for it.
        assert_eq!(ask(&client, method, path, &format!("203.0.113.{number}")).await.status, status, "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_whatever_else_comes_from_their_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path()).await;
    let client = gateway.client();
    for path in ["/healthz", "/readyz"] {
        let address = format!("192.0.2.{}", path.len());
        for _ in 0..5 * BURST {
            assert_eq!(ask(&client, "GET", path, &address).await.status, 200, "{path}");
            assert_eq!(ask(&client, "HEAD", path, &address).await.status, 200, "{path}");
        }
        // They are counted all the same.
        let first = ask(&client, "GET", "/v1/schemas", &address).await.status;
        assert!(first == 429 || ask(&client, "GET", "/v1/schemas", &address).await.status == 429);
        // Those of the proxy itself use nothing up.
        for _ in 0..5 * BURST {
            assert_eq!(client.get(path).await.expect("an answer").status, 200, "{path}");
        }
    }
    until_refused(&client, "GET", "/v1/schemas", "127.0.0.1", 200).await;
    gateway.stop().await;
}

/// What a look for the nearest name costs has an end, whoever asks and however large the registry is.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_event_can_have_costs_nothing_and_a_wrong_one_little() {
    const SCHEMAS: usize = 180;
    let folder = tempfile::tempdir().expect("a folder");
    let schemas = folder.path().join("schemas");
    fs::create_dir(&schemas).expect("a folder");
    registry::write(&schemas, SCHEMAS);
    let gateway = Setup::new(folder.path().join("data")).schemas(&schemas).start().await;
    let client = gateway.client();
    let quickest = async |path: &str| {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let started = std::time::Instant::now();
            let answer = client.get(path).await.expect("an answer");
            best = best.min(started.elapsed());
            assert_eq!((answer.status, answer.problem_code().as_str()), (404, "unknown_event"), "{}", answer.text());
        }
        best
    };
    let usual = quickest("/v1/schemas/nothing:like:it").await;
    for letters in [201, 60_000] {
        let long = "a".repeat(letters);
        for path in [format!("/v1/schemas/menu:item:{long}"), format!("/v1/schemas/menu:item:{long}/1")] {
            let took = quickest(&path).await;
            // By this build each letter compared with every name took a second.
            assert!(took < usual * 5 + Duration::from_millis(100), "{letters} letters: {took:?}, else {usual:?}");
        }
    }
    // The nearest is found all the same, also in a registry that is not compared whole, wherever the slip is.
    for wrong in ["menu:section:raeched", "mneu:section:reached", "menu:section:reache", "menu:esction:reached"] {
        let answer = client.get(&format!("/v1/schemas/{wrong}")).await.expect("an answer");
        assert!(answer.text().contains("did you mean \\\"menu:section:reached\\\""), "{wrong}: {}", answer.text());
        let answer = client.post(Wire::H1, &Post::json(event_of(&format!("\"{wrong}\""), ""))).await.expect("an answer");
        assert_eq!(answer.told(1), [Told::Rejected("unknown_event".into())]);
        assert!(answer.text().contains("did you mean \\\"menu:section:reached\\\""), "{wrong}: {}", answer.text());
    }
    // A field of a name as long as an event may be is compared with none.
    let long = format!(",\"{}\":1", "section_id".repeat(50_000));
    let started = std::time::Instant::now();
    let answer = client.post(Wire::H1, &Post::json(event_of("\"menu:section:reached\"", &long))).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Rejected("schema_violation".into())]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    gateway.stop().await;
}

/// An answer is what its `Content-Type` says, and a cache that holds one for a page does not give it to another page.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_it_is_and_what_it_depends_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let client = gateway.client();
    for (method, path) in [
        ("GET", "/v1/schemas"),
        ("GET", "/v1/schemas/menu:section:reached"),
        ("GET", "/v1/schemas/menu:section:nothing"),
        ("GET", "/v1/pixel.gif"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/nothing"),
        ("GET", "/v1/events"),
        ("OPTIONS", "/v1/events"),
        ("POST", "/v1/events"),
    ] {
        for origin in [None, Some("https://menu.example")] {
            let headers: Vec<(&'static str, &str)> = origin.iter().map(|origin| ("origin", *origin)).collect();
            let answer = client.ask(method, path, &headers).await.expect("an answer");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{method} {path}");
            // An answer to POST is in no cache.
            let depends = if method == "POST" && origin.is_none() { "" } else { "Origin" };
            assert_eq!(answer.header("vary"), depends, "{method} {path} {origin:?}: {answer:?}");
        }
    }
    gateway.stop().await;
}
