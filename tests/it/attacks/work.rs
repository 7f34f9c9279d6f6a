//! Bodies that cost much more than they weigh: that inflate far, hold very many events or faults, or are padded. Beside each
//! attack a service sends single events, and is answered as if it were alone.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, task::JoinSet};

use crate::support::{
    client::{Answer, Client, Post, Told, Wire},
    events,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    say,
};

const PAGE: &str = "https://menu.example";
const MIB: usize = 1024 * 1024;

/// What a busy machine may add to an answer's time. Without optimisation each piece of work takes some twenty times as long, and
/// what is meant to be a millisecond is not. (Where such bodies hold the gateway, it is answered after ten seconds.)
const NOISE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3_000 } else { 30 });

/// Within which health is answered, whatever is sent.
const HEALTH_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// Held by a test that keeps all processors busy, so that none measures what another one does.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// MiB that the gateway may ever hold: its budget for requests, and 100. Without optimisation its code alone is some 40 MiB larger.
const MEMORY_MAX: f64 =
    100.0 + if cfg!(debug_assertions) { 40.0 } else { 0.0 } + (lakegate::limits::BODIES_IN_FLIGHT_BYTES_MAX / MIB) as f64;

/// A key for pages, which everyone can read, one of a service that does harm, and one of a service that does not, at the rates
/// that keys have by default. Each request says itself where it comes from.
fn setup(folder: &Path, rates: &str) -> Setup {
    let key = |name: &str, more: &str| {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
    };
    let menu = key("menu", &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]"));
    let config = folder.join("lakegate.toml");
    let proxy = "[proxy]\ntrusted = [\"127.0.0.1\"]\n".to_owned();
    fs::write(&config, [menu, key("rogue", rates), key("service", ""), proxy].concat()).expect("a file");
    Setup::new(folder.join("data"))
        .config(config)
        .set("rate_limit.events_per_second", 5_000)
        .set("rate_limit.events_burst", 20_000)
        .set("lake.flush_age_ms", 100)
}

fn with_key(post: Post, key: &str, address: u8) -> Post {
    post.header("x-api-key", key).header("origin", PAGE).header("x-forwarded-for", format!("192.0.2.{address}"))
}

fn event() -> Vec<u8> {
    events::small(events::identity(&mut Rng::new()))
}

/// Events with 150 fields that their schema does not know.
fn with_many_faults(count: usize) -> Vec<u8> {
    let mut rng = Rng::new();
    let mut event = || {
        let text = String::from_utf8(event()).expect("text");
        let mut text = text[..text.len() - 1].to_owned();
        for _ in 0..150 {
            let _ = write!(text, ",\"{:x}\":1", rng.u32(..));
        }
        text + "}"
    };
    format!("[{}]", (0..count).map(|_| event()).collect::<Vec<_>>().join(",")).into_bytes()
}

/// The same event over and over: some KB where it is compressed.
fn one_event_of_many_faults(count: usize) -> Vec<u8> {
    let one = with_many_faults(1);
    let one = &one[1..one.len() - 1];
    [b"[", &vec![one; count].join(&b","[..])[..], b"]"].concat()
}

/// Valid events with spaces in them.
fn padded(count: usize, bytes: usize) -> Vec<u8> {
    let padded = |_| {
        let mut event = event();
        let close = event.pop();
        event.resize(bytes - 1, b' ');
        event.extend(close);
        event
    };
    (0..count).map(padded).collect::<Vec<_>>().join(&b'\n')
}

