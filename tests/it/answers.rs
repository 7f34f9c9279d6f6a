//! Whole answers, minimal ones, and rejected events that are sent again: what senders meet that read only a status.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{
    client::{Answer, Client, Post, Wire},
    events, eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    readback::{DeadLetter, LakeRows, dead_letters},
    streaming::Rig,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The least quota of dead letters.
const QUOTA: usize = 16 << 20;

/// A gateway with a key `whole`, whose answers are whole, and a key `each`; the secrets are the names.
fn setup(folder: &Path) -> Setup {
    let key = |name: &str| {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\nanswers = \"{name}\"\n")
    };
    let config = folder.join("lakegate.toml");
    fs::write(&config, format!("[privacy]\nrespect_gpc = true\n{}{}", key("whole"), key("each"))).expect("a file");
    Setup::new(folder.join("data")).config(config).set("lake.flush_age_ms", 50)
}

fn new() -> Uuid {
    events::identity(&mut Rng::new())
}

fn wrong(uuid: Uuid) -> Vec<u8> {
    let good = String::from_utf8(events::small(uuid)).expect("text");
    good.replace("section:reached", "section:raeched").into_bytes()
}

fn lines(events: &[Vec<u8>]) -> Post {
    Post::lines(events.join(&b'\n')).header("x-api-key", "whole")
}

fn line(event: &[u8]) -> Post {
    Post::lines(event.to_vec()).header("x-api-key", "whole")
}

async fn send(client: &Client, post: &Post) -> Answer {
    client.post(Wire::H1, post).await.expect("an answer")
}

/// Status, and events that were accepted, duplicate, rejected, and to be sent again.
fn said(answer: &Answer) -> (u16, [u64; 4]) {
    let body = answer.json();
    let counts = ["accepted", "duplicates", "rejected", "retry"];
    (answer.status, counts.map(|name| body[name].as_u64().unwrap_or_else(|| panic!("{name} of {answer:?}"))))
}

fn letters(folder: &Path) -> Vec<DeadLetter> {
    dead_letters(&folder.join("data/dead-letters"))
}

