//! `lakegate ledger --check stream`: the ledger fits what the stream has, after everything that a stream and a gateway may go
//! through; and a minute that does not fit is named.

use std::{
    collections::HashSet,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use uuid::Uuid;

use crate::support::{
    client::get_plain,
    eventually,
    gateway::{Gateway, Setup},
    kinesis::{Fault, KinesisServer, Service, Shard},
    metrics::Scrape,
    streaming::{Rig, identities, send},
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer ago than any test began.
const LONG: Duration = Duration::from_secs(7_200);

async fn lakegate(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = Command::from(setup.command(arguments));
    command.kill_on_drop(true).output().await.expect("the program can be started")
}

/// Compares with the streams: the exit code, and what was found for each.
async fn check(setup: &Setup) -> (Option<i32>, Value) {
    let done = lakegate(setup, &["ledger", "--check", "stream", "--since", "1d", "--format", "json"]).await;
    let found = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    (done.status.code(), found)
}

fn number(found: &Value, name: &str) -> u64 {
    found[name].as_u64().unwrap_or_else(|| panic!("no {name} in {found}"))
}

/// Panics unless everything fits: so many events, and so many doubles of them.
async fn assert_fits(setup: &Setup, events: usize, doubles: usize) {
    let (code, found) = check(setup).await;
    assert_eq!(code, Some(0), "{found}");
    let counts = ["delivered", "events", "doubles", "waiting", "unanswered", "strangers"].map(|name| number(&found[0], name));
    assert_eq!(counts, [events as u64, events as u64, doubles as u64, 0, 0, 0], "{found}");
    assert_eq!((&found[0]["differences"], &found[0]["not_compared"]), (&Value::from([0; 0]), &Value::from([0; 0])), "{found}");
}

/// A gateway whose stream, of two shards, is older than what it gets.
async fn rig() -> Rig {
    let rig = Rig::with_shards(2).await.tuned("call_timeout_ms", 1_000);
    rig.stream.set_age(LONG);
    rig
}

/// The same with these events in the stream.
async fn rig_with(events: usize) -> (Rig, Gateway, HashSet<Uuid>) {
    let rig = rig().await;
    let gateway = rig.setup.start().await;
    let sent = send(&gateway.client(), events).await;
    Scrape::when_drained(&gateway).await;
    (rig, gateway, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_outages_throttling_kills_reshards_and_doubles_the_ledger_fits_the_stream() {
    let rig = rig().await;
    rig.server.set_shards_per_page(2);
    let mut sent = HashSet::new();
    for aggregation in Service::Kinesis.aggregations() {
        rig.stream.set(Fault::RecordThrottled, 0.2).set(Fault::RecordFailed, 0.1);
        rig.stream.set(Fault::ResetAfter, 0.1).set(Fault::GarbageAfter, 0.1);
        // Whatever chance brings, there are doubles of each kind.
        rig.stream.script([Some(Fault::CutAfter)]);
        let setup = rig.setup.clone().set("kinesis.aggregation", aggregation);
        let mut gateway = setup.start().await;
        sent.extend(send(&gateway.client(), 700).await);
        let open = rig.stream.shards().iter().position(Shard::is_open).expect("an open shard");
        rig.stream.split_shard(open);
        rig.server.begin_outage().await;
        sent.extend(send(&gateway.client(), 300).await);
        gateway.kill();
        rig.server.end_outage().await;
        let gateway = setup.start().await;
        sent.extend(send(&gateway.client(), 100).await);
        Scrape::when_drained(&gateway).await.assert_ledger();
        gateway.stop().await;
    }
    rig.stream.clear_faults();
    let contents = rig.stream.contents();
    contents.assert_exactly(&sent);
    assert!(contents.duplicates() >= 3 && contents.aggregates > 0, "{} doubles", contents.duplicates());

    // Without a gateway, and with one.
    assert_fits(&rig.setup, sent.len(), contents.duplicates()).await;
    let gateway = rig.setup.start().await;
    let before = rig.server.calls().len();
    assert_fits(&rig.setup, sent.len(), contents.duplicates()).await;
    let calls = rig.server.calls();
    let reads = calls[before..].iter().filter(|call| call.target == "GetRecords");
    assert!(reads.clone().count() >= 5 && reads.clone().all(|call| call.status == 200), "no shard is read too fast: {calls:?}");

    // Readers have their own troubles.
    let faults = [Fault::ReadThrottled, Fault::ReadFailed, Fault::IteratorExpired, Fault::ReadEmpty];
    faults.iter().for_each(|fault| _ = rig.stream.set(*fault, 0.2));
    assert_fits(&rig.setup, sent.len(), contents.duplicates()).await;
    assert!(faults.iter().map(|fault| rig.stream.struck(*fault)).sum::<u64>() > 0, "they had some");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_stream_lost_is_found_and_its_minute_is_named() {
    let (rig, gateway, sent) = rig_with(40).await;
    assert_fits(&rig.setup, 40, 0).await;
    let lost = rig.stream.lose(17);
    let line: Value = serde_json::from_slice(&lost.data).expect("JSON");
    let (code, found) = check(&rig.setup).await;
    assert_eq!(code, Some(1), "{found}");
    let minute = format!("{}Z", &line["received_datetime"].as_str().expect("a time")[..16]);
    let differences = found[0]["differences"].as_array().expect("differences");
    assert_eq!(differences.len(), 1, "{found}");
    assert_eq!((&differences[0]["minute"], number(&differences[0], "missing")), (&Value::from(minute.clone()), 1), "{found}");
    assert_eq!(number(&found[0], "events"), sent.len() as u64 - 1, "{found}");
    // In words too, with what to do.
    let told = lakegate(&rig.setup, &["ledger", "--check", "stream"]).await;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        text.contains(&format!("{minute}: 1 missing (delivered ")) && text.contains("Missing: the stream was created at"),
        "{text}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_made_anew_lacks_everything_and_one_that_is_gone_is_an_error() {
    let (rig, gateway, sent) = rig_with(30).await;
    rig.server.delete_stream("events");
    let failed = lakegate(&rig.setup, &["ledger", "--check", "stream"]).await;
    let text = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && text.contains("the stream events of the sink kinesis cannot be read"), "{text}");
    rig.server.create_stream("events", 1);
    let (code, found) = check(&rig.setup).await;
    let missing = |found: &Value| {
        let differences = found[0]["differences"].as_array().expect("differences").clone();
        differences.iter().map(|difference| number(difference, "missing")).sum::<u64>()
    };
    assert_eq!((code, missing(&found)), (Some(1), sent.len() as u64), "{found}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_unknown_source_and_what_is_no_event_are_told() {
    let (rig, gateway, _) = rig_with(30).await;
    // Somebody else's event: like one of ours, with another identity.
    let ours = rig.stream.stored()[0].clone();
    let uuid = serde_json::from_slice::<Value>(&ours.data).expect("JSON")["event_uuid"].clone();
    let text = String::from_utf8(ours.data.to_vec()).expect("UTF-8");
    let other = text.replace(uuid.as_str().expect("text"), &identities(1)[0].to_string());
    rig.stream.put_unseen(&other);
    let (code, found) = check(&rig.setup).await;
    let difference = &found[0]["differences"][0];
    assert_eq!((code, number(difference, "too_many"), number(difference, "missing")), (Some(1), 1, 0), "{found}");
    rig.stream.lose(30);
    assert_fits(&rig.setup, 30, 0).await;
    rig.stream.put_unseen("hello\n");
    let (code, found) = check(&rig.setup).await;
    assert_eq!((code, number(&found[0], "strangers")), (Some(1), 1), "{found}");
    assert!(found[0]["first_stranger"].as_str().is_some_and(|first| first.starts_with("shardId-")), "{found}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_events_come_and_calls_have_no_answers_it_fits_too() {
    let rig = rig().await;
    let gateway = rig.setup.start().await;
    let client = gateway.client();
    let load = tokio::spawn(async move {
        loop {
            send(&client, 20).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    rig.stream.set(Fault::ResetAfter, 0.2).set(Fault::StallAfter, 0.05).set(Fault::RecordThrottled, 0.2);
    for _ in 0..3 {
        let (code, found) = check(&rig.setup).await;
        assert_eq!(code, Some(0), "{found}");
        assert!(number(&found[0], "events") > 0, "{found}");
    }
    // Events wait for a stream that is away for all but readers.
    rig.stream.set(Fault::AccessDenied, 1.0);
    send(&gateway.client(), 20).await;
    let (code, found) = check(&rig.setup).await;
    assert_eq!(code, Some(0), "{found}");
    assert!(number(&found[0], "waiting") > 0, "{found}");
    rig.stream.clear_faults();
    load.abort();
    Scrape::when_drained(&gateway).await;
    assert_eq!(check(&rig.setup).await.0, Some(0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_readers_are_throttled_is_waited_for_and_that_is_said() {
    let (rig, gateway, _) = rig_with(30).await;
    rig.stream.set(Fault::ReadThrottled, 1.0);
    let mut command = Command::from(rig.setup.command(&["ledger", "--check", "stream"]));
    let mut check = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut lines = BufReader::new(check.stderr.take().expect("it is piped")).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("in time").expect("text").expect("a line");
    assert!(line.contains("kinesis: 0 of 2 shards read, 0 records, 0 MiB, ") && line.contains("reads tried again"), "{line}");
    rig.stream.clear_faults();
    let done = check.wait_with_output().await.expect("it ends");
    assert!(
        done.status.success() && String::from_utf8_lossy(&done.stdout).contains("delivered 30, in the stream 30"),
        "{done:?}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_no_longer_keeps_is_told_and_proves_nothing() {
    let (rig, gateway, sent) = rig_with(30).await;
    rig.stream.set_retention_hours(0);
    let (code, found) = check(&rig.setup).await;
    assert_eq!((code, number(&found[0], "minutes")), (Some(1), 0), "{found}");
    let part = &found[0]["not_compared"][0];
    assert_eq!((number(part, "delivered"), &part["why"]), (sent.len() as u64, &"the stream keeps a record for 0 hours".into()));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_an_error_that_says_what_to_do() {
    let (rig, gateway, _) = rig_with(5).await;
    let said = async |setup: &Setup, more: &[&str]| {
        let done = lakegate(setup, &[&["ledger", "--check", "stream"], more].concat()).await;
        assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{done:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    rig.stream.set(Fault::ReadDenied, 1.0);
    let denied = said(&rig.setup, &[]).await;
    assert!(denied.contains("AccessDeniedException") && denied.contains("kinesis:GetRecords"), "{denied}");
    rig.stream.clear_faults();
    let unknown = said(&rig.setup, &["--sink", "other"]).await;
    assert!(unknown.contains("no sink with the name other"), "{unknown}");
    let firehose = said(&rig.setup.clone().set("sink.kind", "firehose").set("firehose.stream", "x"), &[]).await;
    assert!(firehose.contains("which nobody can read back"), "{firehose}");
    let lake = said(&rig.setup.clone().set("sink.kind", "lake"), &[]).await;
    assert!(lake.contains("use --check lake"), "{lake}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_streams_each_is_compared_and_one_can_be_named() {
    let rig = rig().await;
    let other = KinesisServer::start(8).await;
    let other_stream = other.create_stream("others", 1);
    let second = format!("{{kind=\"kinesis\", name=\"second\", settings={{stream=\"others\", endpoint=\"{}\"}}}}", other.url());
    let rig = rig.set("sinks", format!("[{{kind=\"kinesis\"}}, {second}]"));
    let gateway = rig.setup.start().await;
    send(&gateway.client(), 25).await;
    Scrape::when_drained(&gateway).await;
    other_stream.lose(3);
    let (code, found) = check(&rig.setup).await;
    let sinks = found.as_array().expect("both").iter().map(|found| (&found["sink"], number(found, "events")));
    assert_eq!((code, sinks.collect::<Vec<_>>()), (Some(1), vec![(&"kinesis".into(), 25), (&"second".into(), 24)]), "{found}");
    for (sink, is_well) in [("kinesis", true), ("second", false)] {
        let checked = lakegate(&rig.setup, &["ledger", "--check", "stream", "--sink", sink]).await;
        assert_eq!(checked.status.success(), is_well, "{checked:?}");
    }
    gateway.stop().await;
}

/// The sums of the ledger for the stream: accepted, delivered and spooled. Panics if it does not balance at this moment.
async fn balance(gateway: &Gateway) -> [u64; 3] {
    assert_eq!(Scrape::of(gateway).await.value("ledger_imbalance_events"), 0);
    let ledger = get_plain(gateway.admin(), "/admin/ledger?since=1d").await.expect("an answer").json();
    assert_eq!(ledger["imbalance"], 0, "{ledger}");
    let mut sums = [0; 3];
    for row in ledger["minutes"].as_array().expect("minutes") {
        let sink = &row["sinks"]["kinesis"];
        let counts = [number(row, "accepted"), number(sink, "delivered"), number(sink, "spooled")];
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn through_an_outage_with_a_kill_in_its_middle_the_ledger_balances_at_any_time() {
    let rig = rig().await;
    let mut gateway = rig.setup.start().await;
    let mut sent = send(&gateway.client(), 200).await;
    // Some are in the stream, and nobody knows: the outage cuts their calls.
    rig.stream.set_slow(Duration::from_millis(300)).set(Fault::Slow, 1.0);
    sent.extend(send(&gateway.client(), 200).await);
    rig.server.begin_outage().await;
    for _ in 0..2 {
        for _ in 0..10 {
            sent.extend(send(&gateway.client(), 30).await);
            let [accepted, delivered, spooled] = balance(&gateway).await;
            assert_eq!(accepted, delivered + spooled);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let counted = async || balance(&gateway).await[0] == sent.len() as u64;
        eventually("all are counted", LIMIT, counted).await;
        assert!(balance(&gateway).await[2] >= 300, "they wait");
        // What was just taken is not in the ledger yet.
        sent.extend(send(&gateway.client(), 30).await);
        gateway.kill();
        gateway = rig.setup.start().await;
        let again = balance(&gateway).await;
        assert_eq!(again[0], sent.len() as u64, "a kill forgets no accepted event: {again:?}");
    }
    rig.stream.clear_faults();
    rig.server.end_outage().await;
    let all = sent.len() as u64;
    eventually("all are delivered", LIMIT, async || balance(&gateway).await == [all, all, 0]).await;
    let contents = rig.stream.contents();
    contents.assert_exactly(&sent);
    assert_fits(&rig.setup, sent.len(), contents.duplicates()).await;
    gateway.stop().await;
    // Nothing is forgotten by the next start either.
    let gateway = rig.setup.start().await;
    assert_eq!(balance(&gateway).await, [all, all, 0]);
    gateway.stop().await;
}
