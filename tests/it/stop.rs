//! The graceful stop: what is in flight is answered, what was acknowledged is drained or stays spooled, and it ends in time.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use crate::support::{
    client::{Answer, Client, Connection, Lost, Post, Told, Wire, get_plain},
    events::{self, Form},
    eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
    readback::LakeRows,
    say,
};

/// Sends small batches, one after the other, until the gateway takes no more. What was acknowledged.
async fn send_until_it_stops(client: Client, wire: Wire) -> HashSet<Uuid> {
    let mut rng = Rng::new();
    let mut acknowledged = HashSet::new();
    let Ok(mut connection) = client.connect(wire).await else { return acknowledged };
    loop {
        let uuids: Vec<_> = (0..rng.usize(1..20)).map(|_| events::identity(&mut rng)).collect();
        let bodies: Vec<_> = uuids.iter().map(|uuid| events::small(*uuid)).collect();
        let Ok(answer) = connection.post(&Form::any(&mut rng).post(&bodies)).await else { return acknowledged };
        for (uuid, told) in uuids.iter().zip(answer.told(uuids.len())) {
            match told {
                Told::Accepted => acknowledged.insert(*uuid),
                Told::Retry(code) if code == "stopping" => return acknowledged,
                told => panic!("{told:?}"),
            };
        }
    }
}

/// A request of which the gateway has seen the half.
struct Half {
    stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
    rest: Vec<u8>,
}

