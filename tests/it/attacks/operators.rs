//! Web pages that reach the operators' listener through a browser near it, and requests that make it work or hold much.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::event_of;
use crate::support::{
    client::{Answer, Post, Told, Wire, ask_plain, get_plain},
    eventually,
    gateway::{Gateway, Setup},
};

const PATHS: [&str; 6] = ["/metrics", "/healthz", "/readyz", "/admin/dead-letters", "/admin/tail", "/nothing"];

/// What a listener without TLS answers to a request of which every header is said.
async fn ask_raw(gateway: &Gateway, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(gateway.admin()).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_told_nothing_by_the_listener_for_operators() {
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = r#"["gate.example", "*.svc.cluster.local"]"#;
    let gateway = Setup::new(folder.path()).set("admin.hosts", hosts).start().await;
    for path in PATHS {
        for (what, headers) in [
            ("a page whose own name points here", "host: evil.example:9090\r\n"),
            ("one that has our name in front", "host: localhost.evil.example\r\n"),
            ("an image in a page", "host: localhost:9090\r\nsec-fetch-site: cross-site\r\n"),
            ("a page of a neighbour", "host: 127.0.0.1:9090\r\nsec-fetch-site: same-site\r\n"),
            ("a script", "host: 127.0.0.1:9090\r\norigin: https://evil.example\r\n"),
            ("a script of nowhere", "host: 127.0.0.1:9090\r\norigin: null\r\n"),
        ] {
            let answer = ask_raw(&gateway, path, headers).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{what}, {path}: {answer}");
            assert!(
                answer.contains("\"code\":\"operators_only\"") && answer.contains("\r\nx-content-type-options: nosniff\r\n"),
                "{answer}"
            );
        }
    }
    // A scraper calls it by what it has; so does a person who types it into a browser.
    for headers in [
        "host: 127.0.0.1:9090\r\n",
        "host: 10.1.2.3:9090\r\n",
        "host: [fd00::1]:9090\r\n",
        "host: localhost\r\nsec-fetch-site: none\r\nsec-fetch-mode: navigate\r\n",
        "host: localhost\r\nsec-fetch-site: same-origin\r\n",
        "host: lakegate:9090\r\n",
        "host: gate.example:9090\r\n",
        "host: lakegate.shop.svc.cluster.local:9090\r\n",
    ] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let answer = ask_raw(&gateway, path, headers).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{headers:?}, {path}: {answer}");
        }
    }
    // Dead letters are for programs of this machine, by its own names.
    for (host, is_answered) in [("localhost", true), ("127.0.0.1:9090", true), ("lakegate", false), ("10.1.2.3", false)] {
        let answer = ask_raw(&gateway, "/admin/dead-letters", &format!("host: {host}\r\n")).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), is_answered, "{host}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_that_its_form_depends_on_who_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    for encodings in ["gzip", "identity"] {
        let answer = ask_plain(gateway.admin(), "GET", "/metrics", &[("accept-encoding", encodings)]).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary").to_ascii_lowercase(), "accept-encoding", "{encodings}: {:?}", answer.headers);
    }
    gateway.stop().await;
}

/// Rejects `count` events of some 900 KB each.
async fn reject_long_ones(gateway: &Gateway, count: usize) {
    let client = gateway.client();
    for _ in 0..count {
        let post = Post::json(event_of("\"no:such:name\"", &format!(",\"text\":\"{}\"", "\\n".repeat(450_000))));
        assert_eq!(client.post(Wire::H1, &post).await.expect("an answer").told(1), [Told::Rejected("unknown_event".into())]);
    }
}

async fn letters(gateway: &Gateway, limit: usize) -> Answer {
    get_plain(gateway.admin(), &format!("/admin/dead-letters/letters?limit={limit}")).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_read_by_one_at_a_time_and_no_answer_is_held_whole() {
    const LETTERS: usize = 14;
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    reject_long_ones(&gateway, LETTERS).await;
    let before = gateway.memory().now;
    // One who asks for all and reads nothing, and one who asks meanwhile.
    let mut slow = TcpStream::connect(gateway.admin()).await.expect("it listens");
    let request = "GET /admin/dead-letters/letters?limit=1000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    slow.write_all(request.as_bytes()).await.expect("it reads");
    let mut first = [0; 1];
    slow.read_exact(&mut first).await.expect("it begins to answer");
    let busy = letters(&gateway, 1).await;
    assert_eq!((busy.status, busy.problem_code().as_str()), (503, "busy"), "{}", busy.text());
    assert_eq!(busy.header("retry-after"), "1");
    assert_eq!(get_plain(gateway.admin(), "/admin/dead-letters").await.expect("an answer").status, 503, "each reads all letters");
    // Scrapes and probes have nothing to do with it.
    for path in ["/metrics", "/readyz"] {
        assert_eq!(get_plain(gateway.admin(), path).await.expect("an answer").status, 200, "{path}");
    }
    let grown = gateway.memory().now - before;
    assert!(grown < 24.0, "{grown} MiB for an answer that nobody reads");
    // Who goes gives the turn back.
    drop(slow);
    eventually("the turn is free", Duration::from_secs(10), async || letters(&gateway, 1).await.status == 200).await;

    let all = letters(&gateway, 1000).await;
    let all: Value = serde_json::from_slice(&all.body).expect("it is whole");
    let shown = all["letters"].as_array().expect("letters").len();
    // 16 MiB of letters, each a MB and a half as JSON within JSON.
    assert!(shown > 5 && shown < LETTERS && all["truncated"] == true, "{shown} of {LETTERS}");
    let few = letters(&gateway, 2).await.json();
    assert_eq!((few["letters"].as_array().map(Vec::len), &few["truncated"]), (Some(2), &Value::Bool(false)));
    assert_eq!(letters(&gateway, 2).await.json()["letters"][0]["line"]["code"], "unknown_event");
    gateway.stop().await;
}

/// As it was found: four at once took 1.9 GB.
#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_all_dead_letters_take_no_more_memory_than_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    reject_long_ones(&gateway, 12).await;
    let before = gateway.memory().most;
    let mut asked = JoinSet::new();
    for _ in 0..8 {
        let address = gateway.admin();
        asked.spawn(async move { get_plain(address, "/admin/dead-letters/letters?limit=1000").await.expect("an answer").status });
    }
    let told = asked.join_all().await;
    assert!(told.contains(&200) && told.iter().all(|status| matches!(status, 200 | 503)), "{told:?}");
    let grown = gateway.memory().most - before;
    assert!(grown < 48.0, "{grown} MiB");
    // What reads the files itself shows each of them.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lakegate"))
        .args(["dead-letters", "show", "--limit", "50", "--data-dir"])
        .arg(folder.path())
        .output()
        .expect("it runs");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let letters: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&printed).into_iter().collect();
    assert_eq!(letters.expect("JSON").len(), 12);
    gateway.stop().await;
}
