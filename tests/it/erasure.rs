//! A person is erased: `lakegate lake erase`, beside a gateway that runs, where none does, and through kills.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    client::{Client, Post, Told, Wire, ask_plain},
    eventually,
    gateway::{Gateway, Setup},
    kinesis::{KinesisServer, Service, Stream},
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
    say, seed,
    streaming::identities,
};

const LIMIT: Duration = Duration::from_secs(60);

/// An event of a person, in one of the ways in which a client may write who that is.
fn event(uuid: Uuid, name: &str, guest: &str) -> String {
    format!(r#"{{"event_uuid":"{uuid}","event_name":"{name}","created_at":1795111203.5,"guest":{{"id":{guest}}},"n":1}}"#)
}

/// A person as JSON, escaped in one of three ways.
fn escaped(person: &str, way: usize) -> String {
    let first = person.chars().next().expect("not empty");
    match way % 3 {
        0 => format!("\"{person}\""),
        1 => format!("\"\\u{:04x}{}\"", u32::from(first), &person[1..]),
        _ => format!("\"{}\\u{:04X}\"", &person[..person.len() - 1], person.bytes().last().expect("not empty")),
    }
}

/// Posts events that must all be accepted.
async fn send(client: &Client, events: &[String]) {
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    for events in events.chunks(500) {
        let answer = connection.post(&Post::lines(events.join("\n"))).await.expect("an answer");
        assert_eq!(answer.told(events.len()), vec![Told::Accepted; events.len()], "{}", answer.text());
    }
}

/// Sends `count` events of a person; returns their identities.
async fn send_of(client: &Client, person: &str, count: usize) -> HashSet<Uuid> {
    let uuids = identities(count);
    let names = ["order:item:added", "menu:dish:seen", "visit:page:left"];
    let events: Vec<String> = uuids.iter().enumerate().map(|(n, uuid)| event(*uuid, names[n % 3], &escaped(person, n))).collect();
    send(client, &events).await;
    uuids.into_iter().collect()
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(variable);
    }
    command.env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    command.args(["lake", "erase"]).args(arguments).arg("--data-dir").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    command(data, arguments).output().expect("the program can be started")
}

