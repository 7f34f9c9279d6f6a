//! The rig bites: each kind of call of the real program can be made to fail, and the program meets the error that was asked
//! for.

use std::{path::Path, process::Command, time::Duration};

use fastrand::Rng;

use crate::support::{
    client::{Post, Told, Wire},
    events, eventually,
    faults::{Call, Errno, Fault, Faults, days, leave_files, restore_files},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What the system says of an error.
fn said(errno: Errno) -> String {
    format!("(os error {})", errno.raw_os_error())
}

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 50).set("spool.segment_bytes", 2_100_000)
}

/// Sends a good event and a bad one, and answers what became of them.
async fn send(gateway: &Gateway) -> [Told; 2] {
    let mut rng = Rng::new();
    let good = Post::json(events::small(events::identity(&mut rng)));
    let bad = Post::json(events::bad_of_kind(events::identity(&mut rng), 8).bytes);
    let mut told = Vec::new();
    for post in [good, bad] {
        told.extend(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1));
    }
    told.try_into().expect("two")
}

/// A running gateway meets `errno` once, for what `provoke` makes it do, and says so in its log.
async fn met(call: Call, pattern: &str, errno: Errno, provoke: impl AsyncFn(&Gateway)) {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    send(&gateway).await;
    Scrape::when_drained(&gateway).await;
    assert!(!gateway.has_logged(&said(errno)));
    faults.set(&[Fault::new(call, pattern, errno).times(1)]);
    provoke(&gateway).await;
    faults.until_hits(0, 1, LIMIT).await;
    eventually("the log names the error", LIMIT, async || gateway.has_logged(&said(errno))).await;
    assert_eq!(faults.hits(0), 1);
}

