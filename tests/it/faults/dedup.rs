//! The dedup window under faults: nothing that was accepted is accepted again, whatever the clock, the disk or a person does,
//! and what is wrong is said.

use std::{fs, path::Path, time::Duration};

use fastrand::Rng;
use lakegate::{
    dedup::{Identity, Window, WindowConfig},
    limits::DEDUP_HOT_IDENTITIES,
};
use uuid::Uuid;

use crate::support::{
    client::{Post, Told, Wire},
    events, eventually,
    faults::{Call, Errno, Fault, Faults, days},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
    readback::count_files,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 50).set("spool.segment_bytes", 2_100_000)
}

/// Under which nothing is delivered, so that the spool keeps everything and nothing is sealed.
fn undelivered(folder: &Path) -> Setup {
    setup(folder).set("lake.flush_age_ms", 3_600_000).set("stop.drain_seconds", 0)
}

fn new_events(count: usize) -> Vec<Uuid> {
    let mut rng = Rng::new();
    (0..count).map(|_| events::identity(&mut rng)).collect()
}

async fn send(gateway: &Gateway, uuids: &[Uuid]) -> Vec<Told> {
    let lines = uuids.iter().map(|uuid| events::small(*uuid)).collect::<Vec<_>>().join(&b'\n');
    gateway.client().post(Wire::H1, &Post::lines(lines)).await.expect("an answer").told(uuids.len())
}

async fn accepted(gateway: &Gateway, uuids: &[Uuid]) {
    assert_eq!(send(gateway, uuids).await, vec![Told::Accepted; uuids.len()]);
}

async fn known(gateway: &Gateway, uuids: &[Uuid]) {
    assert_eq!(send(gateway, uuids).await, vec![Told::Duplicate; uuids.len()]);
}

/// A gateway whose dedup window has these in a run on disk, stopped.
async fn sealed(setup: &Setup, uuids: &[Uuid]) {
    let gateway = setup.start().await;
    accepted(&gateway, uuids).await;
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
}

/// Sends so much that the spool begins a new segment, and the old one goes as soon as it is delivered and sealed.
async fn fill_segment(gateway: &Gateway) {
    for _ in 0..2 {
        let large: Vec<_> = new_events(30).into_iter().map(|uuid| events::good_of_size(uuid, 40_000)).collect();
        let answer = gateway.client().post(Wire::H1, &Post::lines(large.join(&b'\n'))).await.expect("an answer");
        assert_eq!(answer.told(30), vec![Told::Accepted; 30]);
    }
    accepted(gateway, &new_events(1)).await;
}

