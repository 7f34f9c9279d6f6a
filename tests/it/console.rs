//! The console: who is let in, what it may change, and that its figures are those of the metrics. What a person sees of it is tested in
//! three browsers (`js-client/test/browsers/console.test.mjs`).

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::support::{
    client::{Answer, Connection, Post, Told, Wire, ask_plain, get_plain},
    events,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

/// Everything that the console asks for.
const QUESTIONS: [&str; 11] = [
    "/",
    "/console/main.js",
    "/admin/console",
    "/admin/overview",
    "/admin/fleet",
    "/admin/keys",
    "/admin/ledger",
    "/admin/dead-letters",
    "/admin/tail",
    "/admin/events/01a1f059-0e41-719a-b0ae-3071d38cf734",
    "/admin/schemas/menu:item:viewed/diff?from=1&to=2",
];

/// What a page of the console sends along.
const OF_CONSOLE: &[(&str, &str)] =
    &[("origin", "http://localhost"), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];

/// An answer to a request of which every header is said.
async fn ask_raw(gateway: &Gateway, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(gateway.admin()).await.expect("it listens");
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = get_plain(gateway.admin(), path).await.expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Answer {
    let mut post =
        Post { path: path.into(), headers: vec![("content-type", "application/json".into())], body: body.to_string().into() };
    post.headers.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let mut connection = Connection::plain(gateway.admin()).await.expect("it listens");
    connection.post(&post).await.expect("an answer")
}

/// Rejects an event, whose section is a text in place of a number.
async fn reject_one(gateway: &Gateway) -> Uuid {
    let uuid = Uuid::new_v4();
    let event = json!({
        "event_uuid": uuid, "event_name": "menu:section:reached", "created_at": 1_795_111_203.5, "session_id": uuid, "visit_id": uuid,
        "restaurant_id": "quinta.norte", "menu_id": "wine-list", "section_id": "reds", "section_index": "7"
    });
    let answer = gateway.client().post(Wire::H1, &Post::json(event.to_string())).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Rejected("schema_violation".into())]);
    uuid
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_files_are_served_to_operators_only_with_a_policy_that_lets_in_no_code_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let page = get_plain(gateway.admin(), "/").await.expect("an answer");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    // Every file that the page names, and that those name.
    let mut to_read = vec![page];
    let mut names = BTreeSet::new();
    while let Some(answer) = to_read.pop() {
        let policy = answer.header("content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "require-trusted-types-for 'script'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "public, no-cache"),
        ] {
            assert_eq!(answer.header(name), value);
        }
        let text = answer.text();
        let named = text.split(['"', '\'']).filter_map(|word| word.strip_prefix("/console/").or_else(|| word.strip_prefix("./")));
        for name in named {
            if names.insert(name.to_owned()) {
                let answer = get_plain(gateway.admin(), &format!("/console/{name}")).await.expect("an answer");
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                let etag = answer.header("etag").to_owned();
                let again = ask_plain(gateway.admin(), "GET", &format!("/console/{name}"), &[("if-none-match", &etag)]).await;
                assert_eq!(again.expect("an answer").status, 304, "{name}");
                to_read.push(answer);
            }
        }
    }
    assert!(names.len() > 15, "{names:?}");
    for path in ["/console/dom.ts", "/console/..%2fconsole.rs", "/console/", "/console/x.js"] {
        assert_eq!(get_plain(gateway.admin(), path).await.expect("an answer").status, 404, "{path}");
    }
    for path in QUESTIONS {
        assert_eq!(gateway.client().get(path).await.expect("an answer").status, 404, "{path} is not for senders");
    }
    gateway.stop().await;
}

