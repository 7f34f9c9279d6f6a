//! `SIGKILL` of gateways and of the commands that tidy their lake, at random moments, again and again on the same data. In the
//! end each acknowledged event is in the table once, and in its typed table once, unless it was erased or has expired; then it is in
//! no file.
//!
//! Ten rounds in `cargo test`, and six with two gateways on one lake in S3. The long run, a quarter of an hour:
//!
//! ```text
//! LAKEGATE_KILL_ROUNDS=300 cargo test --test it lake_kills:: -- --nocapture
//! ```
//!
//! `LAKEGATE_KILL_SEED` repeats the choices of a run. The lake in S3 is in the memory of the test, or where
//! `LAKEGATE_TEST_S3_ENDPOINT=http://127.0.0.1:PORT` says, in the bucket `lakegate-test`.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    client::{Client, Told, Wire},
    events::{self, Form},
    eventually,
    gateway::{Gateway, Setup},
    lake_commands::{LakeCommands, age_leftovers, unfinished_erasures},
    readback::{LakeRows, count_files},
    say, seed,
    sender::Sender,
    typed_tables::TypedRows,
};

/// Clients of a gateway that send at the same time.
const CLIENTS: usize = 2;

/// The events of the tests were created in November 2026.
const RETENTION: &str = "[lake.retention.events]\n\"menu:section:*\" = 1\n";

fn has_expired(uuid: Uuid) -> bool {
    memchr::memmem::find(&events::good(uuid), b"menu:section:").is_some()
}

fn rounds(usual: usize) -> usize {
    std::env::var("LAKEGATE_KILL_ROUNDS").map_or(usual, |text| text.parse().expect("a number of rounds"))
}

/// What the kills of gateways met.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    unfinished_files: usize,
    erasing: usize,
    erasing_the_lake: usize,
}

/// Gateways on one lake, those who send to them, and the commands beside.
struct Rig {
    rng: Rng,
    setups: Vec<Setup>,
    senders: Vec<Vec<Sender>>,
    commands: LakeCommands,
    /// The first events: they are neither sent again nor erased.
    first: HashSet<Uuid>,
    tally: Tally,
}

impl Rig {
    /// Gateways with these data folders; `lake` is the section of the configuration that says where the lake is. `tidy` is the
    /// data folder of the commands that tidy. The table is there.
    async fn start(rng: Rng, folder: &Path, lake: &str, names: &[&str], tidy: &str) -> Self {
        let mut rng = rng;
        let config = folder.join("lakegate.toml");
        std::fs::write(&config, format!("{lake}\n{RETENTION}")).expect("a file");
        std::fs::create_dir_all(folder.join(tidy)).expect("a folder");
        let credentials = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
        let setup = |name: &&str| {
            let setup = Setup::new(folder.join(name)).config(&config).set("spool.segment_bytes", 2_100_000);
            credentials.iter().fold(setup, |setup, (name, value)| setup.variable(name, value))
        };
        let setups: Vec<Setup> = names.iter().map(setup).collect();
        let senders = setups.iter().map(|_| (0..CLIENTS).map(|_| Sender::new(rng.fork(), 30)).collect()).collect();
        let commands = LakeCommands::new(rng.fork(), &config, &folder.join(tidy));
        let mut first = HashSet::new();
        for setup in &setups {
            let gateway = setup.start().await;
            let (sent, told) = send(&gateway.client(), &mut rng).await;
            assert_eq!(told, vec![Told::Accepted; sent.len()]);
            first.extend(sent);
            gateway.stop().await;
        }
        Self { rng, setups, senders, commands, first, tally: Tally::default() }
    }

    fn data(&self, gateway: usize) -> PathBuf {
        self.setups[gateway].data_dir.clone()
    }

    async fn round(&mut self, round: usize) {
        self.commands.until_none_erases().await;
        let flush = |rng: &mut Rng| rng.u32(20..200);
        let mut gateways: Vec<Gateway> =
            self.setups.iter().map(|setup| setup.clone().set("lake.flush_age_ms", flush(&mut self.rng)).spawn()).collect();
        if round % 5 == 1 {
            // While what the kill before left is recovered, and erasures are continued.
            tokio::time::sleep(Duration::from_micros(self.rng.u64(..400_000))).await;
            self.kill(gateways).await;
            return;
        }
        for gateway in &mut gateways {
            gateway.ready().await;
        }
        let erasable: Vec<Vec<Uuid>> = self.senders.iter().map(|senders| self.erasable(senders)).collect();
        let killed = Arc::new(AtomicBool::new(false));
        let mut sending = Vec::new();
        for (senders, gateway) in std::mem::take(&mut self.senders).into_iter().zip(&gateways) {
            let start = |sender: Sender| tokio::spawn(sender.send_until(gateway.client(), killed.clone()));
            sending.push(senders.into_iter().map(start).collect::<Vec<_>>());
        }
        let clients: Vec<Client> = gateways.iter().map(Gateway::client).collect();
        self.load(&clients, &erasable, round % 5 == 3).await;
        self.kill(gateways).await;
        killed.store(true, Ordering::Relaxed);
        for tasks in sending {
            let mut senders = Vec::new();
            for task in tasks {
                senders.push(task.await.expect("a client found an answer that cannot be"));
            }
            self.senders.push(senders);
        }
        // Where no gateway runs.
        if self.rng.u8(..3) == 0 {
            let gateway = self.rng.usize(..self.setups.len());
            let events = some_of(&erasable[gateway], &mut self.rng);
            if !events.is_empty() && !self.commands.repeat_erasure() {
                self.commands.erase(&self.data(gateway), &events);
            }
        }
    }

