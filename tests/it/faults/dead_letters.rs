//! Dead letters in files that people and disks interfere with: a letter that is answered `rejected` is in a file of its source,
//! durably, and one that could not be kept is answered `retry`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    client::{Client, Post, Told, Wire},
    events, eventually,
    faults::{Call, Errno, Fault, Faults},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    readback::dead_letters,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

struct Rig {
    folder: tempfile::TempDir,
    faults: Faults,
    gateway: Gateway,
    client: Client,
}

impl Rig {
    async fn start() -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), |setup| setup).await
    }

    async fn on(folder: tempfile::TempDir, configure: impl Fn(Setup) -> Setup) -> Self {
        let faults = Faults::new(folder.path());
        let gateway = faults.on(configure(Setup::new(folder.path().join("data")))).start().await;
        let client = gateway.client();
        Self { folder, faults, gateway, client }
    }

    fn letters(&self) -> PathBuf {
        self.folder.path().join("data/dead-letters/dev")
    }

    fn file(&self, number: u32) -> PathBuf {
        self.letters().join(format!("{number:08}.ndjson"))
    }

    /// Sends a bad event: its identity, and what became of it.
    async fn send(&self) -> (Uuid, Told) {
        let uuid = events::identity(&mut Rng::new());
        let post = Post::json(events::bad_of_kind(uuid, 8).bytes);
        let answer = self.client.post(Wire::H1, &post).await.expect("an answer");
        (uuid, answer.told(1).remove(0))
    }

    /// Sends a bad event, which is answered `rejected` and then is in a file of its source, once and whole.
    async fn keeps(&self) -> Uuid {
        let (uuid, told) = self.send().await;
        assert_eq!(told, Told::Rejected("unknown_event".into()));
        assert_eq!(times(&self.folder.path().join("data/dead-letters"), uuid), 1, "the letter of {uuid}");
        uuid
    }

    /// Sends a bad event, which cannot be kept.
    async fn keeps_not(&self) -> Uuid {
        let (uuid, told) = self.send().await;
        assert_eq!(told, Told::Retry("storage_unavailable".into()));
        uuid
    }
}

