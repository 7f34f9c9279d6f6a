//! Files and folders that the gateway makes: whose they are, and that a crash in the middle of making them does no harm. What
//! a power cut leaves is tested in `power_cut/`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use fastrand::Rng;

use crate::support::{
    client::{Post, Told, Wire},
    events,
    faults::{Call, Errno, Fault, Faults},
    gateway::Setup,
    metrics::Scrape,
};

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_the_data_whatever_the_umask() {
    for umask in ["000", "177"] {
        nobody_else_reads_the_data(umask).await;
    }
}

async fn nobody_else_reads_the_data(umask: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("deep/data");
    let wrapper = ["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"].map(str::to_owned).to_vec();
    let gateway = Setup::new(&data).set("lake.flush_age_ms", 50).through(wrapper, data.clone()).start().await;
    let mut rng = Rng::new();
    let good = Post::json(events::small(events::identity(&mut rng)));
    let bad = Post::json(events::bad_of_kind(events::identity(&mut rng), 8).bytes);
    for (post, told) in [(good, Told::Accepted), (bad, Told::Rejected("unknown_event".into()))] {
        assert_eq!(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1), [told]);
    }
    Scrape::when_drained(&gateway).await;
    gateway.stop().await;
    let mut found = vec![];
    walk(folder.path(), &mut found);
    assert!(found.len() > 15, "{found:?}");
    for path in found {
        let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "umask {umask}: {mode:o} {}", path.display());
    }
    assert!(!warns_of_open_folders(&data).await, "umask {umask}: nothing is open");
    fs::set_permissions(data.join("dead-letters"), fs::Permissions::from_mode(0o750)).expect("it is ours");
    assert!(warns_of_open_folders(&data).await, "umask {umask}: others can look into dead-letters/");
}

/// Whether the next start says that others can look into the dead letters, and nothing of other folders.
async fn warns_of_open_folders(data: &Path) -> bool {
    let gateway = Setup::new(data).start().await;
    let warns =
        gateway.has_logged(&format!("open to other users of this machine: chmod go= {}\"", data.join("dead-letters").display()));
    assert_eq!(gateway.has_logged("open to other users"), warns, "{}", gateway.log_text());
    gateway.stop().await;
    warns
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_dies_while_it_makes_its_certificate_is_made_good_by_the_next_one() {
    for call in [Call::Mkdir, Call::Open, Call::Write, Call::Fsync, Call::Rename] {
        for after in 0..4 {
            let folder = tempfile::tempdir().expect("a folder");
            let faults = Faults::new(folder.path());
            let setup = faults.on(Setup::new(folder.path().join("data")));
            faults.set(&[Fault::kill(call, "*/data/tls*").after(after).times(1)]);
            let mut gateway = setup.spawn();
            let (until, mut ended) = (std::time::Instant::now() + Duration::from_secs(30), false);
            while !ended && !gateway.has_logged("\"ready\"") {
                assert!(std::time::Instant::now() < until, "{}", gateway.log_text());
                ended = !gateway.is_running();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if !ended {
                assert_eq!(faults.hits(0), 0, "{call:?}");
                assert!(after > 0, "{call:?} is not called at all");
                break;
            }
            faults.clear();
            setup.start().await.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_sync_a_folder_is_not_taken_for_one_that_can() {
    for folder_of in ["*/data", "*/data/spool", "*/data/dead-letters", "*/data/lake"] {
        let folder = tempfile::tempdir().expect("a folder");
        let faults = Faults::new(folder.path());
        let setup = faults.on(Setup::new(folder.path().join("data")));
        faults.set(&[Fault::new(Call::Fsync, folder_of, Errno::IO)]);
        let mut gateway = setup.spawn();
        let post = Post::json(events::bad_of_kind(events::identity(&mut Rng::new()), 8).bytes);
        let until = std::time::Instant::now() + Duration::from_secs(30);
        // Either it does not start, or what stands on that folder is not acknowledged.
        loop {
            assert!(std::time::Instant::now() < until, "{}", gateway.log_text());
            if !gateway.is_running() {
                break;
            }
            if gateway.has_logged("\"ready\"") {
                let answer = gateway.client().post(Wire::H1, &post).await;
                assert!(answer.is_ok_and(|answer| answer.told(1) == [Told::Retry("storage_unavailable".into())]), "{folder_of}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(faults.hits(0) > 0, "{folder_of}");
    }
}
