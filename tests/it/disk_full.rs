//! A full disk and a full quota: 503 with `Retry-After`, nothing acknowledged is lost, memory stays flat, and service
//! resumes by itself when there is room.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    cannot_run,
    client::{Answer, Client, Connection, Post, Told, Wire, get_plain},
    events::{self, Form},
    eventually,
    gateway::{Gateway, Memory, Setup},
    metrics::Scrape,
    namespace::SmallDisk,
    outage::Outage,
    readback::{LakeRows, dead_letters},
    say,
};

const MB: u64 = 1_000_000;

/// Time in which service is back once there is room. The longest pause between two tries of the sink is 30 s, but that is
/// reached only after a minute of failures.
const RESUME_LIMIT: Duration = Duration::from_secs(45);

/// Events of several sizes, and how large each one is that was acknowledged.
struct Source {
    rng: Rng,
    acknowledged: HashMap<Uuid, usize>,
}

impl Source {
    fn new() -> Self {
        Self { rng: Rng::new(), acknowledged: HashMap::new() }
    }

    /// Sends a batch of about 300 KB. Whether all of it was taken; what was not is told so in the way of the contract.
    async fn send(&mut self, connection: &mut Connection) -> Result<(), Box<(Answer, String)>> {
        let batch: Vec<_> = (0..3).map(|_| (events::identity(&mut self.rng), self.rng.usize(500..200_000))).collect();
        let bodies: Vec<_> = batch.iter().map(|(uuid, size)| events::good_of_size(*uuid, *size)).collect();
        let answer = connection.post(&Form::Array.post(&bodies)).await.expect("an answer");
        let mut refused = None;
        for ((uuid, _), (told, body)) in batch.iter().zip(answer.told(batch.len()).into_iter().zip(bodies)) {
            match told {
                Told::Accepted => drop(self.acknowledged.insert(*uuid, body.len())),
                Told::Retry(code) => refused = Some(code),
                told => panic!("{told:?}"),
            }
        }
        refused.map_or(Ok(()), |code| Err(Box::new((answer, code))))
    }

    /// Sends until nothing more is taken: the code that says why.
    async fn fill(&mut self, client: &Client) -> String {
        let mut connection = client.connect(Wire::H2).await.expect("it is ready");
        for _ in 0..2_000 {
            if let Err(refused) = self.send(&mut connection).await {
                let (answer, code) = *refused;
                assert_eq!((answer.status, answer.problem_code().as_str()), (503, "storage_unavailable"), "{answer:?}");
                assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
                return code;
            }
        }
        panic!("it was never full");
    }

    /// Goes on sending for a while to a gateway that takes nothing, and measures its memory.
    async fn hammer(&mut self, gateway: &Gateway, expected_code: &str) -> (Memory, Memory) {
        let mut connection = gateway.client().connect(Wire::H1).await.expect("it is ready");
        let mut before = None;
        for round in 0..120 {
            if round == 20 {
                before = Some(gateway.memory());
            }
            if let Err(refused) = self.send(&mut connection).await {
                assert_eq!(refused.1, expected_code);
            }
        }
        (before.expect("measured"), gateway.memory())
    }

    /// Sends until it is taken again.
    async fn resume(&mut self, client: &Client) {
        let mut connection = client.connect(Wire::H1).await.expect("it is running");
        eventually("service resumes", RESUME_LIMIT, async || self.send(&mut connection).await.is_ok()).await;
    }

    fn assert_in(&self, lake: &Path) {
        let expected = self.acknowledged.keys().copied().collect();
        LakeRows::read(lake).assert_exactly(&expected, |uuid| events::good_of_size(uuid, self.acknowledged[&uuid]));
    }
}

async fn readiness(gateway: &Gateway) -> (u16, Vec<String>) {
    let public = gateway.client().get("/readyz").await.expect("an answer");
    let operators = get_plain(gateway.admin(), "/readyz").await.expect("an answer");
    assert_eq!(public.status, operators.status);
    let json = public.json();
    assert_eq!(json["ready"], public.status == 200);
    let reasons = json["reasons"].as_array().expect("reasons").iter();
    (public.status, reasons.map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect())
}