/// DNS rebinding, requests forged by other pages, frames, and images: none learns or changes anything.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_elsewhere_can_ask_or_change_what_the_console_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("admin.allow_changes", true).start().await;
    let uuid = reject_one(&gateway).await;
    let attacks = [
        (
            "its own name points here",
            "host: evil.example:9090\r\norigin: http://evil.example:9090\r\nsec-fetch-site: same-origin\r\n",
        ),
        ("the same, in an old browser", "host: evil.example:9090\r\n"),
        ("a script", "host: localhost:9090\r\norigin: http://evil.example\r\nsec-fetch-site: cross-site\r\n"),
        ("a page of another port", "host: localhost:9090\r\norigin: http://localhost:8080\r\nsec-fetch-site: same-site\r\n"),
        ("the same over TLS", "host: localhost:9090\r\norigin: https://localhost:9090\r\n"),
        ("a frame without an origin", "host: localhost:9090\r\norigin: null\r\n"),
        ("two origins", "host: localhost:9090\r\norigin: http://localhost:9090\r\norigin: http://evil.example\r\n"),
        ("our page, with the name of a neighbour", "host: lakegate:9090\r\norigin: http://localhost:9090\r\n"),
        (
            "a frame",
            "host: localhost:9090\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n",
        ),
    ];
    for (what, headers) in attacks {
        for path in QUESTIONS {
            let answer = ask_raw(&gateway, "GET", path, headers, "").await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("operators_only"), "{what}, {path}: {answer}");
            assert!(!answer.contains("access-control"), "{answer}");
        }
        for path in ["/admin/dead-letters/replay", "/admin/dead-letters/drop", "/admin/erasures"] {
            for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
                let headers = format!("{headers}content-type: {content_type}\r\n");
                let answer = ask_raw(&gateway, "POST", path, &headers, "{\"all\":true}").await;
                assert!(answer.starts_with("HTTP/1.1 403 "), "{what}, {path}: {answer}");
            }
            let preflight = format!("{headers}access-control-request-method: POST\r\n");
            let answer = ask_raw(&gateway, "OPTIONS", path, &preflight, "").await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("access-control-allow"), "{what}: {answer}");
        }
    }
    // The form of a page that no browser has marked cannot send what is understood.
    let form = ask_raw(
        &gateway,
        "POST",
        "/admin/dead-letters/drop",
        "host: localhost\r\ncontent-type: text/plain\r\n",
        "{\"all\":true}",
    )
    .await;
    assert!(form.starts_with("HTTP/1.1 415 "), "{form}");
    // A link of another page leads to the page itself, which is the same for everybody, and to nothing behind it.
    let link = "host: localhost:9090\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    assert!(ask_raw(&gateway, "GET", "/", link, "").await.starts_with("HTTP/1.1 200 "));
    for path in &QUESTIONS[1..] {
        assert!(ask_raw(&gateway, "GET", path, link, "").await.starts_with("HTTP/1.1 403 "), "{path}");
    }
    // The console itself is let in, and nothing has happened to the letter.
    let own = "host: localhost:9090\r\norigin: http://localhost:9090\r\nsec-fetch-site: same-origin\r\n";
    for path in QUESTIONS.iter().filter(|path| **path != "/admin/tail") {
        let answer = ask_raw(&gateway, "GET", path, own, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    assert_eq!(get(&gateway, "/admin/dead-letters").await["groups"][0]["example_event_uuid"], uuid.to_string());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_changes_nothing_unless_configured_and_programs_may_in_any_case() {
    let folder = tempfile::tempdir().expect("a folder");
    for allow_changes in [false, true] {
        let gateway =
            Setup::new(folder.path().join(allow_changes.to_string())).set("admin.allow_changes", allow_changes).start().await;
        let settings = get(&gateway, "/admin/console").await;
        assert_eq!(settings["allow_changes"], allow_changes);
        let replay = |uuid: Uuid, dry_run: bool| {
            let patch = json!([{ "op": "replace", "path": "/section_index", "value": 7 }]);
            json!({ "gateway": settings["gateway"], "where": [format!("event_uuid={uuid}")], "patch": patch, "dry_run": dry_run })
        };
        let (first, second) = (reject_one(&gateway).await, reject_one(&gateway).await);
        let tried = post(&gateway, "/admin/dead-letters/replay", OF_CONSOLE, &replay(first, true)).await;
        assert_eq!((tried.status, &tried.json()["accepted"]), (200, &json!(1)), "a dry run changes nothing: {}", tried.text());
        // Each mark of a browser alone is one.
        for (name, value) in OF_CONSOLE {
            let answer =
                post(&gateway, "/admin/dead-letters/drop", &[(*name, *value)], &json!({ "where": ["code=no_such"] })).await;
            assert_eq!(answer.status, if allow_changes { 200 } else { 403 }, "{name}: {}", answer.text());
        }
        let replayed = post(&gateway, "/admin/dead-letters/replay", OF_CONSOLE, &replay(first, false)).await;
        let erased = post(&gateway, "/admin/erasures", OF_CONSOLE, &json!({ "where": [] })).await;
        let open = get(&gateway, "/admin/dead-letters").await["letters"].clone();
        if allow_changes {
            assert_eq!((replayed.status, &replayed.json()["accepted"], open), (200, &json!(1), json!(1)), "{}", replayed.text());
        } else {
            for refused in [&replayed, &erased] {
                assert_eq!((refused.status, refused.problem_code().as_str()), (403, "changes_not_allowed"), "{}", refused.text());
            }
            assert!(replayed.json()["detail"].as_str().is_some_and(|detail| detail.contains("admin.allow_changes")));
            assert_eq!(open, 2);
        }
        let by_program = post(&gateway, "/admin/dead-letters/replay", &[], &replay(second, false)).await;
        assert_eq!((by_program.status, &by_program.json()["accepted"]), (200, &json!(1)), "{}", by_program.text());
        gateway.stop().await;
    }
}

async fn send(gateway: &Gateway, count: usize) {
    let mut rng = Rng::new();
    let lines = (0..count).map(|_| events::small(events::identity(&mut rng))).collect::<Vec<_>>().join(&b'\n');
    let answer = gateway.client().post(Wire::H1, &Post::lines(lines)).await.expect("an answer");
    assert_eq!(answer.told(count), vec![Told::Accepted; count]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_figures_are_those_of_the_metrics_and_of_each_gateway_that_is_configured() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = Setup::new(folder.path().join("other")).set("lake.flush_age_ms", 3_600_000).start().await;
    send(&other, 30).await;
    let fleet = format!("[\"http://{}\", \"http://127.0.0.1:1\"]", other.admin());
    let gateway =
        Setup::new(folder.path().join("data")).set("lake.flush_age_ms", 3_600_000).set("admin.fleet", fleet).start().await;
    send(&gateway, 50).await;
    let report = get(&gateway, "/admin/overview").await;
    assert_eq!((&report["ready"], &report["events"]["received_per_second"]), (&true.into(), &Value::Null), "no rate yet");
    let scrape = Scrape::of(&gateway).await;
    assert_eq!(report["spool"]["quota_bytes"].as_f64(), Some(scrape.number("spool_quota_bytes")));
    assert_eq!((report["spool"]["lag_events"].as_f64(), &report["sinks"][0]["sink"]), (Some(50.0), &json!("lake")));
    let states = |report: &Value| {
        let gateways = report["gateways"].as_array().expect("a list").iter();
        gateways.map(|gateway| gateway["state"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    let all = get(&gateway, "/admin/fleet").await;
    assert_eq!(
        (states(&report), states(&all)),
        (vec!["ready".into()], vec!["ready".into(), "ready".into(), "away".into()]),
        "{all}"
    );
    assert_eq!((all["spool"]["lag_events"].as_f64(), &all["ready"]), (Some(80.0), &json!(false)));
    assert!(all["gateways"][2]["error"].as_str().is_some_and(|error| error.contains("nothing answers")), "{all}");
    other.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_with_their_use_and_never_a_secret_or_its_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    // printf %s s3cret | sha256sum
    let hash = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
    let keys = format!(
        "[{{ name = \"web\", kind = \"browser\", allowed_origins = [\"*\"], secret_sha256 = \"{hash}\" }}, \
         {{ name = \"till\", secrets = [{{ sha256 = \"{}\", not_after = \"2026-01-01T00:00:00Z\" }}] }}]",
        hash.replace("1ec1", "2fd2")
    );
    let gateway = Setup::new(folder.path()).set("keys", keys).start().await;
    let client = gateway.client();
    let event =
        || Post::json(events::small(Uuid::new_v4())).header("x-api-key", "s3cret").header("origin", "https://menu.example");
    assert_eq!(client.post(Wire::H1, &event()).await.expect("an answer").status, 202);
    let refused = event().header("origin", "null").without("origin");
    assert_eq!(client.post(Wire::H1, &refused).await.expect("an answer").problem_code(), "origin_not_allowed");
    let answer = get_plain(gateway.admin(), "/admin/keys").await.expect("an answer");
    let (text, list) = (answer.text(), answer.json());
    assert!(!text.contains("s3cret") && !text.contains(&hash[..6]) && !text.contains("2fd2c2"), "{text}");
    let [till, web] = list["keys"].as_array().expect("a list").as_slice() else { panic!("{list}") };
    assert_eq!((&till["name"], &till["kind"], &till["secrets"][0]["expired"]), (&json!("till"), &json!("server"), &json!(true)));
    assert_eq!((&till["secrets"][0]["last_used"], &till["accepted"]), (&Value::Null, &json!(0)));
    assert_eq!((&web["name"], &web["kind"], &web["accepted"]), (&json!("web"), &json!("browser"), &json!(1)));
    assert!(web["secrets"][0]["last_used"].as_str().is_some_and(|time| time.ends_with('Z')), "{web}");
    assert_eq!(web["refused_requests"], json!([{ "code": "origin_not_allowed", "count": 1 }]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_schema_are_compared_and_what_is_not_there_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let diff = get(&gateway, "/admin/schemas/menu:item:viewed/diff?from=1&to=2").await;
    assert_eq!((&diff["from"], &diff["to"]), (&json!(1), &json!(2)));
    assert!(diff["changes"].as_array().is_some_and(|changes| changes.iter().any(|change| change["kind"] == "added")), "{diff}");
    for (path, status, code) in [
        ("/admin/schemas/menu:item:viewed/diff?from=1&to=9", 404, "unknown_schema_version"),
        ("/admin/schemas/no:such/diff?from=1&to=2", 404, "unknown_event"),
        ("/admin/schemas/menu:item:viewed/diff?from=1", 400, "invalid_question"),
        ("/admin/schemas/menu:item:viewed/diff?from=one&to=2", 400, "invalid_question"),
        ("/admin/schemas/menu:item:viewed/diff?since=1", 400, "invalid_question"),
    ] {
        let answer = get_plain(gateway.admin(), path).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code().as_str()), (status, code), "{path}");
    }
    assert_eq!(get(&gateway, "/v1/schemas").await["schemas"][0]["versions"].as_array().map(Vec::len), Some(1));
    gateway.stop().await;
}