/// How many letters are about `uuid`.
fn times(rejected: &Path, uuid: Uuid) -> usize {
    let uuid = uuid.to_string();
    dead_letters(rejected).iter().filter(|letter| letter.line["event_uuid"] == uuid.as_str()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_renamed_and_made_anew_as_logrotate_does_gets_the_next_letter() {
    let rig = Rig::start().await;
    let first = rig.keeps().await;
    fs::rename(rig.file(1), rig.letters().join("00000001.ndjson.1")).expect("it is there");
    fs::write(rig.file(1), "").expect("a new file");
    rig.keeps().await;
    let moved = fs::read_to_string(rig.letters().join("00000001.ndjson.1")).expect("it is there");
    assert!(moved.contains(&first.to_string()) && moved.lines().count() == 1, "{moved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_copied_and_cut_as_logrotate_does_goes_on_from_its_beginning() {
    let rig = Rig::start().await;
    rig.keeps().await;
    rig.keeps().await;
    fs::File::options().write(true).open(rig.file(1)).expect("it is there").set_len(0).expect("it is cut");
    rig.keeps().await;
    assert_eq!(fs::read_to_string(rig.file(1)).expect("it is there").lines().count(), 1);
    // Cut in the middle of a line.
    let length = fs::metadata(rig.file(1)).expect("it is there").len();
    fs::File::options().write(true).open(rig.file(1)).expect("it is there").set_len(length / 2).expect("it is cut");
    rig.keeps().await;
    assert_eq!(fs::read_to_string(rig.file(1)).expect("it is there").lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_folders_that_are_removed_moved_or_replaced_are_made_anew() {
    let rig = Rig::start().await;
    rig.keeps().await;
    fs::remove_file(rig.file(1)).expect("it is there");
    rig.keeps().await;
    fs::remove_dir_all(rig.letters()).expect("it is there");
    rig.keeps().await;
    fs::remove_dir_all(rig.folder.path().join("data/dead-letters")).expect("it is there");
    rig.keeps().await;
    fs::rename(rig.letters(), rig.folder.path().join("aside")).expect("it is there");
    rig.keeps().await;
    fs::rename(rig.letters(), rig.folder.path().join("aside2")).expect("it is there");
    fs::create_dir(rig.letters()).expect("a folder");
    fs::write(rig.file(7), "").expect("a file");
    rig.keeps().await;
    assert!(fs::metadata(rig.file(7)).expect("the newest is written to").len() > 0);
    // A folder, and a link that leads nowhere, in the place of a file.
    fs::remove_file(rig.file(7)).expect("it is there");
    fs::create_dir(rig.file(7)).expect("a folder");
    std::os::unix::fs::symlink(rig.file(8), rig.file(8)).expect("a link");
    rig.faults.set(&[]);
    let (uuid, told) = rig.send().await;
    assert_eq!(told, Told::Rejected("unknown_event".into()));
    assert!(fs::read_to_string(rig.file(9)).expect("the next that can be used").contains(&uuid.to_string()));
    assert_eq!(rig.gateway.readiness().await.json()["reasons"].to_string(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_while_a_letter_is_synced_leaves_no_letter_behind() {
    let rig = Rig::start().await;
    rig.keeps().await;
    rig.faults.set(&[Fault::delay(Call::Fdatasync, "*/dead-letters/dev/*", Duration::from_millis(500)).times(1)]);
    let rotated = async {
        rig.faults.until_hits(0, 1, LIMIT).await;
        fs::rename(rig.file(1), rig.letters().join("00000001.ndjson.1")).expect("it is there");
        fs::write(rig.file(1), "").expect("a new file");
    };
    let ((uuid, told), ()) = tokio::join!(rig.send(), rotated);
    assert_eq!(told, Told::Rejected("unknown_event".into()));
    assert_eq!(times(&rig.folder.path().join("data/dead-letters"), uuid), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_failed_is_not_tried_again_on_the_same_file() {
    let rig = Rig::start().await;
    let first = rig.keeps().await;
    rig.faults.set(&[Fault::new(Call::Fdatasync, "*/dead-letters/dev/*", Errno::IO).times(1)]);
    let lost = rig.keeps_not().await;
    assert_eq!(rig.faults.hits(0), 1);
    let answer = rig.gateway.readiness().await.json();
    assert!(answer["ready"] == true && answer["reasons"].to_string().contains("dead_letters_unwritable"), "{answer}");
    let second = rig.keeps().await;
    let text = |number| fs::read_to_string(rig.file(number)).expect("it is there");
    assert!(text(1).contains(&first.to_string()) && text(2).contains(&second.to_string()));
    assert!(!text(1).contains(&lost.to_string()) && !text(2).contains(&lost.to_string()), "it is answered `retry`");
    rig.gateway.until_reason("", LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_the_folder_that_failed_is_not_tried_again_with_the_same_name() {
    let rig = Rig::start().await;
    rig.faults.set(&[Fault::new(Call::Fsync, "*/dead-letters/dev", Errno::IO).times(1)]);
    // The name of the first file may not be on the disk; that of the second is.
    let uuid = rig.keeps().await;
    assert_eq!(rig.faults.hits(0), 1);
    assert!(fs::read_to_string(rig.file(2)).expect("it is there").contains(&uuid.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_said_until_it_can_although_no_letter_comes() {
    for (call, pattern, errno) in [
        (Call::Open, "*/dead-letters/dev/*", Errno::ROFS),
        (Call::Open, "*/dead-letters/dev/*", Errno::MFILE),
        (Call::Open, "*/dead-letters/dev/*", Errno::NOSPC),
        (Call::Mkdir, "*/dead-letters/dev", Errno::ACCESS),
        (Call::Write, "*/dead-letters/dev/*", Errno::NOSPC),
        (Call::Write, "*/dead-letters/dev/*", Errno::DQUOT),
        (Call::Write, "*/dead-letters/dev/*", Errno::IO),
    ] {
        let rig = Rig::start().await;
        rig.faults.set(&[Fault::new(call, pattern, errno)]);
        rig.keeps_not().await;
        let answer = rig.gateway.until_reason("dead_letters_unwritable", LIMIT).await.json();
        assert!(answer["ready"] == true && answer["reasons"][0]["place"] == "dev", "{call:?} {errno}: {answer}");
        // A look finds the same, and says it once.
        let hits = rig.faults.hits(0);
        rig.faults.until_hits(0, hits + 1, LIMIT).await;
        assert_eq!(rig.gateway.until_logged("dead_letters_unwritable", 1).await, 1, "{}", rig.gateway.log_text());
        rig.faults.clear();
        rig.gateway.until_reason("", LIMIT).await;
        rig.keeps().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_line_that_a_full_disk_left_is_in_no_file() {
    let rig = Rig::start().await;
    rig.keeps().await;
    rig.faults.set(&[
        Fault::short(Call::Write, "*/dead-letters/dev/*", 10).times(1),
        Fault::new(Call::Write, "*/dead-letters/dev/*", Errno::NOSPC).times(1),
    ]);
    rig.keeps_not().await;
    assert_eq!((rig.faults.hits(0), rig.faults.hits(1)), (1, 1));
    rig.keeps().await;
    assert_eq!(dead_letters(&rig.folder.path().join("data/dead-letters")).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_dead_letters_are_said_until_files_are_deleted_although_no_letter_comes() {
    const QUOTA: u64 = 16 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let letters = folder.path().join("data/dead-letters/dev");
    fs::create_dir_all(&letters).expect("a folder");
    // Nearly all that there may be.
    fs::File::create(letters.join("filler")).and_then(|file| file.set_len(QUOTA - 2_000)).expect("a sparse file");
    let rig = Rig::on(folder, |setup| setup.set("dead_letters.bytes_per_key_max", QUOTA)).await;
    let told = loop {
        match rig.send().await {
            (_, Told::Rejected(_)) => {}
            (_, told) => break told,
        }
    };
    assert_eq!(told, Told::Retry("dead_letters_full".into()));
    let answer = rig.gateway.until_reason("dead_letters_full", LIMIT).await.json();
    assert!(answer["ready"] == true && answer["reasons"][0]["place"] == "dev", "{answer}");
    assert!(Scrape::of(&rig.gateway).await.value("dead_letters_bytes") as u64 > QUOTA - 2_000);
    fs::remove_file(letters.join("filler")).expect("it is there");
    rig.gateway.until_reason("", LIMIT).await;
    eventually("the gauge says so too", LIMIT, async || Scrape::of(&rig.gateway).await.value("dead_letters_bytes") < 3_000).await;
    rig.keeps().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_folder_is_made_durable_by_the_first_start() {
    let mut refused = Vec::new();
    // Each sync of the data folder fails in one start: one of them is that of `dead-letters`.
    for passing in 0..40 {
        let folder = tempfile::tempdir().expect("a folder");
        let faults = Faults::new(folder.path());
        faults.set(&[Fault::new(Call::Fsync, "*/data", Errno::IO).after(passing)]);
        let setup = Setup::new(folder.path().join("data")).set("lake.root", folder.path().join("lake").display());
        let mut gateway = faults.on(setup).spawn();
        eventually("it is up or has ended", LIMIT, async || !gateway.is_running() || gateway.has_logged("\"ready\"")).await;
        if gateway.is_running() {
            assert!(refused.iter().any(|log: &String| log.contains("dead letters")), "{refused:?}");
            return;
        }
        assert_ne!(gateway.exit_code(LIMIT).await, 0);
        refused.push(gateway.log_text());
    }
    panic!("it never came up: {refused:?}");
}