/// The answers to a service that sends an event at a time: the 99th percentile of their time. None is refused, and health is
/// answered in time.
async fn honest_p99(client: &Client, gateway: &Gateway, lasting: Duration) -> Duration {
    let mut connection = client.connect(Wire::H2).await.expect("services are let in");
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < lasting {
        let sent = Instant::now();
        let answer = connection.post(&with_key(Post::json(event()), "service", 250)).await.expect("an answer");
        times.push(sent.elapsed());
        assert_eq!(answer.told(1), [Told::Accepted], "an honest event is refused: {answer:?}");
        if times.len() % 20 == 0 {
            let asked = Instant::now();
            let health = tokio::time::timeout(HEALTH_MAX, client.get("/healthz")).await;
            assert_eq!(health.expect("health in time").expect("an answer").status, 200, "{:?}", asked.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort();
    assert!(gateway.memory().most < MEMORY_MAX, "{:?}", gateway.memory());
    times[times.len() * 99 / 100]
}

/// Who sends what, and the statuses that may answer it.
struct Attack {
    name: &'static str,
    key: &'static str,
    connections: u8,
    posts: Vec<Post>,
    allowed: &'static [u16],
}

/// Sends these bodies over and over, from `connections` at a time, until it is told to end: how many answers had each status.
fn attack(client: &Client, connections: u8, posts: &[Post]) -> (Arc<AtomicBool>, JoinSet<Vec<u16>>) {
    let (ended, mut attackers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for number in 0..connections {
        let (client, ended) = (client.clone(), ended.clone());
        let posts: Vec<Post> =
            posts.iter().map(|post| post.clone().header("x-forwarded-for", format!("198.51.100.{}", number % 16))).collect();
        attackers.spawn(async move {
            let mut statuses = Vec::new();
            while !ended.load(Relaxed) {
                let Ok(mut connection) = client.connect(Wire::H2).await else { continue };
                for post in posts.iter().cycle().take_while(|_| !ended.load(Relaxed)) {
                    match connection.post(post).await {
                        Ok(answer) => statuses.push(answer.status),
                        Err(_) => break,
                    }
                }
            }
            statuses
        });
    }
    (ended, attackers)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cost_more_than_they_weigh_do_not_keep_a_service_waiting() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "events_per_second = 1000000\nbytes_per_second = 1000000000").start().await;
    let client = gateway.client();
    let lasting = Duration::from_secs(2);
    honest_p99(&client, &gateway, Duration::from_secs(1)).await;
    let quiet = honest_p99(&client, &gateway, lasting).await;
    let bomb = Post::events(events::packed("zstd", &one_event_of_many_faults(5_000))).header("content-encoding", "zstd");
    let (plain, junk) = (with_many_faults(1_000), Post::lines("{}\n".repeat(10_000)));
    let light = with_many_faults(25);
    assert!(bomb.body.len() < 16_000 && light.len() < lakegate::limits::HEAVY_FROM_BYTES, "{} {}", bomb.body.len(), light.len());
    let attack_of = |name, key, connections, posts, allowed| Attack { name, key, connections, posts, allowed };
    let attacks = [
        attack_of("a public key and bombs from one address", "menu", 1, vec![bomb.clone()], &[413, 429]),
        attack_of(
            "a public key from 16 addresses",
            "menu",
            16,
            vec![junk.clone(), Post::json(light), bomb.clone()],
            &[413, 422, 429, 503],
        ),
        // 207: some of its events wait for letters of another request, which is refused for its bytes before it stores them.
        attack_of("a server key and large bodies", "rogue", 16, vec![Post::json(plain)], &[207, 422, 429, 503]),
        attack_of("no key", "nobody", 16, vec![junk, bomb], &[401, 429]),
    ];
    for Attack { name, key, connections, posts, allowed } in attacks {
        let posts: Vec<Post> = posts.into_iter().map(|post| with_key(post, key, 0)).collect();
        let (ended, attackers) = attack(&client, connections, &posts);
        let attacked = honest_p99(&client, &gateway, lasting).await;
        ended.store(true, Relaxed);
        let statuses = attackers.join_all().await.concat();
        say(format_args!(
            "work: {name}: {} answers; p99 of the service {quiet:.1?} before, {attacked:.1?} meanwhile; {:.0} MiB at most",
            statuses.len(),
            gateway.memory().most
        ));
        assert!(attacked < (2 * quiet).max(Duration::from_millis(50)) + NOISE, "{name}: {attacked:?} after {quiet:?}");
        assert!(!statuses.is_empty() && statuses.iter().all(|status| allowed.contains(status)), "{name}: {statuses:?}");
    }
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bodies_at_once_take_no_more_memory_than_the_budget_says() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path(), "events_per_second = 1000000\nbytes_per_second = 1000000000\nbytes_burst = 4000000000");
    let gateway = setup.start().await;
    let client = gateway.client();
    let gzipped = |bytes: Vec<u8>| Post::lines(events::gzip(&bytes)).header("content-encoding", "gzip");
    // As far as a server key may inflate, and as much as a request may be.
    let far = gzipped(padded(600, 8_000));
    let (faults, large) = (Post::json(with_many_faults(600)), Post::lines(padded(4, MIB - 9_000)));
    assert!(far.body.len() < 120_000, "{}", far.body.len());
    for (name, post) in [("gzip of a high ratio", far), ("bodies full of faults", faults), ("padded events", large)] {
        let mut sent = JoinSet::new();
        for number in 0..64 {
            let (client, post) = (client.clone(), with_key(post.clone(), "rogue", number));
            sent.spawn(async move { client.post(if number % 2 == 0 { Wire::H1 } else { Wire::H2 }, &post).await });
        }
        let answers = sent.join_all().await;
        let statuses: Vec<u16> = answers.iter().filter_map(|answer| Some(answer.as_ref().ok()?.status)).collect();
        let is_known = |status: &u16| [202, 207, 422, 429, 503].contains(status);
        assert!(statuses.len() == 64 && statuses.iter().all(is_known), "{name}: {statuses:?}");
        let worked = statuses.iter().filter(|status| **status < 429).count();
        let memory = gateway.memory();
        say(format_args!("work: 64 requests, {name}: {worked} worked on; {:.0} MiB at most", memory.most));
        assert!(worked > 0 && memory.most < MEMORY_MAX, "{name}: {worked} worked on, {memory:?}");
    }
    let answer = client.post(Wire::H2, &with_key(Post::json(event()), "service", 1)).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Accepted]);
    Scrape::when("all of it is given back", &gateway, Scrape::is_quiet).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_its_rate_is_judged_never_and_costs_its_sender_nothing_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "events_per_second = 1\nevents_burst = 10000").start().await;
    let client = gateway.client();
    let mut connection = client.connect(Wire::H2).await.expect("it listens");
    let rogue = |post: Post| with_key(post, "rogue", 1);
    let names = |post: &Answer| post.json()["violated-policies"].clone();
    let events = |count: usize| (0..count).map(|_| event()).collect::<Vec<_>>().join(&b'\n');
    let answer = connection.post(&rogue(Post::lines(events(9_990)))).await.expect("an answer");
    assert_eq!(answer.json()["accepted"], 9_990);
    let judged = async || Scrape::of(&gateway).await.number("validate_seconds_count");
    let before = judged().await;
    // As they are, and where nobody sees how many there are before they are split.
    let escaped = String::from_utf8(events(100)).expect("text").replace("\"event_uuid\"", "\"event\\u005fuuid\"");
    let compressed = Post::lines(events::gzip(&events(2_000))).header("content-encoding", "gzip");
    for post in [Post::lines(events(100)), compressed, Post::json(with_many_faults(600))] {
        let answer = connection.post(&rogue(post)).await.expect("an answer");
        assert_eq!((answer.status, names(&answer)), (429, serde_json::json!(["events"])), "{answer:?}");
    }
    assert_eq!(judged().await, before, "nothing of them was judged");
    let answer = connection.post(&rogue(Post::lines(escaped.clone()))).await.expect("an answer");
    assert_eq!((answer.status, names(&answer)), (429, serde_json::json!(["events"])), "{answer:?}");
    // A refusal takes nothing: what was left is left, but for the one or the other that was paid before it was counted.
    let answer = connection.post(&rogue(Post::lines(events(5)))).await.expect("an answer");
    assert_eq!(answer.json()["accepted"], 5);
    let answer = connection.post(&with_key(Post::lines(escaped), "service", 2)).await.expect("an answer");
    assert_eq!(answer.json()["accepted"], 100, "who may send so much may spell it so");
    // Who names the field of events in other places gets back what there are not.
    let nested = events(1).iter().map(|byte| char::from(*byte)).collect::<String>();
    let nested = nested.replacen('{', &format!("{{\"{0}\":[{1}],", "x", vec!["{\"event_uuid\":1}"; 500].join(",")), 1);
    for _ in 0..50 {
        let answer = connection.post(&with_key(Post::json(nested.clone()), "service", 2)).await.expect("an answer");
        assert_ne!(answer.status, 429, "50 events are not 25,000");
    }
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_paid_too_and_an_event_has_a_largest_size_for_each_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path(), "bytes_per_second = 1000\nbytes_burst = 16777216").start().await;
    let client = gateway.client();
    let mut connection = client.connect(Wire::H1).await.expect("it listens");
    let large = Post::lines(padded(2, MIB - 9_000));
    for _ in 0..8 {
        let answer = connection.post(&with_key(large.clone(), "rogue", 1)).await.expect("an answer");
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let answer = connection.post(&with_key(large.clone(), "rogue", 1)).await.expect("an answer");
    assert_eq!((answer.status, answer.problem_code().as_str()), (429, "rate_limited"));
    assert_eq!(answer.json()["violated-policies"], serde_json::json!(["bytes"]));
    assert!(answer.header("ratelimit-policy").starts_with("\"bytes\";q=16777216;qu=\"content-bytes\";w="), "{answer:?}");
    assert!(answer.header("retry-after").parse::<u64>().expect("seconds") > 100, "{answer:?}");
    // Compressed, they weigh as much.
    let packed = Post::lines(events::gzip(&padded(200, 8_000))).header("content-encoding", "gzip");
    assert!(packed.body.len() < 100_000);
    let answer = connection.post(&with_key(packed, "rogue", 1)).await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["violated-policies"]), (429, &serde_json::json!(["bytes"])));
    let answer = connection.post(&with_key(Post::json(event()), "rogue", 1)).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Accepted], "a small one still fits");
    let answer = connection.post(&with_key(large, "service", 1)).await.expect("an answer");
    assert_eq!(answer.status, 202, "another key has its own");

    for (key, bytes, code) in [("menu", 65_536, None), ("menu", 65_537, Some("event_too_large")), ("service", 65_537, None)] {
        let sent = events::good_of_size(events::identity(&mut Rng::new()), bytes);
        assert_eq!(sent.len(), bytes);
        let answer = connection.post(&with_key(Post::json(sent), key, 1)).await.expect("an answer");
        match code {
            None => assert_eq!(answer.told(1), [Told::Accepted], "{key} {bytes}"),
            Some(code) => {
                let error = &answer.json()["results"][0]["error"];
                assert_eq!((answer.status, error["code"].as_str()), (422, Some(code)), "{answer:?}");
                assert!(error["detail"].as_str().is_some_and(|detail| detail.contains("at most 65536")), "{error}");
            }
        }
    }
    // What inflates further than events do is refused with a reason, however it is cut up.
    let far =
        |key: &str| with_key(Post::lines(events::packed("br", &padded(4, MIB / 2))).header("content-encoding", "br"), key, 1);
    for key in ["menu", "service"] {
        let answer = connection.post(&far(key)).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code().as_str()), (413, "compression_ratio_too_high"), "{answer:?}");
    }
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
}
