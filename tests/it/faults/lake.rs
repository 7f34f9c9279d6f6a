//! The lake's folder under faults: other lives of the same data folder, folders that go away, links to other disks, files in
//! the way, syncs that fail. Whatever was accepted is in the lake once, and nothing of it is written over.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    client::{Told, Wire},
    events::{self, Form},
    eventually,
    faults::{Call, Errno, Fault, Faults},
    gateway::{Gateway, Setup},
    kinesis::KinesisServer,
    metrics::Scrape,
    readback::LakeRows,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A lake that several data folders deliver into.
struct Shared {
    folder: tempfile::TempDir,
    accepted: HashSet<Uuid>,
}

impl Shared {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), accepted: HashSet::new() }
    }

    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn setup(&self, data: &str) -> Setup {
        Setup::new(self.data(data)).set("lake.root", self.lake().display()).set("lake.flush_age_ms", 50)
    }

    /// One that delivers nothing until it stops.
    fn lazy(&self, data: &str) -> Setup {
        self.setup(data).set("lake.flush_age_ms", 3_600_000)
    }

    /// One that has answered before it delivers.
    fn patient(&self, data: &str) -> Setup {
        self.setup(data).set("lake.flush_age_ms", 1_000)
    }

    async fn send(&mut self, gateway: &Gateway, count: usize) {
        self.accepted.extend(send(gateway, count).await);
    }

    /// Starts on `data`, sends `count` events, and stops when all is delivered.
    async fn live(&mut self, data: &str, count: usize) {
        let gateway = self.setup(data).start().await;
        self.send(&gateway, count).await;
        Scrape::when_drained(&gateway).await;
        gateway.stop().await;
    }

    fn copy(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.data(to));
        copy(&self.data(from), &self.data(to));
    }

    fn assert_exactly(&self) {
        LakeRows::read(&self.lake()).assert_exactly(&self.accepted, events::good);
    }
}

