//! Everything at once: `SIGKILL` at random moments while the machine's faults come and go. Every acknowledged event is in the
//! lake exactly once, or among those that `lost.ndjson` names; and since the disk was only kept from being read, `lakegate spool
//! quarantine salvage` brings back all of them.
//!
//! A few rounds in `cargo test`. The long run:
//!
//! ```text
//! LAKEGATE_STORM_ROUNDS=1000 cargo test --test it faults::storm -- --nocapture
//! ```
//!
//! `LAKEGATE_STORM_SEED` repeats the choices of a run; what the machine makes of them differs. `LAKEGATE_STORM_KEEP=1` keeps the
//! data.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    events, eventually,
    faults::{Call, Errno, Fault, Faults, days, leave_files, restore_files},
    gateway::{Gateway, Setup},
    readback::{LakeRows, dead_letters},
    say, seed,
    sender::Sender,
};

/// Clients that send at the same time.
const CLIENTS: usize = 3;

/// Longest load of a round.
const LOAD_MAX: Duration = Duration::from_millis(700);

/// What goes wrong in a round beside the kill at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weather {
    Calm,
    /// Blocks of the spool cannot be read for a while.
    UnreadableForAWhile,
    /// A block of the spool cannot be read for longer than its time.
    BadBlock,
    /// Hardly any descriptors are left.
    NoDescriptors,
    /// The wall clock is a month ahead or behind.
    ClockJump,
    /// The disk is full.
    FullDisk,
    /// The files of one event type cannot be written.
    BadPartition,
    /// A segment does not sync: the gateway ends by itself.
    FailedSync,
    /// The folder of the dedup window takes nothing.
    BadDedupFolder,
}

const WEATHERS: [Weather; 9] = [
    Weather::Calm,
    Weather::UnreadableForAWhile,
    Weather::ClockJump,
    Weather::BadPartition,
    Weather::NoDescriptors,
    Weather::FullDisk,
    Weather::BadBlock,
    Weather::FailedSync,
    Weather::BadDedupFolder,
];

/// What every load meets.
const SURE_TO_BITE: [Weather; 4] = [Weather::UnreadableForAWhile, Weather::FullDisk, Weather::BadPartition, Weather::FailedSync];

impl Weather {
    /// The rules that make it. `*` in a pattern matches `/` too.
    fn rules(self, rng: &mut Rng) -> Vec<Fault> {
        let start = rng.u64(..64) * 4096;
        match self {
            Self::Calm | Self::NoDescriptors | Self::ClockJump => Vec::new(),
            Self::UnreadableForAWhile => vec![Fault::new(Call::Pread, "*/spool/*.seg", Errno::IO).times(rng.u32(1..30))],
            Self::BadBlock => vec![Fault::new(Call::Pread, "*/spool/*.seg", Errno::IO).range(start..start + 4096)],
            Self::FullDisk => vec![
                Fault::free_bytes("*", 0),
                Fault::new(Call::AnyWrite, "*/data/*", Errno::NOSPC).after(rng.u32(..20)).times(rng.u32(1..200)),
            ],
            Self::BadPartition => vec![
                Fault::new(Call::Rename, "*/event_type=menu/*", Errno::IO),
                Fault::new(Call::Link, "*/event_type=menu/*", Errno::IO),
                Fault::new(Call::Open, "*/event_type=menu/*", Errno::IO),
            ],
            Self::FailedSync => vec![Fault::new(Call::Fdatasync, "*/spool/*.seg", Errno::IO).after(rng.u32(..30))],
            Self::BadDedupFolder => vec![Fault::new(Call::AnyWrite, "*/dedup/*", Errno::NOSPC)],
        }
    }
}

/// How many events the gateway named as lost.
fn named_as_lost(data: &Path) -> usize {
    let Ok(text) = fs::read_to_string(data.join("spool/quarantine/lost.ndjson")) else { return 0 };
    let events = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name}: {line}"));
        number("end_seq_exclusive") - number("first_seq")
    };
    text.lines().map(events).sum::<u64>() as usize
}