impl Half {
    async fn send(client: &Client, event: &[u8]) -> Self {
        let mut stream = client.stream(Wire::H1).await.expect("it is ready");
        let (first, rest) = event.split_at(event.len() / 2);
        let length = event.len();
        let head = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: dev\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), first].concat()).await.expect("it reads");
        stream.flush().await.expect("it reads");
        Self { stream, rest: rest.to_vec() }
    }

    async fn finish(mut self) -> String {
        self.stream.write_all(&self.rest).await.expect("it still reads");
        let mut answer = Vec::new();
        // The end of the connection may come without a farewell.
        let _ = self.stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Waits until the gateway holds a part of a request's body.
async fn body_in_flight(gateway: &Gateway) {
    Scrape::when("a body is in flight", gateway, |scrape| !scrape.is_quiet()).await;
}

fn assert_in_lake(data: &Path, acknowledged: &HashSet<Uuid>) {
    let lake = LakeRows::read(&data.join("lake"));
    for uuid in acknowledged {
        let rows = lake.rows.get(uuid).map_or(0, Vec::len);
        assert_eq!(rows, 1, "{uuid} was acknowledged and is {rows} times in the lake of {}", lake.rows.len());
    }
    assert!(lake.rows.values().all(|rows| rows.len() == 1), "nothing is in the lake twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_answers_what_is_in_flight_drains_all_and_ends_with_zero() {
    let folder = tempfile::tempdir().expect("a folder");
    // A batch would wait an hour: only the stop can be why the events are in the lake.
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 3_600_000);
    let mut gateway = setup.start().await;
    let client = gateway.client();
    let load: Vec<_> = (0..6)
        .map(|index| tokio::spawn(send_until_it_stops(client.clone(), if index % 2 == 0 { Wire::H1 } else { Wire::H2 })))
        .collect();
    Scrape::when("there is load", &gateway, |scrape| scrape.outcomes()[0] > 200).await;
    let mut rng = Rng::new();
    let slow = events::identity(&mut rng);
    let half = Half::send(&client, &events::small(slow)).await;
    // Every other request may be over at this moment, this one is not.
    tokio::time::timeout(Duration::from_secs(10), body_in_flight(&gateway)).await.expect("its bytes arrive");

    let stopped = Instant::now();
    gateway.terminate();
    let mut acknowledged = HashSet::new();
    for task in load {
        acknowledged.extend(task.await.expect("no answer is wrong"));
    }
    // It waits for the half request, is not ready, and lets nobody in any more.
    let ready = get_plain(gateway.admin(), "/readyz").await.expect("operators still see it");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(ready.json()["reasons"][0]["code"], "stopping", "{ready:?}");
    assert!(client.connect(Wire::H1).await.is_err(), "it takes no more connections");
    let answer = half.finish().await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "what is in flight is answered: {answer:?}");
    acknowledged.insert(slow);

    assert_eq!(gateway.exit_code(Duration::from_secs(25)).await, 0, "{}", gateway.log_text());
    assert!(gateway.has_logged("\"undelivered_events\":0"), "{}", gateway.log_text());
    assert_in_lake(folder.path(), &acknowledged);
    say(format_args!("stop: {} events acknowledged, exit 0 after {:.2} s", acknowledged.len(), stopped.elapsed().as_secs_f64()));

    // And there is no obstacle to the next start.
    let gateway = setup.start().await;
    let again = events::small(slow);
    assert_eq!(gateway.client().post(Wire::H1, &Post::json(again)).await.expect("an answer").told(1), [Told::Duplicate]);
    gateway.stop().await;
    assert_in_lake(folder.path(), &acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sink_does_not_take_in_time_stays_spooled_is_said_and_arrives_after_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50).set("stop.drain_seconds", 1);
    let mut gateway = setup.start().await;
    let outage = Outage::begin(folder.path());
    let mut rng = Rng::new();
    let mut expected = HashSet::new();
    for _ in 0..5 {
        let uuids: Vec<_> = (0..40).map(|_| events::identity(&mut rng)).collect();
        let bodies: Vec<_> = uuids.iter().map(|uuid| events::good(*uuid)).collect();
        let answer = gateway.client().post(Wire::H2, &Form::Lines.post(&bodies)).await.expect("an answer");
        assert_eq!(answer.told(40), vec![Told::Accepted; 40]);
        expected.extend(uuids);
    }
    eventually("the outage is noticed", Duration::from_secs(10), async || gateway.has_logged("the sink fails")).await;
    let stopped = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(10)).await, 0, "{}", gateway.log_text());
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(5), "drain_seconds is 1, and it took {took:?}");
    assert!(gateway.has_logged("\"undelivered_events\":200"), "{}", gateway.log_text());

    outage.repair();
    let gateway = setup.start().await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!((drained.value("spool_recovered_events"), drained.value("delivered_events")), (200, 200));
    gateway.stop().await;
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&expected, events::good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_stalls_delays_the_stop_by_no_more_than_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50).set("stop.requests_seconds", 1);
    let mut gateway = setup.start().await;
    let uuid = events::identity(&mut Rng::new());
    let half = Half::send(&gateway.client(), &events::small(uuid)).await;
    body_in_flight(&gateway).await;
    let stopped = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(10)).await, 0, "{}", gateway.log_text());
    let took = stopped.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(6)).contains(&took), "requests_seconds is 1, and it took {took:?}");
    assert!(gateway.has_logged("still in flight"), "{}", gateway.log_text());
    drop(half);
    assert!(LakeRows::read(&folder.path().join("lake")).rows.is_empty(), "half an event is no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50).set("stop.drain_seconds", 60);
    let mut gateway = setup.start().await;
    let outage = Outage::begin(folder.path());
    let uuid = events::identity(&mut Rng::new());
    let post = Post::json(events::small(uuid));
    assert_eq!(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1), [Told::Accepted]);
    gateway.terminate();
    eventually("it is stopping", Duration::from_secs(10), async || gateway.has_logged("stopping")).await;
    let stopped = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(10)).await, 130, "{}", gateway.log_text());
    assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
    outage.repair();
    let gateway = setup.start().await;
    assert_eq!(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1), [Told::Duplicate]);
    gateway.stop().await;
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&HashSet::from([uuid]), events::small);
}

