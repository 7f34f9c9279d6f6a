//! `SIGKILL` at random moments, again and again on the same data: every acknowledged event is in the lake exactly once.
//!
//! Twelve rounds in `cargo test`. The long run, some minutes:
//!
//! ```text
//! LAKEGATE_KILL_ROUNDS=300 cargo test --test it kill::
//! ```
//!
//! `LAKEGATE_KILL_SEED` repeats the clients' choices and the moments of a run; what the machine makes of them differs.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use uuid::Uuid;

use crate::support::{
    events,
    gateway::{Gateway, Setup},
    readback::{LakeRows, count_files, cursor, dead_letters, newest_file},
    say, seed,
    sender::Sender,
};

/// Clients that send at the same time.
const CLIENTS: usize = 4;

/// Longest load of a round.
const LOAD_MAX: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_event_is_in_the_lake_once_however_often_the_gateway_is_killed() {
    let rounds = std::env::var("LAKEGATE_KILL_ROUNDS").map_or(12, |text| text.parse().expect("a number of rounds"));
    let mut rng = Rng::with_seed(seed("LAKEGATE_KILL_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    // The smallest segments that are allowed, so that they roll and are unlinked all the time.
    let setup = Setup::new(&data).set("spool.segment_bytes", 2_100_000);
    let mut senders: Vec<_> = (0..CLIENTS).map(|_| Sender::new(rng.fork(), 30)).collect();
    let mut tally = Tally::default();
    let started = Instant::now();

    for round in 0..rounds {
        let setup = setup.clone().set("lake.flush_age_ms", rng.u32(20..200));
        let moment = Moment::of_round(round);
        let mut gateway = setup.spawn();
        if moment == Moment::Recovery {
            // The first start makes a certificate too; a later one takes about a fifth of a second in a debug build.
            tokio::time::sleep(Duration::from_micros(rng.u64(..250_000))).await;
            gateway.kill();
            tally.note(moment, &gateway, &data);
            continue;
        }
        gateway.ready().await;
        let client = gateway.client();
        let killed = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> =
            senders.into_iter().map(|sender| tokio::spawn(sender.send_until(client.clone(), killed.clone()))).collect();
        moment.wait(&data, &mut rng).await;
        gateway.kill();
        killed.store(true, Ordering::Relaxed);
        senders = Vec::new();
        for task in tasks {
            senders.push(task.await.expect("a client found an answer that cannot be"));
        }
        tally.note(moment, &gateway, &data);
    }

    let gateway = setup.start().await;
    for sender in &mut senders {
        sender.settle(&gateway.client()).await;
    }
    gateway.stop().await;
    let elapsed = started.elapsed();

    let lake = LakeRows::read(&data.join("lake"));
    let acknowledged: HashSet<Uuid> = senders.iter().flat_map(|sender| sender.acknowledged.iter().copied()).collect();
    lake.assert_exactly(&acknowledged, events::good);
    let letters = dead_letters(&data.join("dead-letters"));
    let codes: HashMap<&[u8], &str> = letters.iter().map(|letter| (letter.raw.as_slice(), letter.code())).collect();
    let mut rejected = 0;
    for uuid in senders.iter().flat_map(|sender| &sender.rejected) {
        let bad = events::bad(*uuid);
        assert_eq!(codes.get(bad.bytes.as_slice()), Some(&bad.code), "{uuid} was answered `rejected`");
        rejected += 1;
    }
    let sent: usize = senders.iter().map(|sender| sender.sent).sum();
    let unknown: usize = senders.iter().map(|sender| sender.unknown_fates).sum();
    say(format_args!(
        "kill: {rounds} rounds in {:.1} s: {} events acknowledged, {rejected} rejected, {sent} sent in all, {unknown} of unknown fate \
         at a kill; {} lake files. {tally}",
        elapsed.as_secs_f64(),
        acknowledged.len(),
        lake.files,
    ));
    assert!(acknowledged.len() > rounds * 20, "the clients hardly came to word");
    if rounds >= 12 {
        assert!(tally.delivering > 0, "no kill met a delivery: {tally}");
        assert!(unknown > 0, "no kill met a request");
    }
}

/// When a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// While what the kill before left is recovered.
    Recovery,
    /// Right after it is ready: during the first requests, and while the delivery that was cut off is repeated.
    Begin,
    /// Any time.
    Load,
    /// When a lake file is being written.
    Flush,
    /// When a segment has just been begun.
    Roll,
    /// When a segment is unlinked: just after its identities were sealed.
    Unlink,
}

impl Moment {
    fn of_round(round: usize) -> Self {
        [Self::Load, Self::Recovery, Self::Flush, Self::Begin, Self::Roll, Self::Unlink, Self::Recovery, Self::Load][round % 8]
    }

    async fn wait(self, data: &Path, rng: &mut Rng) {
        let deadline = Instant::now() + LOAD_MAX;
        let jitter = Duration::from_micros(rng.u64(..3_000));
        let (folder, suffix) = match self {
            Self::Flush => (data.join("lake/_tmp"), ".tmp"),
            _ => (data.join("spool"), ".seg"),
        };
        let mut before = count_files(&folder, suffix);
        match self {
            Self::Recovery => {}
            Self::Begin => tokio::time::sleep(Duration::from_micros(rng.u64(..40_000))).await,
            Self::Load => tokio::time::sleep(LOAD_MAX.mul_f64(rng.f64())).await,
            Self::Flush | Self::Roll | Self::Unlink => {
                // Not the first such moment of the process, or every round would meet it in the same state.
                let mut passes = rng.u8(..3);
                while Instant::now() < deadline {
                    let now = count_files(&folder, suffix);
                    let met = if self == Self::Unlink { now < before } else { now > before };
                    before = now;
                    if met && passes == 0 {
                        break;
                    }
                    passes -= u8::from(met);
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                tokio::time::sleep(jitter).await;
            }
        }
    }
}

/// What the kills met.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    in_recovery: usize,
    delivering: usize,
    unfinished_files: usize,
    torn: usize,
    rolls: usize,
    newest_segment: Option<String>,
}

impl Tally {
    fn note(&mut self, moment: Moment, gateway: &Gateway, data: &Path) {
        self.kills += 1;
        self.in_recovery += usize::from(moment == Moment::Recovery && !gateway.has_logged("\"ready\""));
        let is_delivering = matches!(cursor(&data.join("spool")), Some((delivered, Some(planned))) if planned > delivered);
        self.delivering += usize::from(is_delivering);
        self.unfinished_files += count_files(&data.join("lake/_tmp"), ".tmp");
        self.torn += usize::from(gateway.has_logged("bytes of a write that a crash interrupted were cut"));
        let newest_segment = newest_file(&data.join("spool"), ".seg");
        self.rolls += usize::from(newest_segment > self.newest_segment);
        self.newest_segment = newest_segment;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kills, in_recovery, delivering, unfinished_files, torn, rolls, .. } = self;
        write!(
            f,
            "{kills} kills: {in_recovery} before it was ready, {delivering} during a delivery, {unfinished_files} lake files cut off, \
             {torn} torn tails met; segments rolled in {rolls} rounds"
        )
    }
}