/// Takes back what was lost.
fn salvage(data: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.args(["spool", "quarantine", "salvage", "--data-dir"]).arg(data);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it can be started");
    assert!(output.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_kills_and_faults_loses_no_acknowledged_event_without_naming_it_and_doubles_none() {
    let rounds = std::env::var("LAKEGATE_STORM_ROUNDS").map_or(18, |text| text.parse().expect("a number of rounds"));
    let mut rng = Rng::with_seed(seed("LAKEGATE_STORM_SEED"));
    let mut folder = tempfile::tempdir().expect("a folder");
    folder.disable_cleanup(std::env::var_os("LAKEGATE_STORM_KEEP").is_some());
    let data = folder.path().join("data");
    let faults = Faults::new(folder.path());
    let setup = Setup::new(&data).set("spool.segment_bytes", 2_100_000).set("spool.unreadable_block_seconds", 1);
    let setup = faults.on(setup.set("spool.free_bytes_min", 1_000_000));
    let mut senders: Vec<_> = (0..CLIENTS).map(|_| Sender::new(rng.fork(), 20).with_failing_disk()).collect();
    let mut met: BTreeMap<Weather, u64> = BTreeMap::new();
    let mut ended_by_itself = 0;
    let started = Instant::now();

    for round in 0..rounds {
        let weather = WEATHERS[round % WEATHERS.len()];
        let mut gateway = setup.clone().set("lake.flush_age_ms", rng.u32(20..200)).start().await;
        say(format_args!("storm: round {round}, {weather:?}"));
        let client = gateway.client();
        let killed = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> =
            senders.into_iter().map(|sender| tokio::spawn(sender.send_until(client.clone(), killed.clone()))).collect();
        let bad = weather.rules(&mut rng);
        tokio::time::sleep(LOAD_MAX.mul_f64(rng.f64() / 3.0)).await;
        faults.set(&bad);
        blow(weather, &faults, &gateway, &mut rng).await;
        let bites = || (0..bad.len()).map(|rule| faults.hits(rule)).sum::<u64>();
        if SURE_TO_BITE.contains(&weather) {
            // However busy the machine is, the clients go on sending.
            eventually("the fault bites", Duration::from_secs(20), async || bites() > 0).await;
        }
        *met.entry(weather).or_default() += bites();
        if rng.bool() {
            // Over before the end, or still there at it.
            faults.clear();
            faults.clock(0);
            tokio::time::sleep(LOAD_MAX.mul_f64(rng.f64() / 3.0)).await;
        }
        ended_by_itself += u32::from(!gateway.is_running());
        if gateway.is_running() {
            gateway.kill();
        }
        killed.store(true, Ordering::Relaxed);
        faults.clear();
        faults.clock(0);
        senders = Vec::new();
        for task in tasks {
            senders.push(task.await.expect("a client found an answer that cannot be"));
        }
    }

    let gateway = setup.start().await;
    for sender in &mut senders {
        sender.settle(&gateway.client()).await;
    }
    gateway.stop().await;
    let acknowledged: HashSet<Uuid> = senders.iter().flat_map(|sender| sender.acknowledged.iter().copied()).collect();
    let lake = LakeRows::read(&data.join("lake"));
    let delivered: HashSet<Uuid> = acknowledged.iter().copied().filter(|uuid| lake.rows.contains_key(uuid)).collect();
    lake.assert_exactly(&delivered, events::good);
    let (lost, named) = (acknowledged.len() - delivered.len(), named_as_lost(&data));
    assert!(lost <= named, "{lost} acknowledged events are not in the lake, and {named} are named as lost");
    salvage(&data);
    setup.start().await.stop().await;
    LakeRows::read(&data.join("lake")).assert_exactly(&acknowledged, events::good);
    let letters: HashSet<Vec<u8>> = dead_letters(&data.join("dead-letters")).into_iter().map(|letter| letter.raw).collect();
    for uuid in senders.iter().flat_map(|sender| &sender.rejected) {
        assert!(letters.contains(&events::bad(*uuid).bytes), "{uuid} was answered `rejected`");
    }
    say(format_args!(
        "storm: {rounds} rounds in {:.1} s: {} events acknowledged, {lost} lost of {named} that were named, all salvaged; \
         {ended_by_itself} ends by itself; how often each fault bit: {met:?}",
        started.elapsed().as_secs_f64(),
        acknowledged.len(),
    ));
    assert!(acknowledged.len() > rounds * 10, "the clients hardly came to word");
}

/// Lets it blow for a while.
async fn blow(weather: Weather, faults: &Faults, gateway: &Gateway, rng: &mut Rng) {
    let pause = LOAD_MAX.mul_f64(0.2 + rng.f64() / 2.0);
    match weather {
        Weather::ClockJump => {
            faults.clock(days(if rng.bool() { 30 } else { -30 }));
            tokio::time::sleep(pause).await;
        }
        Weather::NoDescriptors => {
            let before = leave_files(gateway, rng.usize(..3));
            tokio::time::sleep(pause).await;
            restore_files(gateway, before);
        }
        // Longer than a block's time.
        Weather::BadBlock => tokio::time::sleep(Duration::from_millis(1_600)).await,
        _ => tokio::time::sleep(pause).await,
    }
}