/// Time for a few requests on a busy machine.
const LAME_DUCK: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_duck_is_not_ready_and_serves_whoever_comes_on_connections_that_it_closes() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50).set("stop.lame_duck_seconds", LAME_DUCK.as_secs());
    let mut gateway = setup.start().await;
    let (client, admin) = (gateway.client(), gateway.admin());
    let mut acknowledged = HashSet::new();
    let mut post = async |connection: &mut Connection| {
        let uuid = events::identity(&mut Rng::new());
        let answer = connection.post(&Post::json(events::small(uuid))).await.expect("it is served");
        assert_eq!(answer.told(1), [Told::Accepted]);
        acknowledged.insert(uuid);
        answer.header("connection").to_owned()
    };
    // One that served, and one that did not yet, of each protocol.
    let connect = async |wire| client.connect(wire).await.expect("it takes connections");
    let (mut used, mut used_h2) = (connect(Wire::H1).await, connect(Wire::H2).await);
    let (mut fresh, mut fresh_h2) = (connect(Wire::H1).await, connect(Wire::H2).await);
    assert_eq!([post(&mut used).await, post(&mut used_h2).await], ["", ""]);
    let stopped = Instant::now();
    gateway.terminate();
    gateway.until_reason("stops soon", Duration::from_secs(2)).await;
    let ready = client.get("/readyz").await.expect("a balancer asks here");
    assert_eq!((ready.status, ready.header("connection")), (503, "close"), "{ready:?}");
    assert_eq!(ready.json()["reasons"][0]["code"], "stopping", "{ready:?}");
    assert_eq!(get_plain(admin, "/healthz").await.expect("it lives").status, 200);
    // An idle connection of HTTP/1 is not closed under a request that may be on its way; the answer closes it.
    for connection in [&mut used, &mut fresh] {
        assert_eq!(post(connection).await, "close");
    }
    // Over HTTP/2 the connection is told: at once, or with its first answer.
    post(&mut fresh_h2).await;
    let (mut new, mut new_h2) = (connect(Wire::H1).await, connect(Wire::H2).await);
    assert_eq!(post(&mut new).await, "close");
    post(&mut new_h2).await;
    for (name, connection) in [("used", &used_h2), ("fresh", &fresh_h2), ("new", &new_h2)] {
        eventually(&format!("the {name} connection is told"), Duration::from_secs(2), async || connection.is_closed()).await;
    }
    assert!(stopped.elapsed() < LAME_DUCK, "all of this is in its time: {:?}", stopped.elapsed());
    assert_eq!(gateway.exit_code(Duration::from_secs(20)).await, 0, "{}", gateway.log_text());
    assert!(stopped.elapsed() >= LAME_DUCK, "{:?}", stopped.elapsed());
    assert_in_lake(folder.path(), &acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_does_not_wait_for_the_lame_duck_and_a_second_signal_cuts_it_short() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("stop.lame_duck_seconds", 60);
    let mut gateway = setup.start().await;
    gateway.interrupt();
    assert_eq!(gateway.exit_code(Duration::from_secs(15)).await, 0, "{}", gateway.log_text());
    let mut gateway = setup.start().await;
    gateway.terminate();
    gateway.until_reason("stops soon", Duration::from_secs(10)).await;
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(15)).await, 0, "a stop as any other: {}", gateway.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_folder_says_so_and_does_the_first_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50);
    let first = setup.start().await;
    let mut second = setup.spawn();
    assert_ne!(second.exit_code(Duration::from_secs(20)).await, 0);
    let said = second.log_text();
    let (folder_name, holder) = (folder.path().display().to_string(), format!("in use by process {}", first.id()));
    assert!(said.contains(&folder_name) && said.contains(&holder), "who is in the way, and where: {said}");

    let uuid = events::identity(&mut Rng::new());
    let answer: Result<Answer, Lost> = first.client().post(Wire::H2, &Post::json(events::small(uuid))).await;
    assert_eq!(answer.expect("the first one still answers").told(1), [Told::Accepted]);
    first.stop().await;
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&HashSet::from([uuid]), events::small);
}
