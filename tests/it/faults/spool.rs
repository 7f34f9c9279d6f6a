//! The spool's files vanish, cannot be read, cannot be made, or lie on a disk that takes no writes: nothing that was
//! acknowledged is lost without being named.

use std::{
    collections::HashSet,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use fastrand::Rng;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    client::{Told, Wire},
    events::{self, Form},
    eventually,
    faults::{Call, Errno, Fault, Faults, leave_files, restore_files},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
    readback::LakeRows,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn setup(folder: &Path) -> Setup {
    let setup = Setup::new(folder.join("data")).set("lake.flush_age_ms", 50).set("spool.segment_bytes", 2_100_000);
    setup.set("spool.unreadable_block_seconds", 3)
}

/// Who sends, and what was acknowledged.
struct Sender {
    rng: Rng,
    acknowledged: HashSet<Uuid>,
}

impl Sender {
    fn new() -> Self {
        Self { rng: Rng::new(), acknowledged: HashSet::new() }
    }

    /// Sends events of about `bytes` together, and answers what became of each.
    async fn send(&mut self, gateway: &Gateway, count: usize) -> Vec<Told> {
        let uuids: Vec<_> = (0..count).map(|_| events::identity(&mut self.rng)).collect();
        let bodies: Vec<_> = uuids.iter().map(|uuid| events::small(*uuid)).collect();
        let answer = gateway.client().post(Wire::H1, &Form::Array.post(&bodies)).await.expect("an answer");
        let told = answer.told(count);
        self.acknowledged.extend(uuids.iter().zip(&told).filter(|(_, told)| **told == Told::Accepted).map(|(uuid, _)| *uuid));
        told
    }

    async fn send_taken(&mut self, gateway: &Gateway, count: usize) {
        let told = self.send(gateway, count).await;
        assert!(told.iter().all(|told| *told == Told::Accepted), "{told:?}");
    }

    /// Sends until events are taken again.
    async fn send_until_taken(&mut self, gateway: &Gateway) {
        eventually("events are taken", LIMIT, async || self.send(gateway, 5).await[0] == Told::Accepted).await;
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("data/spool")).expect("a spool").map(|entry| entry.expect("a name").path());
    let mut segments: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    segments.sort();
    segments
}

/// In place: a file that is written anew is empty for a moment, and the gateway may read it then.
fn flip_a_bit(file: &Path, at: usize) {
    let (file, mut byte) = (File::options().read(true).write(true).open(file).expect("a file"), [0]);
    file.read_exact_at(&mut byte, at as u64).expect("it is as long");
    file.write_all_at(&[byte[0] ^ 1], at as u64).expect("it is ours");
}

fn lakegate(folder: &Path, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.args(words).arg("--data-dir").arg(folder.join("data"));
    command.env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    let output = command.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code().expect("a code"), if text.is_empty() { String::from_utf8_lossy(&output.stderr).into() } else { text })
}

