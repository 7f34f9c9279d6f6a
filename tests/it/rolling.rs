//! Three gateways behind HAProxy are replaced one after the other under load. A client that never tries a request again sees no
//! failure, and each event is in the stream once.
//!
//! One round in `cargo test`; `LAKEGATE_ROLLING_ROUNDS=20` (`make rolling`) replaces all of them twenty times.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    cannot_run,
    client::{Connection, Told},
    events::{self, Form},
    gateway::{Gateway, Setup},
    haproxy::HaProxy,
    kinesis::{KinesisServer, Reservation},
    metrics::Scrape,
    say,
};

/// Clients that send at the same time, each on a connection that it keeps.
const CLIENTS: usize = 12;

/// Longer than HAProxy takes to notice.
const LAME_DUCK_SECONDS: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_plain_http_are_replaced_and_no_request_fails() {
    replaced(&[("http.plaintext", "true"), ("proxy.trusted", "[\"127.0.0.1\"]")], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_http_2_under_the_proxy_protocol_are_replaced_and_no_request_fails() {
    let setup = [("proxy.trusted", "[\"127.0.0.1\"]"), ("proxy.proxy_protocol", "true")];
    replaced(&setup, "ssl verify none alpn h2 check-ssl check-alpn http/1.1 send-proxy-v2 check-send-proxy").await;
}

async fn replaced(setup: &[(&str, &str)], server_options: &str) {
    if !HaProxy::is_installed() {
        return cannot_run("the replacement of gateways under load", "haproxy is not installed");
    }
    let rounds = std::env::var("LAKEGATE_ROLLING_ROUNDS").map_or(1, |text| text.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().expect("a folder");
    let server = KinesisServer::start(1).await;
    let stream = server.create_stream("events", 2);
    let ports = [(); 3].map(|()| Reservation::new());
    let setups: Vec<Setup> = ports
        .iter()
        .enumerate()
        .map(|(number, port)| {
            let fresh = Setup::new(folder.path().join(number.to_string())).with_stream(&server, "events");
            let fresh = fresh.listening(port.address()).set("stop.lame_duck_seconds", LAME_DUCK_SECONDS);
            setup.iter().fold(fresh, |setup, (key, value)| setup.set(key, value))
        })
        .collect();
    let mut gateways = Vec::new();
    for setup in &setups {
        gateways.push(setup.start().await);
    }
    let balancer = HaProxy::start(folder.path(), &ports.each_ref().map(Reservation::address), server_options).await;
    for gateway in &gateways {
        takes_part(gateway, balancer.address()).await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(send_until(balancer.address(), is_over.clone()))).collect();
    let started = Instant::now();
    for _ in 0..rounds {
        for (gateway, setup) in gateways.iter_mut().zip(&setups) {
            takes_part(gateway, balancer.address()).await;
            gateway.terminate();
            assert_eq!(gateway.exit_code(Duration::from_secs(30)).await, 0, "{}", gateway.log_text());
            *gateway = setup.start().await;
        }
    }
    for gateway in &gateways {
        takes_part(gateway, balancer.address()).await;
    }
    let took = started.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let mut sent = Sent::default();
    for client in clients {
        sent.add(client.await.expect("no client panics"));
    }
    drop(balancer);
    for gateway in gateways {
        gateway.stop().await;
    }
    let contents = stream.contents();
    say(format_args!(
        "rolling: {} gateways replaced in {:.1} s under {} requests with {} events: {} failed, {} doubled",
        rounds * setups.len(),
        took.as_secs_f64(),
        sent.requests,
        sent.acknowledged.len(),
        sent.failures.len(),
        contents.duplicates(),
    ));
    assert!(sent.failures.is_empty(), "{} of {} failed: {:?}", sent.failures.len(), sent.requests, sent.failures.first());
    assert!(sent.requests > rounds * 300, "the clients hardly came to word: {}", sent.requests);
    contents.assert_exactly(&sent.acknowledged);
    assert_eq!(contents.duplicates(), 0);
}

/// Waits until the balancer sends requests to `gateway`; asks it, so that there are some.
async fn takes_part(gateway: &Gateway, balancer: SocketAddr) {
    let received = |scrape: &Scrape| scrape.sum("requests", "route=\"/v1/schemas\"");
    let before = received(&Scrape::when("it is asked", gateway, |_| true).await);
    let limit = Instant::now() + Duration::from_secs(20);
    while received(&Scrape::when("it is asked", gateway, |_| true).await) == before {
        assert!(Instant::now() < limit, "the balancer does not find a gateway that is there: {}", gateway.log_text());
        let mut connection = Connection::plain(balancer).await.expect("the balancer listens");
        let _ = connection.ask("GET", "/v1/schemas", &[("x-api-key", "dev")]).await;
    }
}

#[derive(Default)]
struct Sent {
    requests: usize,
    acknowledged: HashSet<Uuid>,
    failures: Vec<String>,
}

impl Sent {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.acknowledged.extend(other.acknowledged);
        self.failures.extend(other.failures);
    }
}

/// Sends new events, each once, on one connection as long as it lasts.
async fn send_until(balancer: SocketAddr, is_over: Arc<AtomicBool>) -> Sent {
    let mut rng = Rng::new();
    let mut sent = Sent::default();
    'connections: while !is_over.load(Ordering::Relaxed) {
        let Ok(mut connection) = Connection::plain(balancer).await else { continue };
        while !is_over.load(Ordering::Relaxed) {
            let uuids: Vec<Uuid> = (0..rng.usize(1..5)).map(|_| events::identity(&mut rng)).collect();
            let bodies: Vec<_> = uuids.iter().map(|uuid| events::small(*uuid)).collect();
            sent.requests += 1;
            match connection.post(&Form::any(&mut rng).post(&bodies)).await {
                Ok(answer) if answer.status == 202 => {
                    assert_eq!(answer.told(uuids.len()), vec![Told::Accepted; uuids.len()], "{answer:?}");
                    sent.acknowledged.extend(uuids);
                }
                Ok(answer) => sent.failures.push(format!("{} {}", answer.status, answer.text())),
                Err(lost) => {
                    sent.failures.push(format!("{lost:?}"));
                    continue 'connections;
                }
            }
            // Now and then long enough that a connection to a gateway has a rest.
            let pause = if rng.u8(..20) == 0 { rng.u64(..300_000) } else { rng.u64(..8_000) };
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
    }
    sent
}