/// The report of an erasure, as JSON.
async fn report(data: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
    let mut command = tokio::process::Command::from(command(data, &arguments));
    let output = command.output().await.expect("the program can be started");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A gateway with a lake and a Kinesis stream that can be taken away.
struct Rig {
    folder: tempfile::TempDir,
    server: KinesisServer,
    stream: Stream,
}

impl Rig {
    async fn new() -> Self {
        let server = KinesisServer::start(7).await;
        let stream = server.create(Service::Kinesis, "events", 2);
        Self { folder: tempfile::tempdir().expect("a folder"), server, stream }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn setup(&self) -> Setup {
        Setup::new(self.data())
            .reaching(&self.server)
            .set("schemas.unknown_events", "accept")
            .set("kinesis.stream", "events")
            .set("kinesis.linger_ms", 20)
            .set("lake.flush_age_ms", 50)
            .set("sinks", "[{kind=\"lake\"}, {kind=\"kinesis\"}]")
    }

    fn lake(&self) -> HashSet<Uuid> {
        let lake = LakeRows::read(&self.data().join("lake"));
        assert!(lake.rows.values().all(|rows| rows.len() == 1), "an event is in the lake twice");
        lake.rows.into_keys().collect()
    }

    fn streamed(&self) -> HashSet<Uuid> {
        let contents = self.stream.contents();
        assert_eq!(contents.duplicates(), 0, "events are in the stream twice");
        contents.copies.into_keys().collect()
    }

    async fn until_in_lake(&self, events: &HashSet<Uuid>) {
        eventually("the lake has the events", LIMIT, async || events.is_subset(&self.lake())).await;
    }
}

/// Files below `folder`, without segments of a spool, whose bytes contain `text`.
fn mentions(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "seg")
                && memchr::memmem::find(&fs::read(&path).unwrap_or_default(), text.as_bytes()).is_some()
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_dead_stream_is_erased_and_the_ledger_still_adds_up() {
    let rig = Rig::new().await;
    let mut gateway = rig.setup().start().await;
    rig.server.begin_outage().await;
    let others = send_of(&gateway.client(), "olga", 600).await;
    let gone = send_of(&gateway.client(), "anna", 300).await;
    let more = send_of(&gateway.client(), "annabel", 300).await;
    let all: HashSet<Uuid> = [&others, &gone, &more].into_iter().flatten().copied().collect();
    rig.until_in_lake(&all).await;

    let dry = report(&rig.data(), &["--where", "/guest/id=anna", "--dry-run"]).await;
    assert_eq!((&dry["dry_run"], &dry["spools"][0]["erased"]), (&json!(true), &json!(300)), "{dry:#}");
    assert_eq!(rig.lake(), all, "a dry run changes nothing");
    assert!(!rig.data().join("erasures").exists());

    let done = report(&rig.data(), &["--where", "/guest/id=anna"]).await;
    let spool = &done["spools"][0];
    assert_eq!(
        (&spool["searched"], &spool["erased"], &spool["undelivered"]),
        (&json!(1200), &json!(300), &json!(300)),
        "{done:#}"
    );
    assert_eq!((&done["lakes"][0]["erased"], &done["incomplete"]), (&json!(300), &json!([])), "{done:#}");
    let kept: HashSet<Uuid> = all.difference(&gone).copied().collect();
    assert_eq!(rig.lake(), kept);
    let out_of_reach = done["out_of_reach"].to_string();
    assert!(out_of_reach.contains("the Kinesis stream events") && out_of_reach.contains("backups"), "{out_of_reach}");
    let stored = mentions(&rig.data().join("erasures"), "anna");
    assert!(stored.is_empty(), "{stored:?}");
    assert!(!gateway.log_text().contains("anna"), "the log has a value");

    // A resent event is a duplicate.
    let uuid = *gone.iter().next().expect("some");
    let resent = gateway.client().post(Wire::H1, &Post::lines(event(uuid, "order:item:added", "\"anna\""))).await;
    let told = resent.expect("an answer").told(1);
    assert_ne!(told, [Told::Accepted], "the identity of an erased event is remembered");

    // The list of erased events is obeyed after a kill, too.
    gateway.kill();
    let gateway = rig.setup().start().await;
    rig.server.end_outage().await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!(drained.of_sink("kinesis", "erased_events"), 300);
    gateway.stop().await;
    assert_eq!((rig.streamed(), rig.lake()), (kept.clone(), kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_person_are_erased_where_no_gateway_runs_and_by_many_values_names_and_numbers() {
    let rig = Rig::new().await;
    let gateway = rig.setup().start().await;
    rig.server.begin_outage().await;
    let uuids = identities(6);
    let events = [
        event(uuids[0], "order:item:added", "17"),
        event(uuids[1], "order:item:added", "17.0"),
        event(uuids[2], "order:item:added", "\"17\""),
        event(uuids[3], "menu:dish:seen", "1.7e1"),
        event(uuids[4], "order:item:added", "171"),
        event(uuids[5], "order:item:added", "\"x y\""),
    ];
    send(&gateway.client(), &events).await;
    rig.until_in_lake(&uuids.iter().copied().collect()).await;
    gateway.stop().await;
    let ids = rig.folder.path().join("ids.txt");
    fs::write(&ids, "x y\r\n17\nnobody\n").expect("a file");
    let arguments = ["--where", "/guest/id", "--where-file", ids.to_str().expect("a path"), "--event", "order:*"];
    let done = report(&rig.data(), &arguments).await;
    assert_eq!(
        (&done["spools"][0]["erased"], &done["lakes"][0]["erased"], &done["values"]),
        (&json!(4), &json!(4), &json!(3)),
        "{done:#}"
    );
    let kept: HashSet<Uuid> = [uuids[3], uuids[4]].into();
    assert_eq!(rig.lake(), kept);
    let gateway = rig.setup().start().await;
    rig.server.end_outage().await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    assert_eq!((rig.streamed(), rig.lake()), (kept.clone(), kept));
    let again = report(&rig.data(), &["--where", &format!("event_uuid={}", uuids[3].to_string().to_uppercase())]).await;
    assert_eq!(again["lakes"][0]["erased"], 1, "{again:#}");
    assert_eq!(rig.lake(), [uuids[4]].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_person_are_erased_in_all_states_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).start().await;
    let client = gateway.client();
    let rejected = async |events: &[String]| {
        let answer = client.post(Wire::H1, &Post::lines(events.join("\n"))).await.expect("an answer");
        assert!(answer.told(events.len()).iter().all(|told| matches!(told, Told::Rejected(_))), "{}", answer.text());
    };
    // Many letters of one request are packed.
    let uuids = identities(400);
    let person = |n: usize| if n.is_multiple_of(4) { escaped("anna", n / 4) } else { "\"olga\"".to_owned() };
    rejected(&uuids.iter().enumerate().map(|(n, uuid)| event(*uuid, "order:item:added", &person(n))).collect::<Vec<_>>()).await;
    rejected(&[event(Uuid::nil(), "order:item:added", "\"anna\""), "{\"guest\":{\"id\":\"anna\"".to_owned()]).await;
    let before = dead_letters(&data.join("dead-letters")).len();
    assert_eq!(before, 402);
    // The entry of a letter in the journal of repairs repeats the reason, which may name values.
    let output = {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(["dead-letters", "replay", "--where", "code=unknown_event", "--data-dir"]).arg(&data);
        command
    }
    .output()
    .expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let done = report(&data, &["--where", "/guest/id=anna"]).await;
    let letters = &done["dead_letters"];
    assert_eq!(
        (&letters["searched"], &letters["erased"], &letters["undecided"]),
        (&json!(402), &json!(101), &json!(1)),
        "{done:#}"
    );
    assert!(done["incomplete"].to_string().contains("--unreadable-too"), "{done:#}");
    let left = dead_letters(&data.join("dead-letters"));
    let kept: HashSet<Uuid> = uuids.iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, uuid)| *uuid).collect();
    let names: HashSet<Uuid> = left
        .iter()
        .filter_map(|letter| serde_json::from_slice::<Value>(&letter.raw).ok()?["event_uuid"].as_str()?.parse().ok())
        .collect();
    assert_eq!((names, left.len()), (kept, 301));
    let all = report(&data, &["--where", "/guest/id=anna", "--unreadable-too"]).await;
    assert_eq!((&all["dead_letters"]["erased"], &all["incomplete"]), (&json!(1), &json!([])), "{all:#}");
    assert_eq!(dead_letters(&data.join("dead-letters")).len(), 300);
    let erased = uuids[0].to_string();
    let stored = mentions(&data.join("dead-letters"), &erased);
    assert!(stored.is_empty(), "{stored:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_gateway_is_killed_meanwhile_an_erased_event_is_nowhere_and_all_others_are_there_once() {
    let rounds = std::env::var("LAKEGATE_ERASURE_ROUNDS").map_or(4, |text| text.parse().expect("a number of rounds"));
    let mut rng = Rng::with_seed(seed("LAKEGATE_ERASURE_SEED"));
    let rig = Rig::new().await;
    let setup = rig.setup().set("spool.segment_bytes", 2_100_000);
    let (mut kept, mut gone) = (HashSet::new(), HashSet::new());
    rig.server.begin_outage().await;
    let mut interrupted = 0;
    for round in 0..rounds {
        let mut gateway = setup.start().await;
        let person = format!("anna-{round}");
        kept.extend(send_of(&gateway.client(), "olga", 400).await);
        gone.extend(send_of(&gateway.client(), &person, 200).await);
        if rng.bool() {
            rig.until_in_lake(&kept).await;
        }
        let condition = format!("/guest/id={person}");
        let mut erasing = command(&rig.data(), &["--where", &condition]).spawn().expect("it starts");
        // From before the request arrives until after it ended.
        tokio::time::sleep(Duration::from_micros(rng.u64(0..700_000))).await;
        gateway.kill();
        let ended = erasing.wait().expect("it ends").success();
        interrupted += usize::from(!ended);
        let is_known = rig.data().join("erasures").exists();
        let gateway = setup.start().await;
        if !ended && !is_known {
            // It never arrived.
            assert_eq!(report(&rig.data(), &["--where", &condition]).await["incomplete"], json!([]));
        }
        eventually("the gateway continues", LIMIT, async || unfinished(&rig.data()) == 0).await;
        // If the kill came before the request was stored, the command is repeated.
        let last = report(&rig.data(), &["--where", &condition]).await;
        assert_eq!(last["incomplete"], json!([]), "{last:#}");
        drop(gateway);
    }
    let gateway = setup.start().await;
    rig.server.end_outage().await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    let (lake, streamed) = (rig.lake(), rig.streamed());
    assert_eq!((lake.intersection(&gone).count(), streamed.intersection(&gone).count()), (0, 0), "an erased event came back");
    assert_eq!((lake, streamed), (kept.clone(), kept));
    say(format_args!("erasure: {rounds} rounds, {interrupted} interrupted"));
}

/// Requests for erasures that are not finished.
fn unfinished(data: &Path) -> usize {
    let Ok(entries) = fs::read_dir(data.join("erasures")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().to_string_lossy().ends_with(".request.json")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_conditions_are_explained_before_anything_is_done_and_web_pages_erase_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).start().await;
    for (arguments, said) in [
        (&["--where", "session_id"][..], "--where session_id has no value"),
        (&["--where", "session_id="], "session_id is to be empty"),
        (&["--where", "guest/id=7"], "\"guest/id\" is no field of the payload"),
        (&["--where", "event_name=menu:item:viewed"], "choose event names with --event"),
        (&["--where", "event_uuid=7"], "event_uuid is compared with UUIDs"),
        (&["--where-file", "ids.txt", "--where", "a=b"], "--where-file needs a --where that names the field alone"),
        (&["--event", "menu:*"], "--where <CONDITION>"),
    ] {
        let output = run(&data, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(said), "{arguments:?}: {text}");
    }
    let ask = async |headers: &[(&'static str, &str)]| {
        let answer = ask_plain(gateway.admin(), "POST", "/admin/erasures", headers).await.expect("an answer");
        (answer.status, answer.problem_code())
    };
    assert_eq!(ask(&[]).await, (415, "unsupported_media_type".into()));
    assert_eq!(ask(&[("content-type", "application/json")]).await, (400, "invalid_erasure".into()));
    assert_eq!(ask(&[("content-type", "application/json"), ("origin", "null")]).await, (403, "operators_only".into()));
    assert!(!data.join("erasures").exists());
    let nowhere = run(&folder.path().join("none"), &["--where", "a=b"]);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("there is no such data folder"));
    drop::<Gateway>(gateway);
}