fn assert_flat((before, after): (Memory, Memory)) -> String {
    let grown = after.now - before.now;
    assert!(grown < 32.0, "memory grew by {grown:.0} MiB while nothing was taken: {before:?}, {after:?}");
    format!("{:.0} MiB, and {:.0} after 100 more refused requests ({:.0} at most)", before.now, after.now, after.most)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_sink_away_events_are_taken_up_to_the_quota_then_503_and_all_arrive_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let setup = Setup::new(data).set("lake.flush_age_ms", 50);
    let gateway = setup.set("spool.segment_bytes", 2_100_000).set("spool.quota_bytes", 9_000_000).start().await;
    let client = gateway.client();
    let mut source = Source::new();
    source.resume(&client).await;
    Scrape::when_drained(&gateway).await;
    assert_eq!(readiness(&gateway).await, (200, vec![]));

    let outage = Outage::begin(data);
    assert_eq!(source.fill(&client).await, "quota_full");
    let taken = source.acknowledged.len();
    let (status, reasons) = readiness(&gateway).await;
    assert_eq!((status, reasons.contains(&"spool_full".into())), (503, true), "{reasons:?}");
    assert!(reasons.contains(&"sink_unreachable".into()), "{reasons:?}");
    let memory = assert_flat(source.hammer(&gateway, "quota_full").await);
    // The disk itself has room: what is wrong is still kept, and said to be.
    let bad = events::bad_of_kind(events::identity(&mut source.rng), 8);
    let answer = client.post(Wire::H1, &Post::json(bad.bytes)).await.expect("an answer");
    assert_eq!((answer.told(1), answer.status), (vec![Told::Rejected("unknown_event".into())], 422));

    outage.repair();
    source.resume(&client).await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert!(drained.sum("retry_events", "code=\"quota_full\"") > 100, "{drained:?}");
    eventually("it is ready again", RESUME_LIMIT, async || readiness(&gateway).await == (200, vec![])).await;
    gateway.stop().await;
    source.assert_in(&data.join("lake"));
    assert_eq!(dead_letters(&data.join("dead-letters")).len(), 1);
    say(format_args!("quota: {taken} events up to 503; memory {memory}; {} in the lake", source.acknowledged.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_segment_that_fills_the_quota_makes_room_once_it_is_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50);
    let gateway = setup.set("spool.segment_bytes", 2_100_000).set("spool.quota_bytes", 4_200_000).start().await;
    let client = gateway.client();
    let mut rng = Rng::new();
    let mut batch =
        |sizes: &[usize]| -> Vec<(Uuid, usize)> { sizes.iter().map(|size| (events::identity(&mut rng), *size)).collect() };
    let bodies =
        |batch: &[(Uuid, usize)]| -> Vec<_> { batch.iter().map(|(uuid, size)| events::good_of_size(*uuid, *size)).collect() };
    let mut expected = HashMap::new();
    // All at once, so that they are in one segment; the next one would need more than the quota leaves.
    let first = batch(&[1_000_000; 4]);
    let answer = client.post(Wire::H1, &Form::GzipArray.post(&bodies(&first))).await.expect("an answer");
    assert_eq!(answer.told(4), vec![Told::Accepted; 4]);
    expected.extend(first);
    Scrape::when_drained(&gateway).await;
    let next = batch(&[1_000_000; 1]);
    let post = Form::GzipArray.post(&bodies(&next));
    eventually("service resumes", RESUME_LIMIT, async || {
        client.post(Wire::H1, &post).await.expect("an answer").told(1) == [Told::Accepted]
    })
    .await;
    expected.extend(next);
    gateway.stop().await;
    let uuids = expected.keys().copied().collect();
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&uuids, |uuid| events::good_of_size(uuid, expected[&uuid]));
}

/// A small file system, or `None` where the machine allows none and the test may do without.
fn small_disk(mount: &Path, bytes: u64) -> Option<SmallDisk> {
    SmallDisk::mount(mount, bytes).inspect_err(|reason| cannot_run("a full disk", reason)).ok()
}

