//! What web pages and mails meet: leave to send, leave to read, the pixel, and respect for those who opt out.

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fastrand::Rng;
use sha2::{Digest, Sha256};

use crate::support::{
    client::{Answer, Client, Post, Told, Wire},
    events::{self, Form},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    readback::{DeadLetter, LakeRows, dead_letters},
};

const PAGE: &str = "https://menu.example";
const OTHER_PAGE: &str = "https://other.example";
const EVIL: &str = "https://evil.example";

fn key(name: &str, more: &str) -> String {
    let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
}

/// A gateway whose keys are called as their secrets.
async fn start(folder: &Path, more: &str) -> Gateway {
    let keys = [
        key("menu", &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]\nallowed_events = [\"menu:*\"]")),
        key("other", &format!("kind = \"browser\"\nallowed_origins = [\"{OTHER_PAGE}\"]")),
        key("service", ""),
    ];
    let config = folder.join("lakegate.toml");
    std::fs::write(&config, format!("{more}\n{}", keys.concat())).expect("a file");
    Setup::new(folder.join("data")).config(config).set("lake.flush_age_ms", 50).start().await
}

fn event() -> Vec<u8> {
    events::small(events::identity(&mut Rng::new()))
}

/// An event as `navigator.sendBeacon` sends it.
fn beacon(key: &str, origin: &str) -> Post {
    let mut post = Post::events(event()).without("x-api-key").header("content-type", "text/plain;charset=UTF-8");
    post.path = format!("/v1/events?key={key}");
    post.header("origin", origin).header("cookie", "session=1")
}

async fn send(client: &Client, post: &Post) -> Answer {
    client.post(Wire::H2, post).await.expect("an answer")
}

fn assert_readable(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), origin, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), "true", "{answer:?}");
    assert_eq!(answer.header("vary").to_ascii_lowercase(), "origin", "{answer:?}");
    let exposed = answer.header("access-control-expose-headers");
    for name in ["Retry-After", "RateLimit", "X-Request-Id"] {
        assert!(exposed.split(", ").any(|found| found == name), "{name} in {answer:?}");
    }
}