/// A gateway that meets `errno` as long as it lasts does not come up.
async fn met_at_start(call: Call, pattern: &str, errno: Errno) {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    faults.on(setup(folder.path())).start().await.stop().await;
    faults.set(&[Fault::new(call, pattern, errno)]);
    let mut gateway = faults.on(setup(folder.path())).spawn();
    assert_ne!(gateway.exit_code(LIMIT).await, 0);
    assert!(faults.hits(0) > 0 && gateway.has_logged(&said(errno)), "{}", gateway.log_text());
    faults.clear();
    faults.on(setup(folder.path())).start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_position_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()).set("lake.flush_age_ms", 3_600_000));
    let mut gateway = setup.start().await;
    send(&gateway).await;
    gateway.kill();
    faults.set(&[Fault::new(Call::Pread, "*.seg", Errno::IO).times(1)]);
    let mut gateway = setup.spawn();
    faults.until_hits(0, 1, LIMIT).await;
    // One error of a read is nothing that the gateway speaks of; the event is there all the same.
    gateway.ready().await;
    gateway.stop().await;
    assert_eq!(LakeRows::read(&folder.path().join("data/lake")).rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_fails() {
    met_at_start(Call::Read, "*/schemas/*", Errno::IO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_fails() {
    met(Call::Write, "*/dead-letters/*", Errno::NOSPC, async |gateway| {
        assert_eq!(send(gateway).await, [Told::Accepted, Told::Retry("storage_unavailable".into())]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_at_a_position_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    faults.set(&[Fault::new(Call::Pwrite, "*.seg", Errno::NOSPC)]);
    assert_eq!(send(&gateway).await[0], Told::Retry("storage_unavailable".into()));
    assert!(faults.hits(0) > 0);
    faults.clear();
    eventually("it takes events again", LIMIT, async || send(&gateway).await[0] == Told::Accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_data_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let mut gateway = faults.on(setup(folder.path())).start().await;
    faults.set(&[Fault::new(Call::Fdatasync, "*.seg", Errno::IO).times(1)]);
    let post = Post::json(events::small(events::identity(&mut Rng::new())));
    // It may have ended before its answer was out.
    if let Ok(answer) = gateway.client().post(Wire::H1, &post).await {
        assert_eq!(answer.told(1), [Told::Retry("storage_unavailable".into())]);
    }
    assert_eq!(faults.hits(0), 1);
    // Nobody knows what the disk has: the program says so and ends, often before anybody could have asked it.
    assert_eq!(gateway.exit_code(LIMIT).await, 74, "{}", gateway.log_text());
    assert_eq!(gateway.times_logged("\"code\":\"spool_failed\""), 1, "{}", gateway.log_text());
    assert!(gateway.has_logged(&said(Errno::IO)), "{}", gateway.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_fails() {
    met(Call::Fsync, "*/lake/*", Errno::IO, async |gateway| drop(send(gateway).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cannot_be_opened() {
    met(Call::Open, "*/lake/*", Errno::MFILE, async |gateway| drop(send(gateway).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cannot_be_renamed() {
    met(Call::Rename, "*/lake/event_type=*", Errno::XDEV, async |gateway| drop(send(gateway).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_cannot_be_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    faults.set(&[Fault::new(Call::Mkdir, "*/data/tls", Errno::ROFS)]);
    let mut gateway = faults.on(setup(folder.path())).spawn();
    assert_ne!(gateway.exit_code(LIMIT).await, 0);
    assert!(faults.hits(0) > 0 && gateway.has_logged(&said(Errno::ROFS)), "{}", gateway.log_text());
}

/// What the gateway seldom does is shown with programs that do nothing else.
#[test]
fn names_cannot_be_changed_and_files_not_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    std::fs::write(folder.path().join("file"), "text").expect("a file");
    let all: &[(Call, &str, &[&str])] = &[
        (Call::Link, "*/second", &["ln", "file", "second"]),
        (Call::Unlink, "*/file", &["rm", "-f", "file"]),
        (Call::Truncate, "*/file", &["truncate", "--size=1", "file"]),
        (Call::Rename, "*/other", &["mv", "file", "other"]),
        (Call::Rmdir, "*/folder", &["rmdir", "folder"]),
        (Call::Stat, "*/file", &["stat", "file"]),
        (Call::Fsync, "*/file", &["sync", "file"]),
        (Call::Fdatasync, "*/file", &["sync", "--data", "file"]),
    ];
    std::fs::create_dir(folder.path().join("folder")).expect("a folder");
    for (call, pattern, words) in all {
        faults.set(&[Fault::new(*call, pattern, Errno::DQUOT)]);
        let mut program = Command::new(words[0]);
        program.args(&words[1..]).current_dir(&folder).envs(faults.environment()).env("LC_ALL", "C");
        let output = program.output().expect("a program of the system");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("Disk quota exceeded"), "{call:?}: {said}");
        assert!(faults.hits(0) > 0, "{call:?}");
        faults.clear();
        assert_eq!(std::fs::read(folder.path().join("file")).expect("it is as it was"), b"text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_cannot_be_listed() {
    met_at_start(Call::Open, "*/data/spool", Errno::ACCESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_says_that_it_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    faults.set(&[Fault::free_bytes("*/data/*", 4096)]);
    gateway.until_reason("disk_full", LIMIT).await;
    assert!(faults.hits(0) > 0);
    assert_eq!(send(&gateway).await[0], Told::Retry("storage_unavailable".into()));
    faults.clear();
    gateway.until_reason("", LIMIT).await;
    assert_eq!(send(&gateway).await[0], Told::Accepted);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_right_before_a_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let mut gateway = faults.on(setup(folder.path())).start().await;
    faults.set(&[Fault::kill(Call::Rename, "*/lake/event_type=*").times(1)]);
    send(&gateway).await;
    assert_eq!(gateway.exit_code(LIMIT).await, 128 + 9);
    let gateway = faults.on(setup(folder.path())).start().await;
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    assert_eq!(LakeRows::read(&folder.path().join("data/lake")).rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_makes_clients_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    faults.set(&[Fault::delay(Call::Fdatasync, "*.seg", Duration::from_millis(300)), Fault::short(Call::Pwrite, "*.seg", 100)]);
    let started = std::time::Instant::now();
    assert_eq!(send(&gateway).await[0], Told::Accepted);
    assert!(started.elapsed() >= Duration::from_millis(300) && faults.hits(0) > 0 && faults.hits(1) > 1, "{started:?}");
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    assert_eq!(LakeRows::read(&folder.path().join("data/lake")).rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_clock_jumps_while_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    for shift in [days(-12 * 365), days(5 * 365), 0] {
        faults.clock(shift);
        let expected = jiff::Timestamp::now().as_second() + shift;
        let bad = Post::json(events::bad_of_kind(events::identity(&mut Rng::new()), 8).bytes);
        let answer = gateway.client().post(Wire::H1, &bad).await.expect("an answer");
        assert_eq!(answer.told(1), [Told::Rejected("unknown_event".into())]);
        let letters = dead_letters(&folder.path().join("data/dead-letters"));
        let received: jiff::Timestamp =
            letters.last().and_then(|letter| letter.line["received_datetime"].as_str()?.parse().ok()).expect("a time");
        assert!((received.as_second() - expected).abs() < 60, "{received} and not {expected}, {shift} s from now");
    }
}

#[test]
fn a_bad_block_is_read_up_to_and_other_bytes_can_be_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    std::fs::write(folder.path().join("file"), [b'a'; 8192]).expect("a file");
    let read = || {
        let mut program = Command::new("dd");
        program.args(["if=file", "bs=6000"]).current_dir(&folder).envs(faults.environment()).env("LC_ALL", "C");
        program.output().expect("a program of the system")
    };
    faults.set(&[Fault::new(Call::Read, "*/file", Errno::IO).range(4096..8192)]);
    let output = read();
    assert!(!output.status.success() && output.stdout == [b'a'; 4096], "{} bytes", output.stdout.len());
    assert_eq!(faults.hits(0), 1);
    faults.set(&[Fault::garble(Call::Read, "*/file").range(7000..7001)]);
    let output = read();
    let other: Vec<usize> = (0..output.stdout.len()).filter(|at| output.stdout[*at] != b'a').collect();
    assert_eq!((output.stdout.len(), other), (8192, vec![7000]));
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_run_out_and_are_there_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    let mut connection = gateway.client().connect(Wire::H1).await.expect("it is ready");
    let limit = leave_files(&gateway, 0);
    let uuid = events::identity(&mut Rng::new());
    let answer = connection.post(&Post::json(events::small(uuid))).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Accepted]);
    eventually("the log names the error", LIMIT, async || gateway.has_logged(&said(Errno::MFILE))).await;
    restore_files(&gateway, limit);
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    LakeRows::read(&folder.path().join("data/lake")).assert_exactly(&[uuid].into(), events::small);
}
