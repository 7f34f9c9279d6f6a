//! The places of a key in a request.

use super::{LIMIT, bearer, event, key};
use crate::support::{
    client::{Post, Told, Wire, get_plain},
    gateway::Setup,
    metrics::Scrape,
};

fn at(path: impl Into<String>) -> Post {
    Post { path: path.into(), ..event() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_from_each_place_and_a_header_goes_before_the_path_and_the_path_before_the_query() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("lakegate.toml");
    // A slash and a blank: the key has to be escaped in an address. The base64 of `a/ b:` is YS8gYjo=.
    std::fs::write(&config, [key("odd", "a/ b", ""), key("plain", "p", "")].concat()).expect("a file");
    let setup = Setup::new(folder.path().join("data")).config(&config).set("browser.extra_path", "/menu/s");
    let gateway = setup.start().await;
    let client = gateway.client();
    let basic = |encoded: &str| event().header("authorization", format!("Basic {encoded}"));
    let good = [
        basic("YS8gYjo="),
        basic("YS8gYjpwYXNz"),
        basic("YS8gYjo"),
        bearer("p"),
        event().header("x-api-key", "p"),
        at("/k/p/v1/events"),
        at("/k/a%2F%20b/v1/events"),
        at("/k/a%2f b/v1/events".replace(' ', "%20")),
        at("/k/p//v1/events"),
        at("/k/p/menu/s"),
        at("/v1/events?key=a%2F%20b"),
        at("/k/p/v1/events?key=nobody"),
        at("/k/nobody/v1/events").header("x-api-key", "p"),
        at("/k/nobody/v1/events?key=nobody").header("authorization", "Basic cDo="),
        // A place without a key is passed over.
        at("/k//v1/events?key=p"),
        at("/k/p/v1/events").header("authorization", "Basic OnA=").header("x-api-key", ""),
        at("/k/p/v1/events").header("authorization", "Digest username=\"x\""),
    ];
    for wire in [Wire::H1, Wire::H2] {
        for post in &good {
            let fresh = Post { body: event().body, ..post.clone() };
            let answer = client.post(wire, &fresh).await.expect("an answer");
            assert_eq!((answer.status, answer.told(1)), (202, vec![Told::Accepted]), "{wire:?} {post:?}");
        }
        for (post, code) in [
            (basic("bm9ib2R5Og=="), "unknown_key"),
            (at("/k/nobody/v1/events"), "unknown_key"),
            (at("/k/p/v1/events").header("x-api-key", "nobody"), "unknown_key"),
            (at("/k/nobody/v1/events?key=p"), "unknown_key"),
            (at("/k/%ff/v1/events"), "missing_key"),
            (at("/k//v1/events"), "missing_key"),
            // The password is no key, and neither is what is no base64 or no UTF-8.
            (basic("OnA="), "missing_key"),
            (basic("p"), "missing_key"),
            (basic("/zo="), "missing_key"),
            (at("/k/p"), "not_found"),
            (at("/k/p/"), "not_found"),
            (at("/k/p/k/p/v1/events"), "not_found"),
            (at("/K/p/v1/events"), "not_found"),
        ] {
            let answer = client.post(wire, &post).await.expect("an answer");
            assert_eq!(answer.problem_code(), code, "{wire:?} {post:?}");
            assert!(code != "missing_key" || answer.text().contains("the password is not read"), "{answer:?}");
            // A browser that is offered Basic asks the visitor of the page for a password.
            assert!(!answer.header("www-authenticate").contains("Basic"), "{answer:?}");
        }
    }
    // Any other path of the listener.
    for (method, path, status) in [
        ("GET", "/k/p/healthz", 200),
        ("GET", "/k/p/readyz", 200),
        ("GET", "/k/p/v1/schemas", 200),
        ("GET", "/k/p/v1/schemas/menu:item:ordered/1", 200),
        ("OPTIONS", "/k/p/v1/events", 204),
        ("GET", "/k/p/v1/events", 405),
        ("GET", "/k/p/v1/pixel.gif?event_name=mail:opened", 422),
        ("GET", "/k/nobody/v1/pixel.gif?event_name=mail:opened", 401),
        ("GET", "/k/p/metrics", 404),
    ] {
        assert_eq!(client.ask(method, path, &[]).await.expect("an answer").status, status, "{method} {path}");
    }
    // The listener for operators has no keys.
    assert_eq!(get_plain(gateway.admin(), "/k/p/metrics").await.expect("an answer").status, 404);
    let scrape = Scrape::when("the requests are counted by their route", &gateway, |scrape| {
        scrape.sum("requests", "route=\"/v1/events\",status=\"202\"") == 2 * (good.len() as i64 - 1)
    })
    .await;
    assert_eq!(scrape.sum("requests", "route=\"extra_path\",status=\"202\""), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_of_keys_is_nobody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["/k", "/k/menu"] {
        let mut gateway = Setup::new(folder.path().join("data")).set("browser.extra_path", path).spawn();
        assert_eq!(gateway.exit_code(LIMIT).await, 78);
        assert!(gateway.has_logged("not below /v1, /k,"), "{}", gateway.log_text());
    }
}