fn assert_unreadable(answer: &Answer) {
    for name in ["access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"] {
        assert_eq!(answer.header(name), "", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sends_and_reads_where_its_key_is_for_it_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path(), "").await;
    let client = gateway.client();
    // Without a preflight, with the credentials that beacons always send.
    let answer = send(&client, &beacon("menu", PAGE)).await;
    assert_eq!(answer.told(1), [Told::Accepted]);
    assert_readable(&answer, PAGE);
    // The key of another page: refused, in words that this page's developer can read.
    let answer = send(&client, &beacon("other", PAGE)).await;
    assert_eq!((answer.status, answer.problem_code().as_str()), (403, "origin_not_allowed"), "{answer:?}");
    assert_readable(&answer, PAGE);
    for post in [beacon("menu", EVIL), beacon("menu", "null"), beacon("menu", PAGE).without("origin")] {
        let answer = send(&client, &post).await;
        assert_eq!((answer.status, answer.problem_code().as_str()), (403, "origin_not_allowed"), "{answer:?}");
        assert_unreadable(&answer);
    }
    // Other errors are read as well: a body that is none, a key that is none.
    let mut broken = beacon("menu", PAGE);
    broken.body = "{".into();
    let answer = send(&client, &broken).await;
    assert_eq!(answer.problem_code(), "unreadable_json");
    assert_readable(&answer, PAGE);
    let answer = send(&client, &beacon("nobody", PAGE)).await;
    assert_eq!(answer.problem_code(), "unknown_key");
    assert_readable(&answer, PAGE);
    // A service has no page; a page that got hold of its key reads nothing.
    let service = Post::json(event()).header("x-api-key", "service");
    assert_eq!(send(&client, &service).await.told(1), [Told::Accepted]);
    assert_unreadable(&send(&client, &service.header("origin", EVIL)).await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_answered_for_every_page_that_some_key_is_for_and_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path(), "").await;
    let client = gateway.client();
    let asks = |origin| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-api-key"),
        ];
        let client = &client;
        async move { client.ask("OPTIONS", "/v1/events", &headers).await.expect("an answer") }
    };
    for page in [PAGE, OTHER_PAGE] {
        let answer = asks(page).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
        assert_readable(&answer, page);
        assert_eq!(answer.header("access-control-allow-methods"), "POST");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        let accepted = answer.header("access-control-allow-headers").to_ascii_lowercase();
        for name in ["content-type", "x-api-key", "authorization", "content-encoding", "prefer"] {
            assert!(accepted.split(", ").any(|found| found == name), "{name} in {answer:?}");
        }
    }
    let answer = asks(EVIL).await;
    assert_eq!((answer.status, answer.problem_code().as_str()), (403, "origin_not_allowed"));
    assert_unreadable(&answer);
    // The operators' listener is for no page.
    let metrics =
        crate::support::client::ask_plain(gateway.admin(), "GET", "/metrics", &[("origin", PAGE)]).await.expect("an answer");
    assert_eq!((metrics.status, metrics.problem_code().as_str()), (403, "operators_only"));
    assert_unreadable(&metrics);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_key_may_not_send_is_rejected_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path(), "").await;
    let mut rng = Rng::new();
    let forbidden = String::from_utf8(event()).expect("text").replace("menu:", "kitchen:");
    let mut post = Form::Array.post(&[event(), forbidden.into_bytes(), events::small(events::identity(&mut rng))]);
    post = post.header("x-api-key", "menu").header("origin", PAGE);
    let answer = send(&gateway.client(), &post).await;
    assert_eq!(answer.told(3), [Told::Accepted, Told::Rejected("forbidden_event".into()), Told::Accepted]);
    assert_eq!(answer.json()["results"][0]["error"]["pointer"], "/event_name", "{answer:?}");
    gateway.stop().await;
    let letters = dead_letters(&folder.path().join("data/dead-letters/menu"));
    assert_eq!(letters.iter().map(DeadLetter::code).collect::<Vec<_>>(), ["forbidden_event"]);
}

