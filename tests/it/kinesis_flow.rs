//! The gateway in front of a stream that misbehaves in one way at a time: of Kinesis, and of Firehose where it has that way.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use lakegate::{
    dedup::{Identity, Window, WindowConfig},
    spool::{RealDisk, spool_id},
};
use uuid::Uuid;

use crate::support::{
    client::{Told, Wire},
    events, eventually,
    gateway::Gateway,
    kinesis::{Fault, KinesisServer, Limits, Service, Stream},
    metrics::Scrape,
    readback::dead_letters,
    streaming::{ARRIVAL_LIMIT, Rig, accepted, identities, send, small, until_delivered},
};

/// The calls that were neither throttled nor struck by a fault: what the gateway does wrong by itself would show here.
fn assert_all_calls_were_valid(server: &KinesisServer) {
    for call in server.calls().iter().filter(|call| call.fault.is_none()) {
        assert_eq!(call.status, 200, "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_never_larger_than_aws_takes_and_connections_are_few() {
    calls_are_valid_and_connections_few(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_delivery_stream_is_never_larger_than_aws_takes_either() {
    calls_are_valid_and_connections_few(Service::Firehose).await;
}

async fn calls_are_valid_and_connections_few(service: Service) {
    let rig = Rig::of(service, 4).await.tuned("calls_in_flight_max", 4).tuned("aggregate_bytes_max", 200_000);
    rig.stream.set_slow(Duration::from_millis(100));
    rig.stream.set(Fault::Slow, 0.5);
    for aggregation in service.aggregations() {
        let gateway = rig.setup.clone().set(&format!("{}.aggregation", service.name()), aggregation).start().await;
        let client = gateway.client();
        let mut connection = client.connect(Wire::H2).await.expect("it is ready");
        let before = rig.server.connections();
        let mut sent = send(&client, 5_000).await;
        // More than a call holds, and each nearly as much as a record holds; all of them wait for the first call that passes.
        rig.stream.set(Fault::NotFound, 1.0);
        for uuid in identities(12) {
            // Space before the last brace would not go into the record.
            let event = events::small(uuid);
            let event = [&event[..1], &vec![b' '; 900_000 + sent.len() % 7], &event[1..]].concat();
            accepted(&mut connection, &events::Form::Lines.post(&[event]), 1).await;
            sent.insert(uuid);
        }
        rig.stream.set(Fault::NotFound, 0.0);
        Scrape::when_drained(&gateway).await.assert_ledger();
        gateway.stop().await;
        let contents = rig.stream.contents();
        assert!(sent.iter().all(|uuid| contents.copies[uuid].len() == 1), "{aggregation}: each once");
        assert!(rig.server.connections() - before <= 4 + 3, "{aggregation}: {} connections", rig.server.connections() - before);
    }
    assert_all_calls_were_valid(&rig.server);
    let calls = rig.server.calls();
    let largest = calls.iter().map(|call| call.records).max().unwrap_or_default();
    assert_eq!(largest, 500, "a call is filled");
    let fullest = calls.iter().map(|call| call.body_bytes * 3 / 4).max().unwrap_or_default();
    assert!(fullest > service.limits().call_bytes_max - (1 << 20), "{fullest}: with bytes too");
    let in_flight = rig.server.calls_in_flight_max();
    assert!((2..=4).contains(&in_flight), "several at once, and no more than configured: {in_flight}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_as_delivered_is_in_the_stream_and_what_is_not_in_time_is_recognised_later() {
    delivered_means_in_the_stream(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_as_delivered_is_in_the_delivery_stream() {
    delivered_means_in_the_stream(Service::Firehose).await;
}

async fn delivered_means_in_the_stream(service: Service) {
    let rig = Rig::of(service, 2).await;
    let rig = rig.tuned("linger_ms", 20_000).set("http.delivered_wait_seconds", 1).tuned("call_timeout_ms", 400);
    let gateway = rig.setup.start().await;
    let client = gateway.client();
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let mut sent = HashSet::new();
    for _ in 0..20 {
        let uuids = identities(5);
        let began = Instant::now();
        let answer = accepted(&mut connection, &until_delivered(&uuids), 5).await;
        assert_eq!(answer.header("preference-applied"), "durability=delivered");
        let contents = rig.stream.contents();
        assert!(uuids.iter().all(|uuid| contents.copies.contains_key(uuid)), "it is there at that moment");
        assert!(began.elapsed() < Duration::from_secs(5), "who waits is in a hurry, whatever the linger");
        sent.extend(uuids);
    }
    rig.stream.set(Fault::StallBefore, 1.0);
    let late = identities(3);
    let post = until_delivered(&late);
    for _ in 0..2 {
        let began = Instant::now();
        let answer = connection.post(&post).await.expect("an answer");
        assert_eq!(answer.told(3), vec![Told::Retry("not_delivered_in_time".into()); 3]);
        assert_eq!((answer.status, answer.problem_code().as_str()), (503, "not_delivered_in_time"));
        assert!((900..4_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
    // Whoever does not ask for the stream is told that it is on disk.
    assert_eq!(connection.post(&small(&late)).await.expect("an answer").told(3), vec![Told::Duplicate; 3]);
    let held = Scrape::when("nothing is in flight", &gateway, Scrape::is_quiet).await;
    held.assert_ledger();
    assert_eq!(held.value("spool_events"), 3);
    rig.stream.clear_faults();
    sent.extend(&late);
    rig.stream.wait_for_events(sent.len(), ARRIVAL_LIMIT).await;
    Scrape::when_drained(&gateway).await;
    let answer = connection.post(&post).await.expect("an answer");
    assert_eq!((answer.status, answer.told(3)), (202, vec![Told::Duplicate; 3]));
    // Some known, one new, one wrong: all of them settled.
    let mut bodies: Vec<_> = late.iter().map(|uuid| events::small(*uuid)).collect();
    let new = identities(1)[0];
    bodies.extend([events::small(new), events::bad_of_kind(new, 8).bytes]);
    let post = events::Form::Lines.post(&bodies).header("prefer", "durability=delivered");
    let answer = connection.post(&post).await.expect("an answer");
    assert_eq!(answer.status, 207);
    assert_eq!(answer.told(5)[..4], [Told::Duplicate, Told::Duplicate, Told::Duplicate, Told::Accepted]);
    sent.insert(new);
    rig.finish(gateway, &sent).await;
}

/// The window has sealed the event, and tells where it is all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_an_older_event_waits_until_that_one_is_delivered() {
    let rig = Rig::with_shards(1).await;
    let rig = rig.tuned("call_timeout_ms", 400).set("http.delivered_wait_seconds", 30);
    rig.stream.set(Fault::StallBefore, 1.0);
    let mut gateway = rig.setup.start().await;
    let uuids = identities(3);
    let client = gateway.client();
    accepted(&mut client.connect(Wire::H2).await.expect("it is ready"), &small(&uuids), 3).await;
    gateway.kill();
    let data = &rig.setup.data_dir;
    let spool_history = spool_id(&RealDisk, &data.join("spool")).expect("an id");
    let config = WindowConfig { spool_history, ..WindowConfig::new(data.join("dedup")) };
    let (window, _) = Window::open(config, 0).expect("a window");
    window.restore(uuids.iter().map(|uuid| Identity::unknown(*uuid)).zip(0..), 0).expect("room");
    window.close().expect("it is sealed");
    drop(window);

    let gateway = rig.setup.start().await;
    assert_eq!(gateway.times_logged("; 0 identities were restored from the spool"), 1, "{}", gateway.log_text());
    let client = gateway.client();
    let post = until_delivered(&uuids);
    let (answer, ()) = tokio::join!(client.post(Wire::H1, &post), async {
        Scrape::when("the request waits", &gateway, |scrape| scrape.value("dedup_claim_seconds_count") > 0).await;
        rig.stream.clear_faults();
    });
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.told(3)), (202, vec![Told::Duplicate; 3]));
    rig.finish(gateway, &uuids.into_iter().collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_to_mend_is_said_once_and_clearly_and_ends_by_itself() {
    what_somebody_has_to_mend_is_said(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_to_mend_of_a_delivery_stream_is_said_too() {
    what_somebody_has_to_mend_is_said(Service::Firehose).await;
}

async fn what_somebody_has_to_mend_is_said(service: Service) {
    let rig = Rig::of(service, 2).await;
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 10).await;
    rig.stream.wait_for_events(10, ARRIVAL_LIMIT).await;
    let faults = [Fault::NotFound, Fault::TokenExpired, Fault::AccessDenied, Fault::KmsDenied];
    for (round, fault) in faults.into_iter().enumerate() {
        let (_, code, _) = fault.error(service).expect("all are errors");
        rig.stream.set(fault, 1.0);
        sent.extend(send(&gateway.client(), 100).await);
        rig.stream.wait_until_struck(fault, 4, Duration::from_secs(30)).await;
        assert_held(&gateway, code).await;
        // What comes meanwhile is taken all the same.
        sent.extend(send(&gateway.client(), 100).await);
        assert_eq!(
            gateway.until_logged("the sink fails", round + 1).await,
            round + 1,
            "said once, not at every try: {}",
            gateway.log_text()
        );
        gateway.until_logged(code, 1).await;
        rig.stream.clear_faults();
        let mended = Instant::now();
        rig.stream.wait_for_events(sent.len(), Duration::from_secs(15)).await;
        crate::support::say(format_args!(
            "flow: {code}: all is there {:.1} s after it was mended",
            mended.elapsed().as_secs_f64()
        ));
        gateway.until_reason("", Duration::from_secs(10)).await;
        let is_back = async || gateway.times_logged("the sink is back") == round + 1;
        eventually("it says that it is back", Duration::from_secs(10), is_back).await;
    }
    rig.finish(gateway, &sent).await;
    assert_eq!(rig.stream.contents().duplicates(), 0, "nothing was stored while it was held");
}

/// The gateway takes events, and says what its stream says.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_finds_every_call_not_valid_after_it_took_some_makes_no_dead_letter() {
    calls_that_are_all_invalid_make_no_dead_letter(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_stream_that_finds_every_call_not_valid_makes_no_dead_letter_either() {
    calls_that_are_all_invalid_make_no_dead_letter(Service::Firehose).await;
}

async fn calls_that_are_all_invalid_make_no_dead_letter(service: Service) {
    let rig = Rig::of(service, 2).await;
    let gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 100).await;
    rig.stream.wait_for_events(100, ARRIVAL_LIMIT).await;
    for (fault, code) in [(Fault::CallInvalid, "ValidationException"), (Fault::ArgumentInvalid, "InvalidArgumentException")] {
        rig.stream.set(fault, 1.0);
        sent.extend(send(&gateway.client(), 200).await);
        rig.stream.wait_until_struck(fault, 8, Duration::from_secs(60)).await;
        let readiness = gateway.until_reason("records_held", Duration::from_secs(30)).await;
        assert!(readiness.status == 200 && readiness.text().contains(code), "{}", readiness.text());
        assert!(dead_letters(&rig.folder.path().join("dead-letters")).is_empty());
        rig.stream.clear_faults();
        rig.stream.wait_for_events(sent.len(), ARRIVAL_LIMIT).await;
        gateway.until_reason("", Duration::from_secs(30)).await;
    }
    assert_eq!(Scrape::of(&gateway).await.value("refused_events"), 0);
    rig.finish(gateway, &sent).await;
}

async fn assert_held(gateway: &Gateway, code: &str) {
    let answer = gateway.until_reason(code, Duration::from_secs(10)).await;
    let readiness = answer.json();
    assert_eq!((answer.status, &readiness["ready"]), (200, &true.into()), "{readiness}");
    assert_eq!(readiness["reasons"][0]["code"], "sink_unreachable", "{readiness}");
    assert_eq!(readiness["sink"]["reachable"], false);
    assert_eq!(Scrape::of(gateway).await.value("sink_up"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_after_the_start_is_found() {
    a_late_stream_is_found(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_stream_that_is_made_after_the_start_is_found() {
    a_late_stream_is_found(Service::Firehose).await;
}

async fn a_late_stream_is_found(service: Service) {
    let rig = Rig::of(service, 1).await.tuned("stream", "later");
    let gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), 50).await;
    assert_held(&gateway, "ResourceNotFoundException").await;
    let stream = rig.server.create(service, "later", 3);
    stream.wait_for_events(50, ARRIVAL_LIMIT).await;
    gateway.until_reason("", Duration::from_secs(10)).await;
    // Its shards are known soon after, or they would be one to the gateway for ever.
    eventually("the shards are known", Duration::from_secs(30), async || gateway.has_logged("the stream's shards are known"))
        .await;
    gateway.stop().await;
    stream.contents().assert_exactly(&sent);
    assert_eq!(stream.contents().duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_record_holds_goes_to_the_dead_letters_and_holds_up_nobody() {
    what_no_record_holds_is_a_dead_letter(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_record_of_a_delivery_stream_holds_is_a_dead_letter() {
    what_no_record_holds_is_a_dead_letter(Service::Firehose).await;
}

async fn what_no_record_holds_is_a_dead_letter(service: Service) {
    // The gateway knows the stream's limit, or it learns it from the answers.
    let most = service.limits().record_bytes_max;
    for (believed, real) in [(50_000, most), (most, 50_000)] {
        for aggregation in service.aggregations() {
            let rig = Rig::of(service, 3).await.tuned("record_bytes_max", believed).tuned("aggregation", aggregation);
            let rig = rig.tuned("aggregate_bytes_max", 25_000);
            rig.server.set_limits(Limits { record_bytes_max: real, ..service.limits() });
            let gateway = rig.setup.start().await;
            let client = gateway.client();
            let mut connection = client.connect(Wire::H2).await.expect("it is ready");
            // Alone, before anything else.
            let mut large = identities(4);
            let spaced = |uuid: Uuid| {
                let event = events::small(uuid);
                [&event[..1], &[b' '; 60_000], &event[1..]].concat()
            };
            accepted(&mut connection, &events::Form::Lines.post(&[spaced(large[0])]), 1).await;
            if real < believed {
                let has_failed = |scrape: &Scrape| scrape.sum("stream_calls", "invalid") >= 2;
                Scrape::when("the stream refused it twice", &gateway, has_failed).await;
            }
            let mut sent = send(&client, 1_000).await;
            rig.stream.wait_for_events(1_000, Duration::from_secs(20)).await;
            // And among others.
            let mut uuids = identities(200);
            uuids.extend(&large[1..]);
            let bodies: Vec<_> =
                uuids.iter().map(|uuid| if large.contains(uuid) { spaced(*uuid) } else { events::small(*uuid) }).collect();
            accepted(&mut connection, &events::Form::GzipArray.post(&bodies), bodies.len()).await;
            sent.extend(&uuids[..200]);
            rig.finish(gateway, &sent).await;
            assert_eq!(rig.stream.contents().duplicates(), 0);
            let letters = dead_letters(&rig.folder.path().join("dead-letters"));
            let mut refused: Vec<Uuid> =
                letters.iter().map(|letter| letter.line["event_uuid"].as_str().unwrap().parse().unwrap()).collect();
            refused.sort();
            large.sort();
            assert_eq!(refused, large, "{aggregation}, {believed} believed");
            assert!(letters.iter().all(|letter| letter.code() == "refused_by_sink"), "{letters:?}");
            if real > believed {
                assert_all_calls_were_valid(&rig.server);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_key_stay_in_order_through_faults_a_reshard_and_a_kill() {
    const KEYS: usize = 40;
    let rig = Rig::with_shards(3).await.set("kinesis.ordered_by_key", true).set("kinesis.partition_key", "/k");
    let rig = rig.set("kinesis.call_timeout_ms", 500);
    let rig = rig.set("schemas.unknown_events", "accept").set("kinesis.call_records_max", 25);
    rig.stream.set(Fault::RecordThrottled, 0.15).set(Fault::RecordFailed, 0.1).set(Fault::CallFailed, 0.05);
    rig.stream.set(Fault::ResetAfter, 0.04).set(Fault::TooFewAfter, 0.04).set(Fault::CallThrottled, 0.04);
    let mut order: HashMap<String, Vec<Uuid>> = HashMap::new();
    let mut gateway = rig.setup.start().await;
    for batch in 0..24 {
        let uuids = identities(KEYS);
        let bodies = uuids.iter().enumerate().map(|(index, uuid)| {
            let key = format!("key-{}", (index * 7 + batch) % KEYS);
            order.entry(key.clone()).or_default().push(*uuid);
            format!(r#"{{"event_uuid":"{uuid}","event_name":"order:placed","created_at":1795029671.75,"k":"{key}"}}"#)
        });
        let bodies: Vec<_> = bodies.collect();
        let mut connection = gateway.client().connect(Wire::H1).await.expect("it is ready");
        accepted(&mut connection, &events::Form::Lines.post(&bodies), KEYS).await;
        match batch {
            8 => drop(rig.stream.split_shard(1)),
            12 => {
                gateway.kill();
                gateway = rig.setup.start().await;
            }
            16 => drop(rig.stream.merge_shards(0, 3)),
            _ => {}
        }
    }
    rig.stream.wait_for_events(24 * KEYS / 2, ARRIVAL_LIMIT).await;
    rig.stream.clear_faults();
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    let found = rig.stream.contents().in_order_by_key();
    assert_eq!(found.len(), KEYS);
    for (key, uuids) in &order {
        assert_eq!(found[key], *uuids, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_event_comes_from_is_in_the_stream_only_as_far_as_it_is_kept() {
    for (kept, address) in [("none", None), ("truncated", Some("203.0.113.0")), ("full", Some("203.0.113.77"))] {
        let rig = Rig::with_shards(1).await.set("privacy.client_address", kept).set("proxy.trusted", "[\"127.0.0.0/8\"]");
        let gateway = rig.setup.start().await;
        let sent: HashSet<Uuid> = identities(2).into_iter().collect();
        let mut connection = gateway.client().connect(Wire::H1).await.expect("it is ready");
        let post = small(&sent.iter().copied().collect::<Vec<_>>()).header("x-forwarded-for", "203.0.113.77");
        accepted(&mut connection, &post, 2).await;
        rig.stream.wait_for_events(2, ARRIVAL_LIMIT).await;
        for record in rig.stream.stored() {
            let event: serde_json::Value = serde_json::from_slice(&record.data).expect("a line of JSON");
            assert_eq!(event.get("client_address").and_then(serde_json::Value::as_str), address, "{event}");
        }
        rig.finish(gateway, &sent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_sends_what_lingers_and_waits_for_what_is_in_flight() {
    a_stop_sends_what_lingers(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_sends_what_lingers_to_a_delivery_stream_too() {
    a_stop_sends_what_lingers(Service::Firehose).await;
}

async fn a_stop_sends_what_lingers(service: Service) {
    let rig = Rig::of(service, 2).await.tuned("linger_ms", 60_000);
    let mut gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), 300).await;
    rig.stream.set_slow(Duration::from_millis(700));
    rig.stream.set(Fault::Slow, 1.0).set(Fault::RecordThrottled, 0.3);
    assert!(rig.stream.stored().is_empty(), "they wait for others");
    let began = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(30)).await, 0, "{}", gateway.log_text());
    assert!(gateway.has_logged("\"undelivered_events\":0"), "{}", gateway.log_text());
    assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
    let contents = rig.stream.contents();
    contents.assert_exactly(&sent);
    assert_eq!(contents.duplicates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_have_a_stream_of_their_own_and_wait_on_disk_while_it_is_away() {
    dead_letters_have_their_own_stream(Service::Kinesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_have_a_delivery_stream_of_their_own() {
    dead_letters_have_their_own_stream(Service::Firehose).await;
}

async fn dead_letters_have_their_own_stream(service: Service) {
    let rig = Rig::of(service, 1).await;
    let rejects = rig.server.create(service, "rejects", 2);
    let rig = rig.set("dead_letters.kind", service.name()).set("dead_letters.stream", "rejects");
    let rig = rig.tuned("record_bytes_max", 100_000).tuned("aggregate_bytes_max", 50_000);
    let mut gateway = rig.setup.start().await;
    let mut bad = reject(&gateway, 0..20).await;
    wait_for_letters(&rejects, bad.len()).await;

    rejects.set(Fault::NotFound, 1.0);
    bad.extend(reject(&gateway, 20..60).await);
    let readiness = gateway.until_reason("ResourceNotFoundException", Duration::from_secs(10)).await;
    assert_eq!((readiness.status, &readiness.json()["reasons"][0]["code"]), (200, &"dead_letter_sink_unreachable".into()));
    let sent = send(&gateway.client(), 100).await;
    rig.stream.wait_for_events(100, ARRIVAL_LIMIT).await;
    // The gateway knows that too.
    Scrape::when_drained(&gateway).await;
    // They are on disk: not even a kill takes them.
    gateway.kill();
    let gateway = rig.setup.start().await;
    bad.extend(reject(&gateway, 60..70).await);
    rejects.clear_faults();
    wait_for_letters(&rejects, bad.len()).await;

    // One that no record holds, not even packed, is in a file.
    let pad: String = std::iter::repeat_with(fastrand::alphanumeric).take(150_000).collect();
    let large = format!(r#"{{"event_uuid":"no identity","pad":"{pad}"}}"#);
    let answer = gateway.client().post(Wire::H1, &events::Form::Lines.post(&[&large])).await.expect("an answer");
    assert!(matches!(answer.told(1)[0], Told::Rejected(_)), "{answer:?}");
    let letters = || dead_letters(&rig.folder.path().join("dead-letters"));
    eventually("the large one is in a file", ARRIVAL_LIMIT, async || !letters().is_empty()).await;
    assert_eq!(letters().iter().map(|letter| letter.raw.as_slice()).collect::<Vec<_>>(), [large.as_bytes()]);
    rig.finish(gateway, &sent).await;
    let mut found: Vec<Vec<u8>> = lines(&rejects);
    found.sort();
    found.dedup();
    bad.sort();
    assert_eq!(found, bad, "every rejected event is there, whole");
}

/// Sends wrong events, which are answered `rejected`, and answers their bytes.
async fn reject(gateway: &Gateway, numbers: std::ops::Range<u8>) -> Vec<Vec<u8>> {
    let kind = |number: u8| number % 13;
    let bodies: Vec<_> =
        numbers.zip(identities(100)).map(|(number, uuid)| events::bad_of_kind(uuid, kind(number)).bytes).collect();
    let answer = gateway.client().post(Wire::H2, &events::Form::Lines.post(&bodies)).await.expect("an answer");
    assert!(answer.told(bodies.len()).iter().all(|told| matches!(told, Told::Rejected(_))), "{answer:?}");
    bodies
}

/// The events in the letters of a stream.
fn lines(rejects: &Stream) -> Vec<Vec<u8>> {
    let raw = |line: &[u8]| {
        let letter: serde_json::Value = serde_json::from_slice(line).expect("a letter is JSON");
        letter["raw"].as_str().expect("its event is text").as_bytes().to_vec()
    };
    rejects.stored().iter().map(|record| raw(&record.data)).collect()
}

async fn wait_for_letters(rejects: &Stream, count: usize) {
    rejects.wait_until(&format!("{count} letters came"), ARRIVAL_LIMIT, |stored| stored.len() >= count).await;
}