async fn is_ready(gateway: &Gateway) -> bool {
    gateway.readiness().await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_month_ahead_for_a_moment_expires_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()));
    let old = new_events(5);
    sealed(&setup, &old).await;
    let gateway = setup.start().await;
    let more = new_events(5);
    accepted(&gateway, &more).await;
    for shift in [days(30), days(-30), days(400)] {
        faults.clock(shift);
        accepted(&gateway, &new_events(1)).await;
        known(&gateway, &old).await;
        gateway.until_reason("clock_jumped", LIMIT).await;
        assert!(is_ready(&gateway).await, "a warning");
        faults.clock(0);
        known(&gateway, &old).await;
        known(&gateway, &more).await;
    }
    Scrape::when("the jumps are counted", &gateway, |scrape| scrape.value("clock_jumps_total") > 0).await;
    gateway.stop().await;
    // Started with the clock ahead, and stopped; and right again.
    for shift in [days(30), 0] {
        faults.clock(shift);
        let gateway = setup.start().await;
        known(&gateway, &old).await;
        known(&gateway, &more).await;
        gateway.stop().await;
    }
    assert_eq!(count_files(&folder.path().join("data/dedup"), ".expired"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_with_a_dead_clock_battery_is_not_doubled_when_the_clock_is_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()));
    let before = new_events(5);
    sealed(&setup, &before).await;
    // Last month rather than the year 2000: a certificate of then would not be taken by the test's own client.
    faults.clock(days(-30));
    let gateway = setup.start().await;
    gateway.until_reason("clock_jumped", LIMIT).await;
    known(&gateway, &before).await;
    let taken = new_events(500);
    accepted(&gateway, &taken).await;
    Scrape::when_drained(&gateway).await;
    faults.clock(0);
    known(&gateway, &taken).await;
    gateway.stop().await;
    let gateway = setup.start().await;
    known(&gateway, &taken).await;
    known(&gateway, &before).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_was_removed_or_is_older_takes_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = undelivered(folder.path());
    let mut gateway = setup.start().await;
    let old = new_events(20);
    accepted(&gateway, &old).await;
    gateway.stop().await;
    fs::remove_dir_all(data.join("spool")).expect("it is there");
    gateway = setup.start().await;
    let new = new_events(40);
    accepted(&gateway, &new).await;
    gateway.kill();
    gateway = setup.start().await;
    known(&gateway, &old).await;
    known(&gateway, &new).await;
    gateway.stop().await;

    // A backup of the spool, which the window outruns.
    let backup = folder.path().join("backup");
    copy_folder(&data.join("spool"), &backup);
    gateway = setup.start().await;
    let lost = new_events(20);
    accepted(&gateway, &lost).await;
    gateway.stop().await;
    fs::remove_dir_all(data.join("spool")).expect("it is there");
    fs::rename(&backup, data.join("spool")).expect("the backup");
    gateway = setup.start().await;
    assert!(data.join("spool/history").exists(), "its next numbers are not taken for those of the lost events");
    let after = new_events(60);
    accepted(&gateway, &after).await;
    gateway.kill();
    gateway = setup.start().await;
    for uuids in [&old, &new, &lost, &after] {
        known(&gateway, uuids).await;
    }
    gateway.kill();

    // The other way about: the window is gone, the spool is kept.
    fs::remove_dir_all(data.join("dedup")).expect("it is there");
    gateway = setup.start().await;
    known(&gateway, &new).await;
    known(&gateway, &after).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_was_removed_after_its_events_were_delivered_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let uuids = new_events(20);
    let gateway = setup.start().await;
    accepted(&gateway, &uuids).await;
    Scrape::when_drained(&gateway).await;
    fill_segment(&gateway).await;
    let spool = folder.path().join("data/spool");
    let first = spool.join(format!("{:020}.seg", 0));
    eventually("it is unlinked", LIMIT, async || !first.exists()).await;
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    fs::remove_dir_all(folder.path().join("data/dedup")).expect("it is there");
    let gateway = setup.start().await;
    let readiness = gateway.readiness().await;
    assert!(readiness.status == 200 && readiness.text().contains("dedup_damaged"), "{}", readiness.text());
    gateway.stop().await;
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type").is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_page_cannot_be_read_for_a_moment_is_answered_with_retry() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()));
    let uuids = new_events(20);
    sealed(&setup, &uuids).await;
    let gateway = setup.start().await;
    for errno in [Errno::IO, Errno::NOMEM] {
        faults.set(&[Fault::new(Call::Pread, "*.run", errno)]);
        assert_eq!(send(&gateway, &uuids).await, vec![Told::Retry("dedup_unavailable".into()); 20]);
        assert!(faults.hits(0) > 0);
        gateway.until_reason("dedup_unreadable", LIMIT).await;
        assert!(is_ready(&gateway).await, "a warning");
        // Who is not in that page is taken, but for one of 256 whom the filter sends there.
        let others = new_events(500);
        let told = send(&gateway, &others).await;
        assert!(told.iter().filter(|told| **told == Told::Accepted).count() > 450, "{told:?}");
        faults.clear();
        gateway.until_reason("", LIMIT).await;
        known(&gateway, &uuids).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_run_that_cannot_be_opened_or_read_and_then_sets_it_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()));
    let uuids = new_events(20);
    sealed(&setup, &uuids).await;
    for (call, errno) in [(Call::Pread, Errno::IO), (Call::Open, Errno::MFILE), (Call::Open, Errno::IO)] {
        faults.set(&[Fault::new(call, "*.run", errno).times(3)]);
        let gateway = setup.start().await;
        assert_eq!(faults.hits(0), 3);
        known(&gateway, &uuids).await;
        gateway.stop().await;
    }
    // All but the first block.
    faults.set(&[Fault::new(Call::Pread, "*.run", Errno::IO).range(4096..1 << 40)]);
    let gateway = setup.start().await;
    let dedup = folder.path().join("data/dedup");
    assert_eq!(count_files(&dedup, ".damaged"), 1);
    gateway.until_reason("dedup_damaged", LIMIT).await;
    assert!(is_ready(&gateway).await, "a warning");
    Scrape::when("it is counted", &gateway, |scrape| scrape.value("dedup_set_aside_runs") == 1).await;
    accepted(&gateway, &new_events(20)).await;
    faults.clear();
    gateway.stop().await;
    // A person puts it back.
    let aside = fs::read_dir(&dedup).expect("a folder").map(|entry| entry.expect("an entry").path());
    for path in aside.filter(|path| path.extension().is_some_and(|kind| kind == "damaged")) {
        fs::rename(&path, path.with_extension("run")).expect("a name");
    }
    let gateway = setup.start().await;
    known(&gateway, &uuids).await;
    gateway.until_reason("", LIMIT).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_moved_away_or_removed_is_made_anew_and_nothing_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    let dedup = folder.path().join("data/dedup");
    let uuids = new_events(20);
    sealed(&setup, &uuids).await;
    let mut gateway = setup.start().await;
    let more = new_events(20);
    accepted(&gateway, &more).await;
    fs::rename(&dedup, folder.path().join("away")).expect("another name");
    known(&gateway, &uuids).await;
    eventually("it is made anew", LIMIT, async || dedup.is_dir() && count_files(&dedup, ".run") > 0).await;
    fs::remove_dir_all(&dedup).expect("it is there");
    known(&gateway, &uuids).await;
    eventually("it is made anew again", LIMIT, async || dedup.is_dir() && count_files(&dedup, ".run") > 0).await;
    gateway.until_reason("", LIMIT).await;
    Scrape::when_drained(&gateway).await;
    gateway.kill();
    gateway = setup.start().await;
    known(&gateway, &uuids).await;
    known(&gateway, &more).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_the_window_from_its_disk_is_said_and_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()));
    for (call, pattern, errno) in [
        (Call::Open, "*/dedup/*.tmp", Errno::MFILE),
        (Call::AnyWrite, "*/dedup/*.tmp", Errno::NOSPC),
        (Call::Fsync, "*/dedup/*.tmp", Errno::IO),
        (Call::Rename, "*/dedup/*.run", Errno::ACCESS),
    ] {
        let gateway = setup.start().await;
        faults.set(&[Fault::new(call, pattern, errno)]);
        let uuids = new_events(20);
        accepted(&gateway, &uuids).await;
        // The spool wants to drop what is delivered, and the window has to seal it first.
        fill_segment(&gateway).await;
        gateway.until_reason("dedup_unwritable", LIMIT).await;
        assert!(faults.hits(0) > 0 && is_ready(&gateway).await, "a warning, until memory is full");
        known(&gateway, &uuids).await;
        faults.clear();
        gateway.until_reason("", LIMIT).await;
        known(&gateway, &uuids).await;
        gateway.stop().await;
    }
    assert_eq!(count_files(&folder.path().join("data/dedup"), ".tmp"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_be_written_is_full_once_memory_is_and_takes_events_again_once_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path())).set("stop.drain_seconds", 0);
    let gateway = setup.start().await;
    faults.set(&[Fault::new(Call::Open, "*/dedup/*.tmp", Errno::NOSPC)]);
    accepted(&gateway, &new_events(20)).await;
    // One of the two generations in memory is to be sealed early, so that only the other must be filled.
    fill_segment(&gateway).await;
    gateway.until_reason("dedup_unwritable", LIMIT).await;
    let outage = Outage::begin(&folder.path().join("data"));
    // An event may be spelled so that its identity is not found in it.
    let spelled = new_events(100).into_iter().map(|uuid| (uuid, String::from_utf8(events::small(uuid)).expect("UTF-8")));
    let mut plain = spelled.filter(|(uuid, text)| text.contains(&uuid.to_string()));
    let (model, text) = plain.next().expect("some are spelled plainly");
    let line = |uuid: &Uuid| text.replace(&model.to_string(), &uuid.to_string());
    let client = gateway.client();
    let largest = async || {
        let uuids = new_events(10_000);
        let post = Post::lines(uuids.iter().map(line).collect::<Vec<_>>().join("\n"));
        let told = client.post(Wire::H1, &post).await.expect("an answer").told(uuids.len());
        let is_taken = told[0] == Told::Accepted;
        // Of so many the answer lists the first.
        let is_refused = told[0] == Told::Retry("dedup_full".into()) && told.iter().all(|told| matches!(told, Told::Retry(_)));
        assert!(is_taken || is_refused, "{:?}", told[0]);
        (!is_taken).then_some(uuids)
    };
    let mut requests = 0;
    let refused = loop {
        let (one, other) = tokio::join!(largest(), largest());
        if let Some(refused) = one.or(other) {
            break refused;
        }
        requests += 2;
        assert!(requests * 10_000 <= 2 * DEDUP_HOT_IDENTITIES, "it forgets");
    };
    let answer = gateway.until_reason("dedup_full", LIMIT).await;
    assert_eq!((answer.status, faults.hits(0) > 0), (503, true), "{}", answer.text());
    faults.clear();
    eventually("events are taken again", LIMIT, async || send(&gateway, &refused[..5]).await[0] == Told::Accepted).await;
    eventually("it is over", LIMIT, async || !gateway.readiness().await.text().contains("dedup_")).await;
    outage.repair();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_more_identities_than_it_may_have_says_that_it_forgets() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path());
    setup.start().await.stop().await;
    // What a gateway knew whose window may hold more.
    let now_millis = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
    let (window, _) = Window::open(WindowConfig::new(folder.path().join("data/dedup")), now_millis).expect("a window");
    let mut rng = Rng::new();
    let hot = DEDUP_HOT_IDENTITIES as u64;
    for round in 0..6 {
        let identity = || Identity::unknown(Uuid::from_u128(rng.u128(..)));
        let identities: Vec<_> = std::iter::repeat_with(identity).take(DEDUP_HOT_IDENTITIES).collect();
        window.claim(&identities, now_millis).expect("room").confirm(round * hot);
        window.checkpoint((round + 1) * hot).expect("it is sealed");
    }
    window.close().expect("it is sealed");
    drop(window);
    let gateway = setup.set("dedup.identities_max", 4 * hot).start().await;
    let answer = gateway.until_reason("dedup_forgetting", LIMIT).await;
    assert_eq!(answer.status, 200, "a warning");
    accepted(&gateway, &new_events(5)).await;
    gateway.stop().await;
}