/// Writes a file of `bytes` bytes, or as many as the disk takes.
fn ballast(path: &Path, bytes: u64) {
    let mut file = File::create(path).expect("an inode");
    let block = vec![7; 4096];
    for _ in 0..bytes.div_ceil(4096) {
        if file.write_all(&block).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_to_the_last_byte_loses_nothing_not_even_with_a_kill_and_service_resumes_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = small_disk(folder.path(), 24 * MB) else { return };
    // No floor: the writes themselves fail. And no delivery before the end: it would make room.
    let setup = Setup::new(disk.data_inside()).set("spool.free_bytes_min", 0).set("lake.flush_age_ms", 3_600_000);
    let setup = disk.enter(setup.set("spool.segment_bytes", 2_100_000));
    let [first_ballast, second_ballast, rest] = ["first", "second", "rest"].map(|name| disk.path().join(name));
    ballast(&first_ballast, 6 * MB);
    ballast(&second_ballast, 6 * MB);
    let mut gateway = setup.start().await;
    let mut source = Source::new();
    assert_eq!(source.fill(&gateway.client()).await, "storage_unavailable");
    let (status, reasons) = readiness(&gateway).await;
    assert_eq!((status, reasons), (503, vec!["disk_full".to_owned()]));
    let taken = source.acknowledged.len();
    ballast(&rest, 24 * MB);
    assert_eq!(disk.free_bytes(), 0);
    let memory = assert_flat(source.hammer(&gateway, "storage_unavailable").await);
    // What is wrong cannot be kept now: its sender must keep it.
    let bad = events::bad_of_kind(events::identity(&mut source.rng), 8);
    let post = Post::json(bad.bytes.clone());
    let answer = gateway.client().post(Wire::H1, &post).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Retry("storage_unavailable".into())], "{answer:?}");

    fs::remove_file(&first_ballast).expect("it is there");
    source.resume(&gateway.client()).await;
    let answer = gateway.client().post(Wire::H1, &post).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Rejected("unknown_event".into())], "{answer:?}");

    // Full again, and killed, and started on the full disk.
    assert_eq!(source.fill(&gateway.client()).await, "storage_unavailable");
    ballast(&first_ballast, 24 * MB);
    gateway.kill();
    let gateway = setup.start().await;
    let (uuid, size) = source.acknowledged.iter().next().map(|(uuid, size)| (*uuid, *size)).expect("many");
    let again = Post::json(events::good_of_size(uuid, size));
    assert_eq!(gateway.client().post(Wire::H2, &again).await.expect("an answer").told(1), [Told::Duplicate]);
    assert_eq!(source.fill(&gateway.client()).await, "storage_unavailable");
    fs::remove_file(&second_ballast).expect("it is there");
    source.resume(&gateway.client()).await;
    gateway.stop().await;
    source.assert_in(&disk.data().join("lake"));
    let letters = dead_letters(&disk.data().join("dead-letters"));
    assert_eq!(letters.iter().filter(|letter| letter.raw == bad.bytes).count(), letters.len());
    assert_eq!(letters.len(), 1);
    say(format_args!("full disk: {taken} events up to 503; memory {memory}; {} in the lake", source.acknowledged.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_of_free_bytes_leaves_room_to_drain_into_a_lake_on_the_same_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = small_disk(folder.path(), 24 * MB) else { return };
    let setup = Setup::new(disk.data_inside()).set("spool.free_bytes_min", 6 * MB).set("lake.flush_age_ms", 50);
    let gateway = disk.enter(setup.set("spool.segment_bytes", 2_100_000)).start().await;
    let mut source = Source::new();
    let outage = Outage::begin(&disk.data());
    assert_eq!(source.fill(&gateway.client()).await, "storage_unavailable");
    assert!(disk.free_bytes() >= 6 * MB - 100_000, "{} bytes are free", disk.free_bytes());
    let (status, reasons) = readiness(&gateway).await;
    assert_eq!((status, reasons.contains(&"disk_full".into())), (503, true), "{reasons:?}");
    let memory = assert_flat(source.hammer(&gateway, "storage_unavailable").await);
    // What is wrong is still kept: the floor is there for it too.
    let bad = events::bad_of_kind(events::identity(&mut source.rng), 8);
    let answer = gateway.client().post(Wire::H1, &Post::json(bad.bytes)).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Rejected("unknown_event".into())]);

    outage.repair();
    source.resume(&gateway.client()).await;
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    source.assert_in(&disk.data().join("lake"));
    assert_eq!(dead_letters(&disk.data().join("dead-letters")).len(), 1);
    say(format_args!("floor: memory {memory}; {} in the lake", source.acknowledged.len()));
}
