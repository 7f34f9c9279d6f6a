//! Where is my event? `lakegate find` tells the truth of each event, and `lakegate ledger` balances and fits the lake: through kills,
//! rejections, replays, erasure, damage and rows that somebody removed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use fastrand::Rng;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    client::{Post, Told, Wire, ask_plain, get_plain},
    events, eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 50).set("spool.segment_bytes", 2_100_000)
}

fn lakegate(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(variable);
    }
    command.env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    command.args(arguments).arg("--data-dir").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.output().expect("the program can be started")
}

/// The answer of a running gateway.
async fn find(gateway: &Gateway, uuid: Uuid) -> Value {
    let answer = get_plain(gateway.admin(), &format!("/admin/events/{uuid}")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn status(gateway: &Gateway, uuid: Uuid) -> String {
    find(gateway, uuid).await["status"].as_str().expect("a word").to_owned()
}

fn new_events(rng: &mut Rng, count: usize) -> Vec<Uuid> {
    (0..count).map(|_| events::identity(rng)).collect()
}

async fn send(gateway: &Gateway, uuids: &[Uuid]) -> Vec<Told> {
    let lines = uuids.iter().map(|uuid| events::small(*uuid)).collect::<Vec<_>>().join(&b'\n');
    gateway.client().post(Wire::H1, &Post::lines(lines)).await.expect("an answer").told(uuids.len())
}

/// The sums of the ledger.
async fn ledger(gateway: &Gateway) -> [u64; 5] {
    let answer = get_plain(gateway.admin(), "/admin/ledger?since=1d").await.expect("an answer").json();
    assert_eq!(answer["imbalance"], 0);
    let mut sums = [0; 5];
    for row in answer["minutes"].as_array().expect("minutes") {
        let counts =
            ["received", "accepted", "duplicate", "rejected", "replayed"].map(|name| row[name].as_u64().expect("a number"));
        assert_eq!(counts[0] + counts[4], counts[1] + counts[2] + counts[3] + row["retry"].as_u64().expect("a number"), "{row}");
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sums
}

fn parquet_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("_delta_log") {
            parquet_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_run_with_kills_is_found_with_its_fate_and_the_ledger_balances_and_fits_the_lake() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut rng = Rng::new();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut gateway = setup(folder.path()).start().await;
        for _ in 0..rng.usize(1..6) {
            let count = rng.usize(1..30);
            let new = new_events(&mut rng, count);
            assert_eq!(send(&gateway, &new).await, vec![Told::Accepted; new.len()]);
            good.extend(new);
            let wrong = events::identity(&mut rng);
            let post = Post::json(events::bad_of_kind(wrong, 8).bytes);
            assert!(matches!(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1)[0], Told::Rejected(_)));
            bad.push(wrong);
        }
        // What is answered and stores nothing is counted within a second.
        eventually("the rejections are counted", LIMIT, async || ledger(&gateway).await[3] == bad.len() as u64).await;
        gateway.kill();
    }
    let gateway = setup(folder.path()).start().await;
    assert_eq!(send(&gateway, &good[..3]).await, vec![Told::Duplicate; 3]);
    assert_eq!(send(&gateway, &good[..2]).await, vec![Told::Duplicate; 2]);
    Scrape::when_drained(&gateway).await;
    for (index, uuid) in good.iter().enumerate() {
        let story = find(&gateway, *uuid).await;
        assert_eq!(story["status"], "delivered", "{story}");
        let accepted = &story["accepted"][0];
        assert_eq!((&accepted["key"], accepted["event_name"].as_str().is_some()), (&Value::from("dev"), true), "{story}");
        assert_eq!(accepted["spool"]["seq"], index, "{story}");
        assert_eq!(accepted["sinks"][0]["rows"].as_array().map(Vec::len), Some(1), "{story}");
        let again = [2, 2, 1].get(index).copied().unwrap_or(0);
        assert_eq!(story["sent_again"][0]["times"].as_u64().unwrap_or(0), again, "{story}");
    }
    for uuid in &bad {
        let story = find(&gateway, *uuid).await;
        assert_eq!(
            (&story["status"], &story["rejected"][0]["state"]),
            (&Value::from("rejected"), &Value::from("open")),
            "{story}"
        );
    }
    let nobody = events::identity(&mut rng);
    let story = find(&gateway, nobody).await;
    assert_eq!(story["status"], "never_seen", "{story}");
    assert!(story["known_since"]["window"].as_str().is_some_and(|since| since.ends_with('Z')), "{story}");
    let all = (good.len() + bad.len() + 5) as u64;
    assert_eq!(ledger(&gateway).await, [all, good.len() as u64, 5, bad.len() as u64, 0]);
    let checked = lakegate(&data, &["ledger", "--check", "lake", "--since", "1d"]);
    assert!(checked.status.success(), "{checked:?}");

    // Erased: it is said, and the ledger still fits.
    let erased = lakegate(&data, &["lake", "erase", "--where", &format!("event_uuid={}", good[0])]);
    assert!(erased.status.success(), "{erased:?}");
    assert_eq!(status(&gateway, good[0]).await, "erased");
    let checked = lakegate(&data, &["ledger", "--check", "lake", "--since", "1d"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("erased or expired 1"), "{checked:?}");

    // A file that somebody removed by hand: the minute is named.
    let mut files = Vec::new();
    parquet_files(&data.join("lake"), &mut files);
    fs::remove_file(&files[0]).expect("removed");
    let checked = lakegate(&data, &["ledger", "--check", "lake", "--since", "1d", "--format", "json"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    gateway.stop().await;

    // Without a gateway the same is said.
    let found = lakegate(&data, &["find", &good[5].to_string(), "--format", "json"]);
    assert!(found.status.success(), "{found:?}");
    let story: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert!(story["accepted"][0]["key"] == "dev", "{story}");
    assert_eq!(lakegate(&data, &["find", &nobody.to_string()]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_missing_are_found_and_their_minute_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, mut rng) = (folder.path().join("data"), Rng::new());
    let gateway = setup(folder.path()).start().await;
    let new = new_events(&mut rng, 7);
    assert_eq!(send(&gateway, &new).await, vec![Told::Accepted; 7]);
    Scrape::when_drained(&gateway).await;
    let check = || lakegate(&data, &["ledger", "--check", "lake", "--format", "json"]);
    assert!(check().status.success());
    gateway.stop().await;
    // As if the log had never heard of the last files: a lake restored from an older copy.
    let log = data.join("lake/_delta_log");
    let mut commits: Vec<PathBuf> = fs::read_dir(&log).expect("a log").map(|entry| entry.expect("an entry").path()).collect();
    commits.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    commits.sort();
    commits[1..].iter().for_each(|commit| fs::remove_file(commit).expect("removed"));
    let checked = check();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let comparison: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let differences = comparison[0]["differences"].as_array().expect("differences");
    assert_eq!(differences.iter().map(|one| one["missing"].as_u64().expect("a number")).sum::<u64>(), 7, "{comparison}");
    assert!(differences[0]["minute"].as_str().expect("a minute").ends_with('Z'), "{comparison}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_begins_in_the_middle_of_a_minute_has_the_whole_minute() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, mut rng) = (folder.path().join("data"), Rng::new());
    let gateway = setup(folder.path()).start().await;
    let new = new_events(&mut rng, 3);
    assert_eq!(send(&gateway, &new).await, vec![Told::Accepted; 3]);
    Scrape::when_drained(&gateway).await;
    let story = find(&gateway, new[0]).await;
    let received = story["accepted"][0]["received"].as_str().expect("a time");
    let since = format!("{}:59.999Z", &received[..16]);
    let checked = lakegate(&data, &["ledger", "--check", "lake", "--since", &since, "--until", &since]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("delivered 3, rows 3"), "{text}");
    let of_sink = |sink: &str| lakegate(&data, &["ledger", "--check", "lake", "--sink", sink]);
    assert!(of_sink("lake").status.success());
    let none = of_sink("archive");
    assert!(String::from_utf8_lossy(&none.stderr).contains("no lake with the name archive"), "{none:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waits_is_spooled_and_one_that_the_disk_lost_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = Rng::new();
    let waiting = || setup(folder.path()).set("lake.flush_age_ms", 3_600_000).set("stop.drain_seconds", 0);
    let mut gateway = waiting().start().await;
    let new = new_events(&mut rng, 3);
    for uuid in &new {
        assert_eq!(send(&gateway, &[*uuid]).await, [Told::Accepted]);
    }
    for uuid in &new {
        let story = find(&gateway, *uuid).await;
        assert_eq!((&story["status"], &story["accepted"][0]["spool"]["is_there"]), (&Value::from("spooled"), &Value::from(true)));
    }
    eventually("they are counted", LIMIT, async || ledger(&gateway).await[1] == 3).await;
    gateway.kill();
    let segment = fs::read_dir(folder.path().join("data/spool")).expect("the spool").map(|entry| entry.expect("an entry").path());
    let segment = segment.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().expect("a segment");
    let mut bytes = fs::read(&segment).expect("read");
    // The body of the first event.
    bytes[200] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let gateway = setup(folder.path()).set("spool.unreadable_block_seconds", 0).start().await;
    eventually("the others are delivered", LIMIT, async || status(&gateway, new[2]).await == "delivered").await;
    assert_eq!(status(&gateway, new[1]).await, "delivered");
    let lost = find(&gateway, new[0]).await;
    assert_eq!(lost["status"], "lost", "{lost}");
    assert_eq!(ledger(&gateway).await[1], 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_event_that_is_replayed_is_delivered_and_counted_as_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, mut rng) = (folder.path().join("data"), Rng::new());
    let gateway = setup(folder.path()).start().await;
    let bad = events::identity(&mut rng);
    let event = format!(
        r#"{{"event_uuid":"{bad}","event_name":"menu:section:reached","created_at":{},"session_id":"01a1f4f7-217c-72e4-9724-18562909406c","visit_id":"01a1f4f7-2370-759b-8a82-57ba2bb29976","restaurant_id":"q.n","menu_id":"w","section_id":"reds","section_index":"first"}}"#,
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
    );
    let told = gateway.client().post(Wire::H1, &Post::json(event)).await.expect("an answer").told(1);
    assert!(matches!(told[0], Told::Rejected(_)), "{told:?}");
    let patch = folder.path().join("patch.json");
    fs::write(&patch, r#"[{"op":"replace","path":"/section_index","value":1}]"#).expect("written");
    let replayed = lakegate(&data, &["dead-letters", "replay", "--patch", patch.to_str().expect("UTF-8")]);
    assert!(replayed.status.success(), "{replayed:?}");
    eventually("it is delivered", LIMIT, async || status(&gateway, bad).await == "delivered").await;
    let story = find(&gateway, bad).await;
    assert_eq!(story["rejected"][0]["state"], "repaired", "{story}");
    assert_eq!(ledger(&gateway).await, [1, 1, 0, 1, 1]);
    let checked = lakegate(&data, &["ledger", "--check", "lake"]);
    assert!(checked.status.success(), "{checked:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_not_understood_and_those_of_web_pages_are_refused_with_a_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    for path in [
        "/admin/events/no-uuid",
        "/admin/ledger?since=yesterday",
        "/admin/ledger?by=colour",
        "/admin/ledger?x=1",
        "/admin/ledger?since=9d&by=key",
    ] {
        let answer = get_plain(gateway.admin(), path).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code().as_str()), (400, "invalid_question"), "{path}");
    }
    for path in ["/admin/ledger", "/admin/events/01a1f4f7-217c-72e4-9724-18562909406c"] {
        let answer = ask_plain(gateway.admin(), "GET", path, &[("origin", "http://localhost:8080")]).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code().as_str()), (403, "operators_only"), "{path}");
    }
    gateway.stop().await;
}
