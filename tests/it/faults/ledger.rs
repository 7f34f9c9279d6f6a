//! The ledger under faults: no event waits for it, and it counts everything once it can.

use std::{fs, path::Path, time::Duration};

use fastrand::Rng;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::support::{
    client::{Client, Post, Told, Wire, get_plain},
    events, eventually,
    faults::{Call, Errno, Fault, Faults},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
    readback::LakeRows,
    seed,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 50)
}

async fn accepted(gateway: &Gateway, count: usize) {
    let mut rng = Rng::new();
    let lines: Vec<_> = (0..count).map(|_| events::small(events::identity(&mut rng))).collect();
    let answer = gateway.client().post(Wire::H1, &Post::lines(lines.join(&b'\n'))).await.expect("an answer");
    assert_eq!(answer.told(count), vec![Told::Accepted; count]);
}

/// The sums of what the ledger has: accepted, and delivered to the lake.
async fn sums(gateway: &Gateway) -> Option<(u64, u64)> {
    let answer = get_plain(gateway.admin(), "/admin/ledger?since=1d").await.expect("an answer");
    if answer.status != 200 {
        return None;
    }
    let ledger = answer.json();
    assert_eq!(ledger["imbalance"], 0);
    let minutes = ledger["minutes"].as_array().expect("minutes").clone();
    let sum = |of: &dyn Fn(&serde_json::Value) -> Option<u64>| minutes.iter().filter_map(of).sum::<u64>();
    Some((sum(&|row| row["accepted"].as_u64()), sum(&|row| row["sinks"]["lake"]["delivered"].as_u64())))
}

/// A gateway with 10 events that are counted and 20 that are delivered and cannot be, because its ledger's disk fails.
async fn with_failing_ledger(folder: &Path, errno: Errno) -> (Faults, Gateway) {
    let faults = Faults::new(folder);
    let gateway = faults.on(setup(folder)).start().await;
    accepted(&gateway, 10).await;
    eventually("they are counted", LIMIT, async || sums(&gateway).await == Some((10, 10))).await;
    faults.set(&[Fault::new(Call::Pwrite, "*/ledger/*", errno), Fault::new(Call::Write, "*/ledger/*", errno)]);
    accepted(&gateway, 20).await;
    Scrape::when_drained(&gateway).await;
    eventually("it is said", LIMIT, async || gateway.readiness().await.text().contains("ledger_unwritable")).await;
    (faults, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_written_holds_up_nothing_and_counts_everything_once_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let (faults, gateway) = with_failing_ledger(folder.path(), Errno::NOSPC).await;
    assert_eq!(gateway.readiness().await.status, 200, "events are taken");
    accepted(&gateway, 5).await;
    // Nobody waits again for a disk that is known to fail: 20 waits of 5 s would not end in time.
    let questions = async {
        for _ in 0..20 {
            assert_eq!(sums(&gateway).await, None, "it cannot be read");
        }
    };
    tokio::time::timeout(LIMIT, questions).await.expect("each is answered at once");
    faults.clear();
    eventually("all are counted", LIMIT, async || sums(&gateway).await == Some((35, 35))).await;
    eventually("it passes", LIMIT, async || !gateway.readiness().await.text().contains("ledger_unwritable")).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ledger_is_said_and_begins_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).start().await;
    accepted(&gateway, 10).await;
    gateway.stop().await;
    let file = folder.path().join("data/ledger/ledger.redb");
    let bytes = fs::metadata(&file).expect("the ledger").len() as usize;
    fs::write(&file, vec![0x5a; bytes]).expect("written");
    let gateway = setup(folder.path()).start().await;
    assert!(gateway.readiness().await.text().contains("ledger_damaged"));
    accepted(&gateway, 3).await;
    // With those that are still in the spool.
    eventually("the new one counts", LIMIT, async || sums(&gateway).await == Some((13, 13))).await;
    assert!(folder.path().join("data/ledger/ledger.damaged").exists());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_damaged_while_the_gateway_runs_begins_again_and_balances() {
    let folder = tempfile::tempdir().expect("a folder");
    let (faults, gateway) = with_failing_ledger(folder.path(), Errno::IO).await;
    let file = folder.path().join("data/ledger/ledger.redb");
    let bytes = fs::metadata(&file).expect("the ledger").len() as usize;
    fs::write(&file, vec![0x5a; bytes]).expect("written");
    faults.clear();
    eventually("it is damaged", LIMIT, async || gateway.readiness().await.text().contains("ledger_damaged")).await;
    accepted(&gateway, 3).await;
    // Nothing is unlinked yet, so the spool still has all of them.
    eventually("the new one counts", LIMIT, async || sums(&gateway).await == Some((33, 33))).await;
    assert_eq!(Scrape::of(&gateway).await.value("ledger_imbalance_events"), 0);
    gateway.stop().await;
}

/// Sends batches with good events, repetitions and bad ones, until the gateway is gone.
async fn send_until_killed(client: Client, mut rng: Rng, answered: mpsc::UnboundedSender<()>) {
    let Ok(mut connection) = client.connect(Wire::H1).await else { return };
    let mut earlier: Vec<Uuid> = Vec::new();
    loop {
        let mut lines = Vec::new();
        for _ in 0..rng.usize(1..20) {
            match rng.usize(0..10) {
                0 => lines.push(events::bad_of_kind(events::identity(&mut rng), 8).bytes),
                1 if !earlier.is_empty() => lines.push(events::small(earlier[rng.usize(..earlier.len())])),
                _ => {
                    earlier.push(events::identity(&mut rng));
                    lines.extend(earlier.last().map(|uuid| events::small(*uuid)));
                }
            }
        }
        if connection.post(&Post::lines(lines.join(&b'\n'))).await.is_err() || answered.send(()).is_err() {
            return;
        }
    }
}

/// `LAKEGATE_KILL_ROUNDS=100` for a long run: `make ledger-kills`.
#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_gateway_is_killed_under_load_each_event_has_one_account_and_the_lake_fits() {
    let rounds = std::env::var("LAKEGATE_KILL_ROUNDS").map_or(6, |text| text.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut rng = Rng::with_seed(seed("LAKEGATE_KILL_SEED"));
    for round in 0..rounds {
        let mut gateway = setup(folder.path()).set("spool.segment_bytes", 2_100_000).start().await;
        let (answered, mut answers) = mpsc::unbounded_channel();
        let senders: Vec<_> =
            (0..3).map(|_| tokio::spawn(send_until_killed(gateway.client(), rng.fork(), answered.clone()))).collect();
        // The lake goes away in the middle of every third round.
        answers.recv().await.expect("an answer");
        let outage = (round % 3 == 2).then(|| Outage::begin(&data));
        for _ in 0..rng.usize(1..60) {
            answers.recv().await.expect("an answer");
        }
        gateway.kill();
        drop(answers);
        for sender in senders {
            sender.await.expect("it ends");
        }
        outage.into_iter().for_each(Outage::repair);
    }
    let gateway = setup(folder.path()).start().await;
    Scrape::when_drained(&gateway).await;
    let rows = LakeRows::read(&data.join("lake")).rows.values().map(Vec::len).sum::<usize>() as u64;
    eventually("each is accounted for", LIMIT, async || sums(&gateway).await == Some((rows, rows))).await;
    assert_eq!(Scrape::of(&gateway).await.value("ledger_imbalance_events"), 0);
    let mut check = tokio::process::Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let checked =
        check.args(["ledger", "--since", "1d", "--check", "lake", "--data-dir"]).arg(&data).output().await.expect("it starts");
    assert!(checked.status.success(), "{checked:?}");
    gateway.stop().await;
}