/// What a command about the dead letters prints, as JSON.
fn printed(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.arg("dead-letters").args(arguments).arg("--config").arg(folder.join("lakegate.toml"));
    command
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    let output = command.output().expect("it runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Waits until it is noted that the only letter was repeated so often, and says when for the last time.
async fn until_repeated(folder: &Path, times: u64) -> String {
    let mut group = Value::Null;
    eventually(&format!("{times} repetitions are noted"), LIMIT, async || {
        group = printed(folder, &["list", "--format", "json"])["groups"][0].clone();
        group["repeats"] == times
    })
    .await;
    assert_eq!(group["count"], 1, "{group}");
    group["last_repeated"].as_str().expect("a time").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_asked_for_by_key_or_by_preference_and_the_preference_beats_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    let client = gateway.client();
    let prefer = |post: Post, prefer: &str| if prefer.is_empty() { post } else { post.header("prefer", prefer) };
    for (key, preference, [good, mixed, bad]) in [
        ("whole", "", [200, 200, 200]),
        ("each", "", [202, 207, 422]),
        ("each", "answers=whole", [200, 200, 200]),
        ("whole", "handling=lenient, Answers=\"each\"", [202, 207, 422]),
        ("whole", "answers=each, answers=whole", [202, 207, 422]),
        ("whole", "return=representation, durability=disk", [200, 200, 200]),
    ] {
        let events = [events::small(new()), wrong(new())];
        let post = |events: &[Vec<u8>]| prefer(lines(events).header("x-api-key", key), preference);
        assert_eq!(said(&send(&client, &post(&events[..1])).await), (good, [1, 0, 0, 0]), "{key} {preference}");
        assert_eq!(said(&send(&client, &post(&events[..1])).await), (good, [0, 1, 0, 0]), "{key} {preference}");
        assert_eq!(said(&send(&client, &post(&events)).await), (mixed, [0, 1, 1, 0]), "{key} {preference}");
        let answer = send(&client, &post(&events[1..])).await;
        assert_eq!(said(&answer), (bad, [0, 0, 1, 0]), "{key} {preference}");
        assert_eq!(answer.json()["results"][0]["error"]["code"], "unknown_event");
        let applied = match preference {
            "handling=lenient, Answers=\"each\"" | "answers=each, answers=whole" => "answers=each",
            "return=representation, durability=disk" => "durability=disk, return=representation",
            other => other,
        };
        assert_eq!(answer.header("preference-applied"), applied);
        let opted_out = send(&client, &post(&events).header("sec-gpc", "1")).await;
        assert_eq!((opted_out.status, &opted_out.json()["opted_out"]), (good, &json!(2)));
    }
    // What is wrong with the whole request is said as ever.
    for (post, status, code) in [
        (lines(&[]).header("x-api-key", "whole"), 400, "no_events"),
        (lines(&[events::small(new())]).header("x-api-key", "nobody"), 401, "unknown_key"),
        (lines(&[events::small(new())]).header("content-type", "text/csv"), 415, "unsupported_media_type"),
        (lines(&[events::small(new())]).header("prefer", "answers=some"), 400, "invalid_preference"),
        (lines(&[events::small(new())]).header("prefer", "return=some"), 400, "invalid_preference"),
    ] {
        let answer = send(&client, &post).await;
        assert_eq!((answer.status, answer.problem_code().as_str()), (status, code));
    }
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimal_answer_lists_only_what_must_be_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    let client = gateway.client();
    let known = events::small(new());
    send(&client, &line(&known)).await;
    for (preference, statuses) in [("return=minimal", [207, 422]), ("answers=whole, return=minimal", [200, 200])] {
        let post = |events: &[Vec<u8>]| lines(events).header("x-api-key", "each").header("prefer", preference);
        let mixed = send(&client, &post(&[events::small(new()), known.clone(), wrong(new())])).await;
        assert_eq!(
            (mixed.status, mixed.json()["rejected"].as_u64(), &mixed.json()["results"]),
            (statuses[0], Some(1), &json!([]))
        );
        assert_eq!(mixed.header("preference-applied"), preference);
        let bad = send(&client, &post(&[wrong(new())])).await;
        assert_eq!((bad.status, &bad.json()["results"], bad.header("preference-applied")), (statuses[1], &json!([]), preference));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_event_that_is_sent_again_makes_no_second_letter() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let mut gateway = setup.start().await;
    let client = gateway.client();
    let event = wrong(new());
    // Twice in one body, then by itself, then at the same moment.
    assert_eq!(said(&send(&client, &lines(&[event.clone(), event.clone()])).await), (200, [0, 0, 2, 0]));
    assert_eq!(said(&send(&client, &line(&event)).await), (200, [0, 0, 1, 0]));
    let other = wrong(new());
    let at_once = (0..20).map(|_| {
        let (client, post) = (client.clone(), line(&other));
        tokio::spawn(async move { said(&send(&client, &post).await) })
    });
    for answer in at_once.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("an answer"), (200, [0, 0, 1, 0]));
    }
    assert_eq!(letters(folder.path()).len(), 2);
    let scrape = Scrape::of(&gateway).await;
    scrape.assert_ledger();
    assert_eq!((scrape.value("dead_letters"), scrape.value("repeated_dead_letters")), (2, 21));
    // The same bytes with another key are another sender's event.
    send(&client, &line(&event).header("x-api-key", "each")).await;
    assert_eq!(letters(folder.path()).len(), 3);

    let dropped = printed(folder.path(), &["drop", "--where", "source=each", "--format", "json"]);
    assert_eq!(dropped["removed"]["letters"], 1);
    eventually("the repetitions are noted", LIMIT, async || {
        letters(folder.path()).iter().map(|letter| letter.repeats).sum::<i64>() == 21
    })
    .await;
    // A kill takes none of what was noted, and the next gateway knows the letters.
    gateway.kill();
    let gateway = setup.start().await;
    assert_eq!(said(&send(&gateway.client(), &lines(&[other.clone(), event.clone(), event.clone()])).await), (200, [0, 0, 3, 0]));
    gateway.stop().await;
    let gateway = setup.start().await;
    assert_eq!(said(&send(&gateway.client(), &line(&event)).await), (200, [0, 0, 1, 0]));
    gateway.stop().await;
    let mut repeats: Vec<i64> = letters(folder.path()).iter().map(|letter| letter.repeats).collect();
    repeats.sort_unstable();
    assert_eq!(repeats, [2 + 2 + 1, 19 + 1], "also what was counted just before a stop");
    let group = &printed(folder.path(), &["list", "--format", "json"])["groups"][0];
    assert_eq!((&group["count"], &group["repeats"]), (&json!(2), &json!(25)));
    assert!(group["last_repeated"].as_str() > group["first_received"].as_str(), "{group}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_and_cut_letters_and_lines_without_identity_are_known_again_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let huge = format!(r#"{{"event_uuid":"{}","event_name":"a:b","created_at":1,"pad":"{}"}}"#, new(), "x".repeat(3 << 20));
    let packed: Vec<Vec<u8>> = (0..500).map(|_| [wrong(new()), vec![b' '; 100]].concat()).collect();
    let posts = [
        lines(&[b"no JSON, no identity".to_vec(), b"7".to_vec()]),
        lines(&[huge.into_bytes()]),
        Post { body: events::gzip(&packed.join(&b'\n')), ..lines(&[]).header("content-encoding", "gzip") },
    ];
    for round in 0..3 {
        let gateway = setup.start().await;
        for _ in 0..2 {
            for (post, count) in posts.iter().zip([2, 1, 500]) {
                assert_eq!(said(&send(&gateway.client(), post).await), (200, [0, 0, count, 0]), "round {round}");
            }
        }
        gateway.stop().await;
        let letters = letters(folder.path());
        assert_eq!(letters.len(), 503);
        assert!(letters.iter().all(|letter| letter.repeats == 2 * round + 1), "{round}: {:?}", letters[0]);
    }
    assert!(letters(folder.path()).iter().any(|letter| letter.line["raw_sha256"].is_string()), "one was cut");
    let file = fs::read_to_string(folder.path().join("data/dead-letters/whole/00000001.ndjson")).expect("a file");
    assert!(file.contains("{\"packed_letters\":500,"), "those of one request were packed");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_in_a_stream_are_known_again_also_after_a_kill() {
    let rig = Rig::with_shards(1).await;
    let rejects = rig.server.create_stream("rejects", 1);
    let rig = rig.set("dead_letters.kind", "kinesis").set("dead_letters.stream", "rejects");
    let (event, last) = (wrong(new()), wrong(new()));
    let mut gateway = rig.setup.start().await;
    let send_again = async |gateway: &Gateway, events: &[Vec<u8>]| {
        said(&send(&gateway.client(), &lines(events).header("x-api-key", "dev").header("prefer", "answers=whole")).await)
    };
    assert_eq!(send_again(&gateway, &[event.clone(), event.clone()]).await, (200, [0, 0, 2, 0]));
    assert_eq!(send_again(&gateway, std::slice::from_ref(&event)).await, (200, [0, 0, 1, 0]));
    let journal = rig.folder.path().join("dead-letters/dev/repeats.journal");
    let noted = || fs::read_to_string(&journal).unwrap_or_default();
    eventually("the repetitions are noted", LIMIT, async || noted().contains("\"repeats\":2")).await;
    gateway.kill();
    let gateway = rig.setup.start().await;
    assert_eq!(send_again(&gateway, &[event.clone(), last.clone()]).await, (200, [0, 0, 2, 0]));
    rejects.wait_until("both letters came", LIMIT, |stored| stored.len() >= 2).await;
    gateway.stop().await;
    // What the kill left unconfirmed may be there twice, but not as another letter.
    let letters: HashSet<Vec<u8>> = rejects.stored().iter().map(|record| record.data.to_vec()).collect();
    let raw = |line: &Vec<u8>| serde_json::from_slice::<Value>(line).expect("a letter")["raw"].as_str().expect("text").to_owned();
    let mut found: Vec<String> = letters.iter().map(raw).collect();
    found.sort();
    let mut sent = [event, last].map(|event| String::from_utf8(event).expect("text"));
    sent.sort();
    assert_eq!(found, sent, "one letter each");
    assert!(noted().contains("\"repeats\":3"), "{}", noted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_duplicate_has_one_letter_whatever_comes_in_between() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let event = String::from_utf8(events::small(new())).expect("text");
    let twin = event.replace("reds", "blues").into_bytes();
    let mut gateway = setup.start().await;
    assert_eq!(said(&send(&gateway.client(), &line(event.as_bytes())).await), (200, [1, 0, 0, 0]));
    for _ in 0..2 {
        assert_eq!(said(&send(&gateway.client(), &lines(&[twin.clone(), twin.clone()])).await), (200, [0, 2, 0, 0]));
        gateway.stop().await;
        gateway = setup.start().await;
    }
    gateway.stop().await;
    let letters = letters(folder.path());
    assert_eq!((letters.len(), letters[0].code(), letters[0].repeats), (1, "conflicting_duplicate", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_letter_was_replayed_dropped_or_removed_is_judged_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let gateway = setup.start().await;
    let client = gateway.client();
    let uuid = new();
    let event = wrong(uuid);
    let post = line(&event);
    let open = || printed(folder.path(), &["list", "--format", "json"])["letters"].as_u64().expect("a count");
    for _ in 0..2 {
        assert_eq!(said(&send(&client, &post).await), (200, [0, 0, 1, 0]));
    }
    assert_eq!(open(), 1);
    let shown = printed(folder.path(), &["show", &uuid.to_string()]);
    let last = until_repeated(folder.path(), 1).await;
    assert!(shown["repeats"].is_u64() && printed(folder.path(), &["show", &uuid.to_string()])["last_repeated"] == last.as_str());

    assert_eq!(printed(folder.path(), &["drop", "--yes", "--format", "json"])["removed"]["letters"], 1);
    assert_eq!(open(), 0);
    assert_eq!(said(&send(&client, &post).await), (200, [0, 0, 1, 0]));
    assert_eq!(open(), 1, "a dropped one makes a new letter");

    let patch = folder.path().join("patch.json");
    fs::write(&patch, json!([{"op": "replace", "path": "/event_name", "value": "menu:section:reached"}]).to_string())
        .expect("a file");
    let replayed = printed(folder.path(), &["replay", "--patch", patch.to_str().expect("text"), "--format", "json"]);
    assert_eq!(replayed["accepted"], 1, "{replayed}");
    assert_eq!(open(), 0);
    assert_eq!(said(&send(&client, &post).await), (200, [0, 0, 1, 0]));
    assert_eq!(open(), 1, "a replayed one makes a new letter");

    // A person removes, moves and truncates files.
    let files = folder.path().join("data/dead-letters/whole");
    let newest = |files: &Path| {
        let mut names: Vec<_> = fs::read_dir(files).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        names.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
        names.into_iter().max().expect("a file")
    };
    for how in 0..3 {
        let file = newest(&files);
        match how {
            0 => fs::remove_file(&file).expect("it is there"),
            1 => fs::rename(&file, folder.path().join("moved")).expect("it is there"),
            _ => fs::File::create(&file).map(drop).expect("it is there"),
        }
        // An event that comes right then may have to be sent once more.
        eventually("there is a letter again", LIMIT, async || {
            let (status, counts) = said(&send(&client, &post).await);
            assert!(status == 503 && counts == [0, 0, 0, 1] || status == 200 && counts == [0, 0, 1, 0], "{status} {counts:?}");
            status == 200
        })
        .await;
        assert!(open() >= 1, "{how}");
    }
    // A good event of that identity is taken as any other.
    let mended = String::from_utf8(event).expect("text").replace("raeched", "reached").into_bytes();
    assert!([[1, 0, 0, 0], [0, 1, 0, 0]].contains(&said(&send(&client, &line(&mended)).await).1));
    gateway.stop().await;
}

/// Fills the dead letters of `whole` with letters of another day: two files, of which the second is all repaired.
fn fill(folder: &Path) {
    let letters = folder.join("data/dead-letters/whole");
    fs::create_dir_all(&letters).expect("a folder");
    let mut repairs = String::new();
    for number in 1..=2 {
        let (mut text, mut count) = (String::new(), 0);
        while text.len() < QUOTA / 2 - 10_000 {
            count += 1;
            let line = json!({
                "received_datetime": format!("2026-11-0{number}T00:00:00.000Z"), "source": "whole", "event_uuid": null,
                "event_name": null, "code": "not_an_object", "detail": "odd", "pointer": "", "raw": format!("{count}{}", "x".repeat(9_000)),
            });
            let line = line.to_string();
            if number == 2 {
                let name: String = Sha256::digest(&line)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
                repairs += &format!("{{\"at\":\"\",\"run\":\"\",\"letter\":\"{name}\",\"outcome\":\"accepted\"}}\n");
            }
            text += &(line + "\n");
        }
        fs::write(letters.join(format!("0000000{number}.ndjson")), text).expect("a file");
    }
    fs::write(letters.join("repairs.journal"), repairs).expect("a file");
}

/// A chunk of nine good events and a bad one, which has more bytes than are left in a full folder.
fn chunk() -> (Vec<Uuid>, Post) {
    let good: Vec<Uuid> = (0..9).map(|_| new()).collect();
    let mut events: Vec<Vec<u8>> = good.iter().map(|uuid| events::small(*uuid)).collect();
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();
    events.insert(
        4,
        format!(r#"{{"event_uuid":"{}","event_name":"no:such","created_at":1,"noise":"{noise}"}}"#, new()).into_bytes(),
    );
    (good, lines(&events))
}

/// Sends as Fluent Bit does: the whole chunk again, until a status says that all is well. Says how often.
async fn send_as_fluent_bit(client: &Client, post: &Post) -> usize {
    let started = Instant::now();
    for tries in 1.. {
        let answer = send(client, post).await;
        if matches!(answer.status, 200 | 201 | 204 | 205) {
            return tries;
        }
        assert!(started.elapsed() < LIMIT, "it is sent without end: {answer:?}");
    }
    unreachable!("it returned, or panicked");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_dead_letters_do_not_stop_a_sender_of_whole_chunks_and_what_is_discarded_for_it_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = setup(folder.path()).set("dead_letters.bytes_per_key_max", QUOTA);
    fill(folder.path());
    // As long as it is held, only the bad event is to be sent again, and others' letters are taken.
    let gateway = setup.start().await;
    let (mut sent, post) = chunk();
    let answer = send(&gateway.client(), &post).await;
    assert_eq!(said(&answer), (503, [9, 0, 0, 1]), "{answer:?}");
    assert_eq!(
        (answer.problem_code().as_str(), &answer.json()["results"][0]["error"]["code"]),
        ("storage_unavailable", &json!("dead_letters_full"))
    );
    assert!((60..=120).contains(&answer.header("retry-after").parse::<u64>().expect("seconds")), "{answer:?}");
    assert_eq!(said(&send(&gateway.client(), &post).await), (503, [0, 9, 0, 1]));
    assert_eq!(said(&send(&gateway.client(), &post.clone().header("x-api-key", "each")).await), (207, [0, 9, 1, 0]));
    gateway.until_reason("dead_letters_full", LIMIT).await;
    gateway.stop().await;

    let gateway = setup.clone().set("dead_letters.hold_minutes_when_full", 0).start().await;
    // By each event nothing is discarded: its good events are settled anyhow.
    let answer = send(&gateway.client(), &post.clone().header("prefer", "answers=each")).await;
    assert_eq!(said(&answer), (207, [0, 9, 0, 1]));
    assert_eq!(send_as_fluent_bit(&gateway.client(), &post).await, 1);
    let files = data.join("dead-letters/whole");
    assert!(files.join("00000001.ndjson").exists() && !files.join("00000002.ndjson").exists(), "the repaired ones go first");
    let scrape = Scrape::of(&gateway).await;
    assert_eq!(scrape.value("discarded_dead_letters"), 0);
    // Until letters that nobody repaired are the oldest.
    let lost = fs::read_to_string(files.join("00000001.ndjson")).expect("a file").lines().count() as i64;
    while files.join("00000001.ndjson").exists() {
        let (good, post) = chunk();
        sent.extend(good);
        assert_eq!(send_as_fluent_bit(&gateway.client(), &post).await, 1);
    }
    let scrape = Scrape::when_drained(&gateway).await;
    scrape.assert_ledger();
    assert_eq!(scrape.value("discarded_dead_letters"), lost);
    let reasons = gateway.until_reason("dead_letters_discarded", LIMIT).await;
    assert_eq!((reasons.status, &reasons.json()["ready"]), (200, &json!(true)));
    assert!(reasons.text().contains(&format!("{lost} dead letters of 2026-11-01")), "{}", reasons.text());
    gateway.until_logged("dead letters that nobody repaired were discarded", 1).await;
    assert_eq!(dead_letters(&data.join("dead-letters/each")).len(), 1, "nobody else's");
    // A person makes room: it is over.
    printed(folder.path(), &["drop", "--yes", "--format", "json"]);
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
    LakeRows::read(&data.join("lake")).assert_exactly(&sent.into_iter().collect(), events::small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_can_keep_every_letter_and_hold_the_sender() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path()).set("dead_letters.bytes_per_key_max", QUOTA).set("dead_letters.hold_minutes_when_full", 0);
    fill(folder.path());
    let gateway = setup.set("dead_letters.when_full", "retry").start().await;
    let (_, post) = chunk();
    assert_eq!(said(&send(&gateway.client(), &post).await), (503, [9, 0, 0, 1]));
    assert_eq!(said(&send(&gateway.client(), &post).await), (503, [0, 9, 0, 1]));
    assert_eq!(Scrape::of(&gateway).await.value("discarded_dead_letters"), 0);
    gateway.stop().await;
}