/// Sends events of several types, which must be accepted.
async fn send(gateway: &Gateway, count: usize) -> Vec<Uuid> {
    let mut rng = Rng::new();
    let uuids: Vec<Uuid> = (0..count).map(|_| events::identity(&mut rng)).collect();
    let bodies: Vec<Vec<u8>> = uuids.iter().map(|uuid| events::good(*uuid)).collect();
    let answer = gateway.client().post(Wire::H1, &Form::Array.post(&bodies)).await.expect("an answer");
    assert_eq!(answer.told(count), vec![Told::Accepted; count]);
    uuids
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            let _ = fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Everything below a folder that is unfinished.
fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leftovers(&path));
        } else if path.extension().is_some_and(|extension| extension == "tmp") {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_container_of_an_image_that_was_started_once_keeps_its_events() {
    let mut shared = Shared::new();
    shared.setup("image").start().await.stop().await;
    for container in ["a", "b", "c"] {
        shared.copy("image", container);
        shared.live(container, 3).await;
    }
    // Each goes on as what it became.
    for container in ["c", "a", "b"] {
        shared.live(container, 3).await;
    }
    shared.assert_exactly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_copied_with_events_in_its_spool_delivers_them_once_and_each_life_its_own() {
    let mut shared = Shared::new();
    let mut gateway = shared.lazy("one").start().await;
    shared.send(&gateway, 7).await;
    gateway.kill();
    shared.copy("one", "two");
    // Delivered by both together with what each took after it, so that no stretch is the same.
    for (data, count) in [("one", 5), ("two", 4)] {
        let gateway = shared.lazy(data).start().await;
        shared.send(&gateway, count).await;
        gateway.stop().await;
    }
    shared.assert_exactly();
    shared.live("one", 3).await;
    shared.live("two", 3).await;
    shared.assert_exactly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_goes_on_beside_what_it_does_not_know_and_a_crash_repeats_its_own_delivery() {
    let mut shared = Shared::new();
    shared.live("data", 5).await;
    shared.copy("data", "backup");
    for _ in 0..3 {
        shared.live("data", 4).await;
    }
    for round in 0..2 {
        shared.copy("backup", "data");
        let faults = Faults::new(shared.folder.path());
        let mut gateway = faults.on(shared.patient("data")).start().await;
        // Right before the file under its new identity appears; then right before its folder is synced.
        let died = [Fault::kill(Call::Rename, "*/event_type=*"), Fault::kill(Call::Fsync, "*/created_date=*")];
        faults.set(&[died[round].clone().times(1)]);
        shared.send(&gateway, 4).await;
        assert_eq!(gateway.exit_code(LIMIT).await, 128 + 9);
        faults.clear();
        shared.live("data", 4).await;
        shared.assert_exactly();
        assert_eq!(leftovers(&shared.lake()), Vec::<PathBuf>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_at_the_same_time_lose_nothing() {
    let mut shared = Shared::new();
    shared.setup("one").start().await.stop().await;
    shared.copy("one", "two");
    let gateways = [shared.setup("one").start().await, shared.setup("two").start().await];
    for _ in 0..5 {
        for gateway in &gateways {
            shared.send(gateway, 6).await;
        }
        for gateway in &gateways {
            Scrape::when_drained(gateway).await;
        }
    }
    for gateway in gateways {
        gateway.stop().await;
    }
    shared.assert_exactly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_changes_and_changes_back_writes_over_nothing() {
    let mut shared = Shared::new();
    let server = KinesisServer::start(1).await;
    server.create_stream("events", 1);
    let stream = |shared: &Shared| shared.setup("data").with_stream(&server, "events").set("kinesis.linger_ms", 20);
    let faults = Faults::new(shared.folder.path());
    let mut in_stream = 0;
    for _ in 0..3 {
        let gateway = stream(&shared).start().await;
        in_stream += send(&gateway, 3).await.len();
        Scrape::when_drained(&gateway).await;
        gateway.stop().await;
        let mut gateway = faults.on(shared.patient("data")).start().await;
        faults.set(&[Fault::kill(Call::Rename, "*/event_type=*").times(1)]);
        shared.send(&gateway, 6).await;
        assert_eq!(gateway.exit_code(LIMIT).await, 128 + 9);
        faults.clear();
        shared.live("data", 4).await;
    }
    assert_eq!(in_stream, 9);
    shared.assert_exactly();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lake_or_its_temporary_folder_is_removed_while_the_gateway_runs() {
    let mut shared = Shared::new();
    let gateway = shared.setup("data").start().await;
    shared.send(&gateway, 4).await;
    Scrape::when_drained(&gateway).await;
    fs::remove_dir_all(shared.lake().join("_tmp")).expect("it is there");
    shared.send(&gateway, 4).await;
    Scrape::when_drained_within(&gateway, Duration::from_secs(5)).await;
    shared.assert_exactly();
    // Somebody's own doing: what was there is gone, what comes is not.
    for is_made_anew in [false, true] {
        fs::remove_dir_all(shared.lake()).expect("it is there");
        if is_made_anew {
            fs::create_dir(shared.lake()).expect("its place is free");
        }
        shared.accepted.clear();
        shared.send(&gateway, 8).await;
        Scrape::when_drained_within(&gateway, Duration::from_secs(5)).await;
        shared.assert_exactly();
    }
    assert!(!gateway.has_logged("os error"), "{}", gateway.log_text());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_on_another_disk_is_written_beside_its_place() {
    let mut shared = Shared::new();
    let other = tempfile::tempdir_in("/dev/shm").expect("every Linux has one");
    let device = |path: &Path| fs::metadata(path).expect("it is there").dev();
    assert_ne!(device(other.path()), device(shared.folder.path()), "another file system");
    fs::create_dir(shared.lake()).expect("a folder");
    symlink(other.path(), shared.lake().join("event_type=menu")).expect("a link");
    let faults = Faults::new(shared.folder.path());
    // And one whose device number does not tell, such as a bind mount.
    faults.set(&[Fault::new(Call::Rename, "*/_tmp/*", Errno::XDEV)]);
    let gateway = faults.on(shared.setup("data")).start().await;
    shared.send(&gateway, 30).await;
    Scrape::when_drained_within(&gateway, Duration::from_secs(10)).await;
    assert!(faults.hits(0) > 0);
    gateway.stop().await;
    shared.assert_exactly();
    assert!(other.path().read_dir().expect("a folder").count() > 0, "it holds partitions");
    assert_eq!(leftovers(&shared.lake()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_a_partition_holds_up_nobody_else() {
    let mut shared = Shared::new();
    fs::create_dir(shared.lake()).expect("a folder");
    let blocked = shared.lake().join("event_type=menu");
    fs::write(&blocked, "a file").expect("a file");
    let gateway = shared.setup("data").start().await;
    shared.send(&gateway, 40).await;
    let read = || LakeRows::read(&shared.lake()).rows.len();
    eventually("the other partitions are there", LIMIT, async || read() > 0).await;
    eventually("the log names the path", LIMIT, async || gateway.has_logged(&blocked.display().to_string())).await;
    fs::remove_file(&blocked).expect("it is there");
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    shared.assert_exactly();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_lake_that_fail_for_a_while_are_made_anew_and_leave_nothing_behind() {
    let mut shared = Shared::new();
    let faults = Faults::new(shared.folder.path());
    let gateway = faults.on(shared.setup("data")).start().await;
    let failing = [
        (Call::Fsync, "*/_tmp/*.tmp", Errno::IO),
        (Call::Fsync, "*/created_date=*", Errno::IO),
        (Call::Write, "*/_tmp/*.tmp", Errno::NOSPC),
        (Call::Open, "*/_tmp/*.tmp", Errno::MFILE),
        (Call::Open, "*/created_date=*", Errno::NFILE),
        (Call::Mkdir, "*/event_type=*", Errno::DQUOT),
        (Call::Rename, "*/event_type=*", Errno::ACCESS),
        // A file system that cannot rename without replacing.
        (Call::Rename, "*/event_type=*", Errno::INVAL),
    ];
    for (call, pattern, errno) in failing {
        if call == Call::Mkdir {
            fs::remove_dir_all(shared.lake()).expect("it is there");
            shared.accepted.clear();
        }
        faults.set(&[Fault::new(call, pattern, errno).times(2)]);
        shared.send(&gateway, 6).await;
        Scrape::when_drained(&gateway).await;
        assert!(faults.hits(0) > 0, "{call:?} {pattern}");
        faults.clear();
        shared.assert_exactly();
        assert_eq!(leftovers(&shared.lake()), Vec::<PathBuf>::new());
    }
    gateway.stop().await;
}