fn losses(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("data/spool/quarantine/lost.ndjson")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The lake holds each acknowledged event once, save those that are named as lost.
fn assert_delivered_or_named(folder: &Path, sender: &Sender) -> HashSet<Uuid> {
    let named: HashSet<Uuid> = losses(folder)
        .iter()
        .flat_map(|loss| loss["probable_events"].as_array().expect("a list").clone())
        .map(|event| event["event_uuid"].as_str().expect("text").parse().expect("a UUID"))
        .collect();
    let expected: HashSet<_> = sender.acknowledged.difference(&named).copied().collect();
    LakeRows::read(&folder.join("data/lake")).assert_exactly(&expected, events::small);
    named
}

/// When all is delivered and the gateway has stopped, the lake holds each acknowledged event once, and none is named as lost.
async fn assert_all_delivered(gateway: Gateway, folder: &Path, sender: &Sender) {
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    assert_eq!(assert_delivered_or_named(folder, sender), HashSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_descriptor_the_present_segment_is_written_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    let outage = Outage::begin(&folder.path().join("data"));
    let mut sender = Sender::new();
    let mut connection = gateway.client().connect(Wire::H1).await.expect("it is ready");
    let limit = leave_files(&gateway, 0);
    // More than a segment.
    let mut bodies = Vec::new();
    for _ in 0..6 {
        let uuids: Vec<_> = (0..2).map(|_| events::identity(&mut sender.rng)).collect();
        let batch: Vec<_> = uuids.iter().map(|uuid| events::good_of_size(*uuid, 220_000)).collect();
        let answer = connection.post(&Form::Array.post(&batch)).await.expect("an answer");
        assert_eq!(answer.told(2), [Told::Accepted, Told::Accepted]);
        bodies.push(uuids);
    }
    restore_files(&gateway, limit);
    outage.repair();
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    assert_eq!(LakeRows::read(&folder.path().join("data/lake")).rows.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_removed_while_it_runs_are_made_again_before_anything_is_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = setup(folder.path()).start().await;
    let outage = Outage::begin(&folder.path().join("data"));
    let mut sender = Sender::new();
    sender.send_taken(&gateway, 50).await;
    segments(folder.path()).iter().for_each(|segment| fs::remove_file(segment).expect("it is there"));
    sender.send_until_taken(&gateway).await;
    for _ in 0..20 {
        sender.send_taken(&gateway, 5).await;
    }
    // Moved away is as good as removed.
    let moved = segments(folder.path());
    fs::rename(&moved[0], folder.path().join("elsewhere")).expect("it is there");
    sender.send_until_taken(&gateway).await;
    gateway.kill();
    outage.repair();
    let gateway = setup(folder.path()).start().await;
    assert_all_delivered(gateway, folder.path(), &sender).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_what_was_removed_cannot_be_made_again_it_is_said_and_nothing_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    // Shorter than the files are away: the writer holds open what the reader cannot find.
    let gateway = faults.on(setup(folder.path()).set("spool.unreadable_block_seconds", 1)).start().await;
    let outage = Outage::begin(&folder.path().join("data"));
    let mut sender = Sender::new();
    sender.send_taken(&gateway, 50).await;
    for errno in [Errno::MFILE, Errno::NOSPC, Errno::ACCESS] {
        faults.set(&[Fault::new(Call::Open, "*/data/spool/*.seg.tmp", errno)]);
        segments(folder.path()).iter().for_each(|segment| fs::remove_file(segment).expect("it is there"));
        let answer = gateway.until_reason("spool_missing", LIMIT).await;
        assert_eq!((answer.status, faults.hits(0) > 0), (503, true), "{}", answer.text());
        let told = sender.send(&gateway, 5).await;
        assert!(told.iter().all(|told| matches!(told, Told::Retry(_))), "{told:?}");
        faults.clear();
        sender.send_until_taken(&gateway).await;
        eventually("it is over", LIMIT, async || !gateway.readiness().await.text().contains("spool_missing")).await;
    }
    outage.repair();
    assert_all_delivered(gateway, folder.path(), &sender).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_folder_that_is_removed_is_made_again_with_all_that_was_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = setup(folder.path()).start().await;
    let outage = Outage::begin(&folder.path().join("data"));
    let mut sender = Sender::new();
    sender.send_taken(&gateway, 50).await;
    fs::remove_dir_all(folder.path().join("data/spool")).expect("it is there");
    sender.send_until_taken(&gateway).await;
    assert!(folder.path().join("data/spool/spool.id").exists());
    gateway.kill();
    outage.repair();
    let gateway = setup(folder.path()).start().await;
    assert_all_delivered(gateway, folder.path(), &sender).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_that_are_removed_come_back_within_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    let mut sender = Sender::new();
    sender.send_taken(&gateway, 5).await;
    Scrape::when_drained(&gateway).await;
    for name in ["cursor", "spool.id", "lock", "quarantine"] {
        let path = folder.path().join("data/spool").join(name);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("it is there");
        eventually("it is there again", LIMIT, async || path.exists()).await;
    }
    sender.send_taken(&gateway, 5).await;
    assert_all_delivered(gateway, folder.path(), &sender).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_became_read_only_takes_nothing_and_a_restart_is_needed_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let mut gateway = faults.on(setup(folder.path())).start().await;
    let mut sender = Sender::new();
    sender.send_taken(&gateway, 5).await;
    faults.set(&[Fault::read_only("*/data/spool")]);
    let answer = gateway.until_reason("disk_read_only", LIMIT).await;
    assert_eq!(answer.status, 503);
    for _ in 0..5 {
        assert!(matches!(sender.send(&gateway, 1).await[0], Told::Retry(_)));
    }
    assert!(faults.hits(0) > 0 && gateway.is_running());
    // Nobody knows what it dropped meanwhile.
    faults.clear();
    assert_eq!(gateway.exit_code(LIMIT).await, 74);
    let gateway = faults.on(setup(folder.path())).start().await;
    sender.send_taken(&gateway, 5).await;
    assert_all_delivered(gateway, folder.path(), &sender).await;
}

/// A spool with two segments that are not delivered, at rest.
async fn spooled(folder: &Path, sender: &mut Sender) -> Outage {
    let gateway = setup(folder).set("stop.drain_seconds", 0).start().await;
    let outage = Outage::begin(&folder.join("data"));
    while segments(folder).len() < 2 {
        sender.send_taken(&gateway, 1_000).await;
    }
    sender.send_taken(&gateway, 10).await;
    gateway.stop().await;
    outage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_stays_whole_in_the_quarantine_and_its_loss_is_named_until_a_person_removes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sender = Sender::new();
    let outage = spooled(folder.path(), &mut sender).await;
    let segment = segments(folder.path()).remove(0);
    let mut content = fs::read(&segment).expect("a segment");
    // In an event's body: where the UUID itself decays, another one is named.
    let is_identity = |bytes: &[u8]| sender.acknowledged.contains(&Uuid::from_slice(bytes).expect("16 bytes"));
    let from = content.len() / 2;
    let at = from + content[from..].windows(16).position(is_identity).expect("an event") + 100;
    content[at] ^= 1;
    flip_a_bit(&segment, at);
    outage.repair();
    let gateway = setup(folder.path()).start().await;
    let scrape = Scrape::when_drained(&gateway).await;
    eventually("the segment is unlinked", LIMIT, async || !segment.exists()).await;
    let kept = folder.path().join("data/spool/quarantine").join(segment.file_name().expect("a name"));
    assert!(fs::read(&kept).expect("it is kept") == content, "whole");
    assert_eq!(scrape.value("spool_lost_events_total"), 1);
    let scrape = Scrape::of(&gateway).await;
    assert_eq!(scrape.value("quarantine_files"), 1);
    assert_eq!(scrape.value("quarantine_bytes"), content.len() as i64);
    let answer = gateway.until_reason("spool_damaged", LIMIT).await;
    assert_eq!(answer.status, 200, "a warning");
    let (code, text) = lakegate(folder.path(), &["spool", "quarantine", "list"]);
    assert!(code == 1 && text.contains("is probably"), "{code} {text}");
    let (code, text) = lakegate(folder.path(), &["spool", "inspect", "--verify", "--json"]);
    let inspected: Value = serde_json::from_str(&text).expect("JSON");
    assert!(code == 1 && inspected["losses"].as_array().is_some_and(|losses| losses.len() == 1), "{code} {text}");
    let (code, text) = lakegate(folder.path(), &["spool", "quarantine", "salvage"]);
    assert!(code == 1 && text.contains("a gateway runs"), "{code} {text}");
    assert_eq!(assert_delivered_or_named(folder.path(), &sender).len(), 1);
    let (code, text) = lakegate(folder.path(), &["spool", "quarantine", "remove", "--all"]);
    assert!(code == 0 && text.contains("2 files"), "{code} {text}");
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_sender_waited_and_which_the_disk_lost_is_accepted_anew_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sender = Sender::new();
    let gateway = setup(folder.path()).set("http.delivered_wait_seconds", 1).start().await;
    let outage = Outage::begin(&folder.path().join("data"));
    sender.send_taken(&gateway, 3).await;
    let uuid = events::identity(&mut sender.rng);
    let wait = || Form::Array.post(&[events::small(uuid)]).header("prefer", "durability=delivered");
    let answer = gateway.client().post(Wire::H1, &wait()).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Retry("not_delivered_in_time".into())]);
    sender.send_taken(&gateway, 3).await;

    let segment = segments(folder.path()).remove(0);
    let content = fs::read(&segment).expect("a segment");
    let at = content.windows(16).position(|bytes| bytes == uuid.as_bytes()).expect("it is spooled") + 100;
    flip_a_bit(&segment, at);
    outage.repair();
    Scrape::when_drained(&gateway).await;
    assert_eq!(losses(folder.path()).len(), 1);

    let again = gateway.client().post(Wire::H1, &wait()).await.expect("an answer");
    assert_eq!(again.told(1), [Told::Accepted], "the disk lost it, and its sender has it still");
    sender.acknowledged.insert(uuid);
    let once_more = gateway.client().post(Wire::H1, &wait()).await.expect("an answer");
    assert_eq!(once_more.told(1), [Told::Duplicate]);
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    LakeRows::read(&folder.path().join("data/lake")).assert_exactly(&sender.acknowledged, events::small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_read_at_the_start_and_comes_back_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sender = Sender::new();
    let outage = spooled(folder.path(), &mut sender).await;
    let faults = Faults::new(folder.path());
    let name = segments(folder.path())[0].file_name().expect("a name").to_string_lossy().into_owned();
    faults.set(&[Fault::new(Call::Pread, &format!("*/{name}"), Errno::IO).range(8192..16384)]);
    outage.repair();
    let gateway = faults.on(setup(folder.path()).set("spool.unreadable_block_seconds", 120)).start().await;
    gateway.until_reason("spool_unreadable", LIMIT).await;
    assert!(faults.hits(0) > 1);
    sender.send_taken(&gateway, 5).await;
    faults.clear();
    Scrape::when_drained(&gateway).await;
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
    assert_eq!(assert_delivered_or_named(folder.path(), &sender), HashSet::new());
    assert_eq!(losses(folder.path()), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_stays_unreadable_is_named_and_salvaged_when_it_can_be_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sender = Sender::new();
    let outage = spooled(folder.path(), &mut sender).await;
    let faults = Faults::new(folder.path());
    let name = segments(folder.path())[0].file_name().expect("a name").to_string_lossy().into_owned();
    faults.set(&[Fault::new(Call::Pread, &format!("*/{name}"), Errno::IO).range(8192..16384)]);
    outage.repair();
    let gateway = faults.on(setup(folder.path())).start().await;
    gateway.until_reason("spool_damaged", LIMIT).await;
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    let lost: u64 = losses(folder.path())
        .iter()
        .map(|loss| loss["end_seq_exclusive"].as_u64().expect("a number") - loss["first_seq"].as_u64().expect("a number"))
        .sum();
    let rows = LakeRows::read(&folder.path().join("data/lake")).rows.len();
    assert!(lost > 0 && rows as u64 + lost == sender.acknowledged.len() as u64, "{rows} rows and {lost} named");
    faults.clear();
    for said in [format!("{lost} events are in the spool again"), "0 events are in the spool again".to_owned()] {
        let (code, text) = lakegate(folder.path(), &["spool", "quarantine", "salvage"]);
        assert!(code == 0 && text.contains(&said), "{code} {text}");
    }
    let gateway = setup(folder.path()).start().await;
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    LakeRows::read(&folder.path().join("data/lake")).assert_exactly(&sender.acknowledged, events::small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_folder_that_cannot_be_listed_and_for_a_descriptor() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sender = Sender::new();
    spooled(folder.path(), &mut sender).await.repair();
    let faults = Faults::new(folder.path());
    faults.set(&[
        Fault::new(Call::Open, "*/data/spool", Errno::MFILE).times(3),
        Fault::new(Call::Open, "*/data/spool/*.seg", Errno::NFILE).times(2),
        Fault::new(Call::Pread, "*/data/spool/cursor", Errno::IO).times(2),
    ]);
    let gateway = faults.on(setup(folder.path())).start().await;
    assert!(faults.hits(0) == 3 && faults.hits(1) == 2);
    assert_all_delivered(gateway, folder.path(), &sender).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_written_is_said_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    let mut sender = Sender::new();
    faults.set(&[Fault::new(Call::Open, "*/data/spool/cursor.tmp", Errno::MFILE)]);
    sender.send_taken(&gateway, 5).await;
    let answer = gateway.until_reason("cursor_unwritable", LIMIT).await;
    assert_eq!(answer.status, 200, "a warning");
    sender.send_taken(&gateway, 5).await;
    faults.clear();
    Scrape::when_drained(&gateway).await;
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
    assert_eq!(assert_delivered_or_named(folder.path(), &sender), HashSet::new());
}
