//! Connections by the thousand that do nothing, or do it slowly, while good clients go on as if they were alone.
//!
//! `make flood` runs it at its full size.

use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::support::{
    client::{Client, Connection, Post, Told, Wire},
    events,
    gateway::Setup,
    metrics::Scrape,
    say,
};

/// Good clients, each with one request at a time.
const GOOD: usize = 4;
/// What a busy machine may add to an answer's time at the small size, where a doubling of a millisecond says nothing.
const NOISE: Duration = Duration::from_millis(40);

fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number of connections"))
}

/// As many descriptors for this process as the system allows.
fn make_room(connections: usize) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let enough = maximum.is_none_or(|maximum| maximum > connections as u64 + 500);
    assert!(enough, "{connections} connections need more descriptors than `ulimit -Hn` gives: {maximum:?}");
}

/// The 99th percentile of the answers to good clients for a while.
async fn p99(client: &Client, lasting: Duration) -> Duration {
    let mut clients = JoinSet::new();
    for index in 0..GOOD {
        let client = client.clone();
        clients.spawn(async move {
            let mut rng = Rng::new();
            let wire = if index % 2 == 0 { Wire::H1 } else { Wire::H2 };
            let mut connection = client.connect(wire).await.expect("good clients are let in");
            let (started, mut times) = (Instant::now(), Vec::new());
            while started.elapsed() < lasting {
                let post = Post::json(events::small(events::identity(&mut rng)));
                let sent = Instant::now();
                assert_eq!(connection.post(&post).await.expect("an answer").told(1), [Told::Accepted]);
                times.push(sent.elapsed());
                // A rate that leaves the machine time: what is measured is the wait, not the queue of one's own making.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times
        });
    }
    let mut times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// A connection that sends a request's head byte by byte, or its body, and begins anew when it is cut off.
async fn be_slow(client: Client, is_head: bool) {
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: dev\r\ncontent-length: 1000\r\n";
    loop {
        let Ok(mut stream) = client.stream(Wire::H1).await else { continue };
        let at_once = if is_head { head.to_owned() } else { format!("{head}\r\n") };
        let mut is_open = stream.write_all(at_once.as_bytes()).await.is_ok();
        while is_open {
            let mut answer = [0; 1];
            // Cut off is either an answer or an end.
            is_open = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await.is_err()
                && stream.write_all(b"a").await.is_ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_and_slow_connections_do_not_slow_good_clients_down() {
    let (idle, slow) = (size("LAKEGATE_FLOOD_IDLE", 1_000), size("LAKEGATE_FLOOD_SLOW", 100));
    let seconds = size("LAKEGATE_FLOOD_SECONDS", 3) as u64;
    make_room(idle + slow);
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path())
        .set("lake.flush_age_ms", 100)
        .set("http.connections_per_address_max", 16_384)
        .set("http.connections_max", 16_384);
    let gateway = setup.start().await;
    let client = gateway.client();
    let lasting = Duration::from_secs(seconds);
    p99(&client, Duration::from_secs(1)).await;
    let quiet = p99(&client, lasting).await;

    // HTTP/2 connections answer pings, so the gateway has no reason to end them.
    let mut idle_ones: Vec<Connection> = Vec::with_capacity(idle);
    let mut slow_ones = JoinSet::new();
    for index in 0..slow {
        slow_ones.spawn(be_slow(client.clone(), index % 2 == 0));
    }
    while idle_ones.len() < idle {
        let mut opening = JoinSet::new();
        for _ in 0..(idle - idle_ones.len()).min(50) {
            let client = client.clone();
            opening.spawn(async move { client.connect(Wire::H2).await.expect("there is room") });
        }
        idle_ones.extend(opening.join_all().await);
    }
    let all = (idle + slow) as i64;
    Scrape::when("all are open", &gateway, |scrape| scrape.value("connections") >= all).await;
    let flooded = p99(&client, lasting).await;
    let open = Scrape::of(&gateway).await.value("connections");
    let memory = gateway.memory();
    say(format_args!(
        "flood: {open} connections open, {slow} of them slow; p99 of good clients {quiet:.1?} before and {flooded:.1?} meanwhile; \
         {:.0} MiB",
        memory.now
    ));
    assert!(open >= all * 95 / 100, "{open} connections are open of {all}");
    let is_full_size = idle >= 10_000;
    assert!(flooded < if is_full_size { 2 * quiet } else { (2 * quiet).max(quiet + NOISE) }, "{flooded:?} after {quiet:?}");
    slow_ones.shutdown().await;
    drop(idle_ones);
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
}