    /// Commands run, until it is time to kill the gateways: at any moment, or while one of them erases from the lake.
    async fn load(&mut self, clients: &[Client], erasable: &[Vec<Uuid>], until_erasing: bool) {
        let millis = if until_erasing { 1_500 } else { self.rng.u64(200..1_100) };
        let until = Instant::now() + Duration::from_millis(millis);
        while Instant::now() < until {
            if self.commands.tend() && !self.commands.repeat_erasure() {
                let gateway = self.rng.usize(..clients.len());
                let mut events = some_of(&erasable[gateway], &mut self.rng);
                // New ones too, which wait in the spool. If their answer is lost, they may be there all the same.
                events.extend(send(&clients[gateway], &mut self.rng).await.0);
                self.commands.erase(&self.data(gateway), &events);
            }
            if until_erasing && (0..self.setups.len()).any(|gateway| unfinished_erasures(&self.data(gateway)).1 > 0) {
                tokio::time::sleep(Duration::from_micros(self.rng.u64(..120_000))).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Kills the gateways, one soon after the other.
    async fn kill(&mut self, mut gateways: Vec<Gateway>) {
        while !gateways.is_empty() {
            let mut gateway = gateways.swap_remove(self.rng.usize(..gateways.len()));
            gateway.kill();
            self.tally.kills += 1;
            if !gateways.is_empty() {
                tokio::time::sleep(Duration::from_micros(self.rng.u64(..150_000))).await;
            }
        }
        for gateway in 0..self.setups.len() {
            let (unfinished, in_lake) = unfinished_erasures(&self.data(gateway));
            self.tally.erasing += usize::from(unfinished > 0);
            self.tally.erasing_the_lake += usize::from(in_lake > 0);
            self.tally.unfinished_files += count_files(&self.data(gateway).join("lake/_tmp"), ".tmp");
        }
    }

    fn erasable(&self, senders: &[Sender]) -> Vec<Uuid> {
        let acknowledged = senders.iter().flat_map(|sender| sender.acknowledged.iter().copied());
        acknowledged.filter(|uuid| !self.commands.erased.contains(uuid)).collect()
    }

    /// Every event's fate becomes known, and the gateways end the erasures that were interrupted.
    async fn settle(&mut self) {
        self.commands.kill();
        for (setup, senders) in self.setups.iter().zip(&mut self.senders) {
            let gateway = setup.start().await;
            for sender in senders {
                sender.settle(&gateway.client()).await;
            }
            let data = &setup.data_dir;
            let limit = Duration::from_secs(300);
            eventually("the gateway continues its erasures", limit, async || unfinished_erasures(data).0 == 0).await;
            gateway.stop().await;
        }
    }

    /// The events that must be in the lake.
    fn expected(&self) -> HashSet<Uuid> {
        let senders = self.senders.iter().flatten();
        let acknowledged = senders.flat_map(|sender| sender.acknowledged.iter().copied()).chain(self.first.iter().copied());
        acknowledged.filter(|uuid| !self.commands.erased.contains(uuid) && !has_expired(*uuid)).collect()
    }

    /// Expires, compacts and removes what is left, and checks the lake by its own command.
    fn tidy(&self) {
        self.commands.run(&["expire"]);
        self.commands.run(&["compact", "--all"]);
        let built = self.commands.run(&["build"]);
        assert_eq!((&built["failed"], &built["left_out"], &built["overtaken_partitions"]), (&json!([]), &json!([]), &json!(0)));
        self.commands.run(&["vacuum", "--grace-minutes", "0"]);
        let checked = self.commands.run(&["check", "--deep"]);
        assert_eq!((&checked["problems"], &checked["findings"]), (&json!(0), &json!([])), "{checked:#}");
    }

    fn tell(&self, what: &str, rounds: usize, repeated: usize, expected: usize, started: Instant) {
        let Tally { kills, unfinished_files, erasing, erasing_the_lake } = self.tally;
        let (commands, seconds) = (&self.commands, started.elapsed().as_secs_f64());
        say(format_args!(
            "{what}: {rounds} rounds in {seconds:.1} s, {expected} events left. {kills} kills of gateways: {erasing} rounds ended \
             during an erasure, {erasing_the_lake} in its lake step; {unfinished_files} files cut off. {commands}, {repeated} repeated"
        ));
        assert!(commands.faults.is_empty(), "{}", commands.faults.join("\n"));
        assert!(commands.ends.iter().any(|ends| ends.killed > 0), "no kill met a command");
        // A busy machine may come to little in a few rounds.
        if rounds >= 30 {
            assert!(commands.ends.iter().all(|ends| ends.killed > 0 && ends.done > 0), "a command was never killed, or always");
            assert!(erasing_the_lake > 0, "no kill of a gateway met an erasure");
        }
    }
}

/// Sends a few new events.
async fn send(client: &Client, rng: &mut Rng) -> (Vec<Uuid>, Vec<Told>) {
    let uuids: Vec<Uuid> = (0..8).map(|_| events::identity(rng)).collect();
    let bodies: Vec<Vec<u8>> = uuids.iter().map(|uuid| events::good(*uuid)).collect();
    let told = client.post(Wire::H2, &Form::Lines.post(&bodies)).await.map(|answer| answer.told(bodies.len()));
    (uuids, told.unwrap_or_default())
}

fn some_of(events: &[Uuid], rng: &mut Rng) -> Vec<Uuid> {
    rng.choose_multiple(events.iter().copied(), 12)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_each_event_is_in_the_lake_once_and_nothing_erased_or_expired_comes_back() {
    let rounds = rounds(10);
    let folder = tempfile::tempdir().expect("a folder");
    let rng = Rng::with_seed(seed("LAKEGATE_KILL_SEED"));
    let mut rig = Rig::start(rng, folder.path(), "", &["data"], "data").await;
    let started = Instant::now();
    for round in 0..rounds {
        rig.round(round).await;
    }
    rig.settle().await;
    let repeated = rig.commands.finish_erasures(&[]);
    let (lake, typed) = (rig.data(0).join("lake"), rig.data(0).join("lake-typed"));
    age_leftovers(&lake);
    // In a short run no build may have begun.
    if typed.is_dir() {
        age_leftovers(&typed);
    }
    rig.tidy();
    let expected = rig.expected();
    LakeRows::read(&lake).assert_exactly(&expected, events::good);
    LakeRows::read_all_files(&lake).assert_exactly(&expected, events::good);
    TypedRows::read(&typed).assert_exactly(&expected);
    TypedRows::read_all_files(&typed).assert_exactly(&expected);
    rig.tell("lake kills", rounds, repeated, expected.len(), started);
}

#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_two_gateways_and_a_compactor_on_one_lake_in_s3() {
    use crate::support::s3::{Conditions, FakeS3, download};

    let rounds = rounds(6);
    let folder = tempfile::tempdir().expect("a folder");
    let (fake, url, bucket) = match std::env::var("LAKEGATE_TEST_S3_ENDPOINT") {
        Ok(url) => (None, url, "lakegate-test"),
        Err(_) => {
            let (fake, url) = FakeS3::start(Conditions::Obeyed).await;
            (Some(fake), url, "bucket")
        }
    };
    let prefix = format!("kills-{}", Uuid::new_v4());
    let section = format!(
        "[lake]\nroot = \"s3://{bucket}/{prefix}\"\ns3_endpoint = \"{url}\"\ns3_region = \"us-east-1\"\ns3_allow_http = true"
    );
    let rng = Rng::with_seed(seed("LAKEGATE_KILL_SEED"));
    let mut rig = Rig::start(rng, folder.path(), &section, &["a", "b"], "compactor").await;
    let started = Instant::now();
    for round in 0..rounds {
        rig.round(round).await;
    }
    rig.settle().await;
    // A day later. Elsewhere the clock cannot be set: what a killed compaction left stays for a day, and erasures say so.
    let leftovers: &[&str] = if fake.is_some() { &[] } else { &["files that a writer may still commit", "rewritten-"] };
    if let Some(fake) = &fake {
        fake.age("rewritten-", 2 * 86_400_000);
    }
    let repeated = rig.commands.finish_erasures(leftovers);
    rig.tidy();
    let expected = rig.expected();
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).expect("a folder");
    download(&url, bucket, &format!("{prefix}/"), &copy).await;
    LakeRows::read(&copy.join(&prefix)).assert_exactly(&expected, events::good);
    if fake.is_some() {
        LakeRows::read_all_files(&copy.join(&prefix)).assert_exactly(&expected, events::good);
    }
    let typed = format!("{prefix}-typed");
    download(&url, bucket, &format!("{typed}/"), &copy).await;
    TypedRows::read(&copy.join(&typed)).assert_exactly(&expected);
    if fake.is_some() {
        TypedRows::read_all_files(&copy.join(&typed)).assert_exactly(&expected);
    }
    rig.tell("lake kills in S3", rounds, repeated, expected.len(), started);
}