fn assert_pixel(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.header("lakegate-code")), (status, code), "{answer:?}");
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("image/gif", "no-store"), "{answer:?}");
    assert_eq!((answer.body.len(), &answer.body[..6]), (43, &b"GIF89a"[..]), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pixel_takes_an_event_and_is_an_image_whatever_becomes_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path(), "").await;
    let client = gateway.client();
    let get = |query: String, headers: &'static [(&'static str, &'static str)]| {
        let client = &client;
        async move { client.ask("GET", &format!("/v1/pixel.gif?{query}"), headers).await.expect("an answer") }
    };
    let uuid = events::identity(&mut Rng::new());
    let sent = events::small(uuid);
    let encoded = format!("key=menu&e={}", URL_SAFE_NO_PAD.encode(&sent));
    // A mail program says nothing of where it is; a page does, in one header or the other.
    assert_pixel(&get(encoded.clone(), &[]).await, 200, "");
    assert_pixel(&get(encoded.clone(), &[("referer", "https://menu.example/dinner")]).await, 200, "");
    assert_pixel(&get(encoded.clone(), &[("referer", "https://evil.example/")]).await, 403, "origin_not_allowed");
    assert_pixel(&get(encoded.clone(), &[("origin", EVIL)]).await, 403, "origin_not_allowed");
    let fields = "key=menu&event_name=menu:section:reached&session_id=01a1f4f7-217c-72e4-9724-18562909406c\
                  &visit_id=01a1f4f7-2370-759b-8a82-57ba2bb29976&restaurant_id=quinta.norte&menu_id=wine-list&section_name=Fine+reds&section_id=reds";
    assert_pixel(&get(format!("{fields}&section_index:=0"), &[]).await, 200, "");
    assert_pixel(&get(format!("{fields}&section_index=0"), &[]).await, 422, "schema_violation");
    assert_pixel(&get(encoded.replace("key=menu", "key=nobody"), &[]).await, 401, "unknown_key");
    assert_pixel(&get("key=menu&event_name=kitchen:x".into(), &[]).await, 422, "forbidden_event");
    assert_pixel(&get("key=menu".into(), &[]).await, 400, "no_events");
    assert_pixel(&get(format!("key=menu&e={}", "A".repeat(9_000)), &[]).await, 414, "query_too_long");
    // Whoever looks at the headers alone has not seen it.
    let head = client.ask("HEAD", &format!("/v1/pixel.gif?{fields}&section_index:=0"), &[]).await.expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, "43"), "{head:?}");
    let counted = Scrape::when_drained(&gateway).await;
    assert_eq!(counted.outcomes(), [2, 1, 2, 0], "the encoded event once and twice, the fields once: {counted:?}");
    gateway.stop().await;
    let lake = LakeRows::read(&folder.path().join("data/lake"));
    assert_eq!(lake.rows[&uuid], [String::from_utf8(sent).expect("text")], "byte for byte");
    let made = lake.rows.iter().find(|(found, _)| **found != uuid).expect("that of the fields").1;
    assert!(made[0].contains("\"section_name\":\"Fine reds\"") && made[0].contains("\"section_index\":0"), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_people_who_opt_out_are_counted_and_dropped_where_that_is_respected() {
    for respected in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = start(folder.path(), &format!("[privacy]\nrespect_gpc = {respected}")).await;
        let client = gateway.client();
        for signal in ["sec-gpc", "dnt"] {
            let post = Form::GzipArray.post(&[event(), event()]).header("x-api-key", "menu").header("origin", PAGE);
            let answer = send(&client, &post.clone().header(signal, "0")).await;
            assert_eq!(answer.told(2), [Told::Accepted, Told::Accepted], "0 is no signal");
            let post = Form::GzipArray.post(&[event(), event()]).header("x-api-key", "menu").header("origin", PAGE);
            let answer = send(&client, &post.header(signal, "1")).await;
            assert_readable(&answer, PAGE);
            let accepted = if respected { 0 } else { 2 };
            assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(accepted)), "{answer:?}");
            assert_eq!(answer.json()["opted_out"].as_u64(), respected.then_some(2), "{answer:?}");
        }
        let query = format!("/v1/pixel.gif?key=menu&e={}", URL_SAFE_NO_PAD.encode(event()));
        let pixel = client.ask("GET", &query, &[("sec-gpc", "1")]).await.expect("an answer");
        assert_pixel(&pixel, 200, if respected { "opted_out" } else { "" });
        let counted = Scrape::when_drained(&gateway).await;
        let (stored, dropped) = if respected { (4, 5) } else { (9, 0) };
        assert_eq!((counted.outcomes(), counted.value("opted_out_events")), ([stored, 0, 0, 0], dropped), "{counted:?}");
        counted.assert_ledger();
        gateway.stop().await;
        assert_eq!(LakeRows::read(&folder.path().join("data/lake")).rows.len() as i64, stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extra_path_is_another_way_to_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path(), "[browser]\nextra_path = \"/menu/s\"").await;
    let client = gateway.client();
    let mut post = beacon("menu", PAGE);
    post.path = "/menu/s?key=menu".into();
    let answer = send(&client, &post).await;
    assert_eq!(answer.told(1), [Told::Accepted]);
    assert_readable(&answer, PAGE);
    let query = format!("/menu/s?key=menu&e={}", URL_SAFE_NO_PAD.encode(event()));
    assert_pixel(&client.ask("GET", &query, &[]).await.expect("an answer"), 200, "");
    let preflight = client.ask("OPTIONS", "/menu/s", &[("origin", PAGE)]).await.expect("an answer");
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert_eq!(client.get("/menu/other").await.expect("an answer").problem_code(), "not_found");
    let counted = Scrape::of(&gateway).await;
    assert_eq!(counted.sum("requests", "route=\"extra_path\""), 3, "{counted:?}");
    gateway.stop().await;
}
