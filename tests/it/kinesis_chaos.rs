//! Everything goes wrong at once between the gateway and its stream, of Kinesis or of Firehose, alone or beside a lake, and the
//! gateway is killed meanwhile: all that was acknowledged arrives, nothing else does, and a copy too many is there only where
//! nobody could know better.
//!
//! Some 6,000 events in `cargo test`; `make chaos` sends 100,000:
//!
//! ```text
//! LAKEGATE_CHAOS_EVENTS=100000 cargo test --test it kinesis_chaos::
//! ```
//!
//! `LAKEGATE_CHAOS_SEED` repeats the faults and the clients' choices of a run; what the machine makes of them differs.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{
    events,
    gateway::{Gateway, Setup},
    kinesis::{Call, Fate, Fault, KinesisServer, Limits, Service, ShardFault, ShardRate, Stream},
    lines::LineForm,
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
    say, seed,
    sender::Sender,
};

/// Clients that send at the same time.
const CLIENTS: usize = 3;

/// Calls that the gateway may have in flight.
const CALLS_IN_FLIGHT_MAX: usize = 4;

/// What the gateway believes that a record of the stream may hold. Some of the clients' events are larger.
const RECORD_BYTES_MAX: usize = 100_000;

/// For how long before a kill or an outage an answer may have been given that the gateway had no time to write down.
const UNWRITTEN_MAX: Duration = Duration::from_secs(1);

/// After which the gateway takes a call for unanswered.
const CALL_TIMEOUT: Duration = Duration::from_millis(800);

/// One way to use the stream.
#[derive(Clone, Copy, Debug)]
struct Variant {
    service: Service,
    aggregation: &'static str,
    /// Firehose has no keys.
    partition_key: &'static str,
    form: LineForm,
    /// Bytes that a record of the stream may really hold.
    record_bytes_max: usize,
    /// Whether a lake gets every event too.
    has_lake: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_arrives_through_every_fault_and_kill_and_doubles_are_excused_and_counted() {
    chaos(Service::Kinesis, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_for_a_delivery_stream() {
    chaos(Service::Firehose, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_for_a_lake_and_a_stream_at_once() {
    chaos(Service::Kinesis, true).await;
}

async fn chaos(service: Service, has_lake: bool) {
    let events: usize = std::env::var("LAKEGATE_CHAOS_EVENTS").map_or(6_000, |text| text.parse().expect("a number of events"));
    let seed = seed("LAKEGATE_CHAOS_SEED");
    let mut rng = Rng::with_seed(seed);
    for (turn, aggregation) in service.aggregations().iter().enumerate() {
        // The first seeds go through all combinations; any seed has its own.
        let choice = (seed as usize).wrapping_add(turn);
        let variant = Variant {
            service,
            aggregation,
            partition_key: ["event_uuid", "/section_index"][choice % 2],
            form: [LineForm::Flat, LineForm::Envelope][choice / 2 % 2],
            record_bytes_max: [RECORD_BYTES_MAX, 80_000][choice / 4 % 2],
            has_lake,
        };
        Run::begin(variant, rng.fork()).await.go(events / 3).await;
    }
}

struct Run {
    variant: Variant,
    rng: Rng,
    folder: tempfile::TempDir,
    server: KinesisServer,
    stream: Stream,
    setup: Setup,
    senders: Vec<Sender>,
    cuts: Vec<Cut>,
    /// Sums of `lakegate_maybe_duplicate_events_total` over the gateway's lives, as scraped just before their ends.
    maybe_duplicates: i64,
    kills: usize,
    reshards: usize,
}

/// A moment that the gateway could not know of: a kill, or the end of all connections.
struct Cut {
    at: Instant,
    /// From when on a call comes from the next life.
    over_at: Instant,
    /// The calls that came when the metrics had already been scraped.
    uncounted_calls: std::ops::Range<usize>,
}

impl Run {
    async fn begin(variant: Variant, mut rng: Rng) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = KinesisServer::start(rng.u64(..)).await;
        server.set_limits(Limits { record_bytes_max: variant.record_bytes_max, ..variant.service.limits() });
        let stream = server.create(variant.service, "events", 4);
        stream.set_slow(Duration::from_millis(60));
        let setup = Setup::new(folder.path())
            .with_stream_of(variant.service, &server, "events")
            .set("spool.segment_bytes", 2_100_000)
            .set("http.delivered_wait_seconds", 1)
            .set("kinesis.partition_key", variant.partition_key);
        let tuned = [
            ("aggregation", variant.aggregation.to_owned()),
            ("format", variant.form.name().to_owned()),
            ("record_bytes_max", RECORD_BYTES_MAX.to_string()),
            ("calls_in_flight_max", CALLS_IN_FLIGHT_MAX.to_string()),
            ("call_timeout_ms", CALL_TIMEOUT.as_millis().to_string()),
            // What a server in a debug build answers far within that time.
            ("call_bytes_max", "500000".to_owned()),
            // Small calls and records make many of them.
            ("call_records_max", if variant.aggregation == "none" { "40" } else { "5" }.to_owned()),
            ("aggregate_bytes_max", "6000".to_owned()),
            ("linger_ms", "20".to_owned()),
        ];
        let service = variant.service.name();
        let sinks = format!("[{{kind=\"lake\"}}, {{kind=\"{service}\"}}]");
        let setup = if variant.has_lake { setup.set("sinks", sinks).set("lake.flush_age_ms", 100) } else { setup };
        let setup = tuned.iter().fold(setup, |setup, (key, value)| setup.set(&format!("{service}.{key}"), value));
        let senders = (0..CLIENTS).map(|_| Sender::new(rng.fork(), 60)).collect();
        let (cuts, maybe_duplicates, kills, reshards) = (Vec::new(), 0, 0, 0);
        Self { variant, rng, folder, server, stream, setup, senders, cuts, maybe_duplicates, kills, reshards }
    }

    async fn go(mut self, events: usize) {
        let began = Instant::now();
        let sent = |senders: &[Sender]| senders.iter().map(|sender| sender.acknowledged.len()).sum::<usize>();
        while sent(&self.senders) < events || self.kills < 5 {
            self.live().await;
        }
        self.heal();
        let gateway = self.setup.start().await;
        for sender in &mut self.senders {
            sender.settle(&gateway.client()).await;
        }
        let drained = Scrape::when_drained(&gateway).await;
        drained.assert_ledger();
        self.maybe_duplicates += drained.value("maybe_duplicate_events");
        gateway.stop().await;
        if self.variant.service == Service::Kinesis {
            self.compare_with_ledger().await;
        }
        self.judge(began.elapsed());
    }

    /// What the ledger calls delivered is what the stream has, each event once.
    async fn compare_with_ledger(&self) {
        let check = ["ledger", "--check", "stream", "--since", "1d", "--format", "json"];
        let checked = tokio::process::Command::from(self.setup.command(&check)).output().await.expect("it starts");
        assert!(checked.status.success(), "{checked:?}");
        let found: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
        let counts =
            ["delivered", "events", "doubles", "waiting"].map(|name| found[0][name].as_u64().expect("a number") as usize);
        let contents = self.stream.contents();
        assert_eq!(counts, [contents.copies.len(), contents.copies.len(), contents.duplicates(), 0], "{found}");
    }

    /// One life of the gateway, with trouble, up to its kill.
    async fn live(&mut self) {
        self.set_faults();
        let mut gateway = self.setup.start().await;
        let client = gateway.client();
        let killed = Arc::new(AtomicBool::new(false));
        let senders = std::mem::take(&mut self.senders).into_iter();
        let tasks: Vec<_> = senders.map(|sender| tokio::spawn(sender.send_until(client.clone(), killed.clone()))).collect();
        for _ in 0..self.rng.usize(1..4) {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(50..400))).await;
            self.trouble().await;
        }
        self.kill(&mut gateway).await;
        killed.store(true, Ordering::Relaxed);
        for task in tasks {
            self.senders.push(task.await.expect("a client found an answer that cannot be"));
        }
        if let Some(cut) = self.cuts.last_mut() {
            cut.over_at = Instant::now();
            cut.uncounted_calls.end = self.server.calls().len();
        }
    }

    async fn kill(&mut self, gateway: &mut Gateway) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(..150))).await;
        let calls = self.server.calls().len();
        self.maybe_duplicates += Scrape::of(gateway).await.value("maybe_duplicate_events");
        gateway.kill();
        let now = Instant::now();
        self.cuts.push(Cut { at: now, over_at: now, uncounted_calls: calls..calls });
        self.kills += 1;
    }

    /// Another mixture in each life: any fault may be rare, frequent or absent.
    fn set_faults(&mut self) {
        self.heal();
        let frequent = [
            (Fault::RecordThrottled, 0.3),
            (Fault::RecordFailed, 0.1),
            (Fault::Slow, 0.3),
            (Fault::ListShardsFailed, 0.3),
            (Fault::ListShardsLimited, 0.3),
            (Fault::StallBefore, 0.02),
            (Fault::StallAfter, 0.02),
        ];
        let of_calls = [
            Fault::CallFailed,
            Fault::CallUnavailable,
            Fault::CallThrottled,
            Fault::CallLimited,
            Fault::KmsThrottled,
            Fault::ResetBefore,
            Fault::ResetAfter,
            Fault::CutAfter,
            Fault::GarbageBefore,
            Fault::GarbageAfter,
            Fault::TooFewBefore,
            Fault::TooFewAfter,
            Fault::TooManyBefore,
            Fault::TooManyAfter,
        ];
        for (fault, most) in frequent.into_iter().chain(of_calls.map(|fault| (fault, 0.06))) {
            let probability = if self.rng.u8(..3) == 0 { self.rng.f64() * most } else { 0.0 };
            self.stream.set(fault, probability);
        }
        if self.rng.u8(..4) == 0 {
            self.stream.set_shard_rate(Some(ShardRate::AWS.times(0.3)));
        }
    }

    fn heal(&self) {
        self.stream.clear_faults();
        self.stream.set_shard_rate(None);
        for shard in 0..self.stream.shards().len() {
            self.stream.set_shard_fault(shard, None);
        }
    }

    /// Something that lasts for a while, or changes the stream.
    async fn trouble(&mut self) {
        let a_while = Duration::from_millis(self.rng.u64(50..400));
        let open: Vec<usize> = (0..).zip(self.stream.shards()).filter(|(_, shard)| shard.is_open()).map(|(i, _)| i).collect();
        let shard = open[self.rng.usize(..open.len())];
        match self.rng.u8(..10) {
            0 | 1 => {
                let at = Instant::now();
                self.server.begin_outage().await;
                tokio::time::sleep(a_while).await;
                let calls = self.server.calls().len();
                // All calls of the gateway's life are counted in time: it lives on.
                self.cuts.push(Cut { at, over_at: Instant::now(), uncounted_calls: calls..calls });
                self.server.end_outage().await;
            }
            2 | 3 => {
                let fault = [Fault::NotFound, Fault::TokenExpired, Fault::AccessDenied, Fault::KmsDenied][self.rng.usize(..4)];
                self.stream.set(fault, 1.0);
                tokio::time::sleep(a_while).await;
                self.stream.set(fault, 0.0);
            }
            4 | 5 => {
                let fault = if self.rng.bool() { ShardFault::Throttled } else { ShardFault::Failing };
                self.stream.set_shard_fault(shard, Some(fault));
                tokio::time::sleep(a_while).await;
                self.stream.set_shard_fault(shard, None);
            }
            // A delivery stream stays one lane.
            6.. if self.variant.service == Service::Firehose => {}
            6 | 7 => {
                self.stream.split_shard(shard);
                self.reshards += 1;
            }
            _ => {
                let shards = self.stream.shards();
                let follows =
                    |index: &&usize| shards[shard].end_inclusive.checked_add(1) == Some(shards[**index].start_inclusive);
                if let Some(adjacent) = open.iter().find(follows) {
                    self.stream.merge_shards(shard, *adjacent);
                    self.reshards += 1;
                }
            }
        }
    }

    fn judge(self, took: Duration) {
        let Self { variant, stream, senders, .. } = &self;
        let acknowledged: HashSet<Uuid> = senders.iter().flat_map(|sender| sender.acknowledged.iter().copied()).collect();
        let contents = stream.contents();
        let letters = self.letters(&acknowledged);
        let delivered: HashSet<Uuid> = acknowledged.difference(&letters).copied().collect();
        contents.assert_exactly(&delivered);
        for (uuid, copies) in &contents.copies {
            let payload = events::good(*uuid);
            copies.iter().for_each(|copy| variant.form.assert_holds(&copy.line, &payload));
        }
        assert!(stream.kcl_dropped().is_empty(), "KCL reads every event");
        if variant.has_lake {
            LakeRows::read(&self.folder.path().join("lake")).assert_exactly(&acknowledged, events::good);
        }
        let excused = self.assert_duplicates_are_excused();
        let stored = stream.stored();
        let is_uncounted = |call: usize| self.cuts.iter().any(|cut| cut.uncounted_calls.contains(&call));
        let copies = contents.copies.values().flatten();
        let uncounted = copies.filter(|copy| is_uncounted(stored[copy.stored].call)).count();
        let counted = usize::try_from(self.maybe_duplicates).expect("a counter");
        let duplicates = contents.duplicates();
        assert!(duplicates <= counted + uncounted, "{duplicates} duplicates, {counted} counted, {uncounted} could not be");
        say(format_args!(
            "chaos: {variant:?} in {:.1} s: {} events acknowledged, {} of them dead letters; {} calls, {duplicates} duplicates of {counted} \
             that may be ({excused} by a kill or an outage), {} kills, {} reshards",
            took.as_secs_f64(),
            acknowledged.len(),
            letters.len(),
            self.server.calls().len(),
            self.kills,
            self.reshards,
        ));
    }

    /// The acknowledged events among the dead letters: they are too large. The wrong events are there too.
    fn letters(&self, acknowledged: &HashSet<Uuid>) -> HashSet<Uuid> {
        let letters = dead_letters(&self.folder.path().join("dead-letters"));
        let rejected: HashSet<&[u8]> =
            letters.iter().filter(|letter| letter.code() != "refused_by_sink").map(|letter| &*letter.raw).collect();
        for uuid in self.senders.iter().flat_map(|sender| &sender.rejected) {
            assert!(rejected.contains(&*events::bad(*uuid).bytes), "{uuid} was answered `rejected` and is no dead letter");
        }
        let refused = letters.iter().filter(|letter| letter.code() == "refused_by_sink");
        let uuids: HashSet<Uuid> = refused
            .map(|letter| {
                let uuid: Uuid = letter.line["event_uuid"].as_str().and_then(|text| text.parse().ok()).expect("its identity");
                assert!(letter.raw == events::good(uuid), "{uuid} is whole among the dead letters");
                // In the envelope form the event is a string, which escapes the tabs that make it so large.
                let bytes = match self.variant.form {
                    LineForm::Flat => letter.raw.len(),
                    LineForm::Envelope => serde_json::to_string(&String::from_utf8_lossy(&letter.raw)).expect("text").len(),
                };
                assert!(
                    bytes + 1_000 > self.variant.record_bytes_max,
                    "{uuid} has {bytes} bytes and would fit: {}",
                    letter.line["detail"]
                );
                uuid
            })
            .collect();
        assert!(uuids.is_subset(acknowledged));
        uuids
    }

    /// Every copy but an event's last was either brought by a call whose answer was lost, or by one in flight when the
    /// gateway was killed or the connections were cut. How many of the second kind there are.
    fn assert_duplicates_are_excused(&self) -> usize {
        let (stored, calls): (Vec<usize>, Vec<Call>) =
            (self.stream.stored().iter().map(|s| s.call).collect(), self.server.calls());
        let contents = self.stream.contents();
        let mut in_flight: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut excused = 0;
        for (uuid, copies) in &contents.copies {
            for copy in copies[..copies.len() - 1].iter().filter(|copy| copy.fate != Fate::Lost) {
                let number = stored[copy.stored];
                let call = &calls[number];
                // On a machine that stood still the answer came when nobody listened any more.
                if call.settled_at.is_some_and(|at| at - call.at > CALL_TIMEOUT / 2) {
                    continue;
                }
                let cut = self.cuts.iter().position(|cut| cut.at - UNWRITTEN_MAX <= call.at && call.at <= cut.over_at);
                let cut = cut.unwrap_or_else(|| panic!("{uuid} was sent again without need: {copies:#?} after {call:#?}"));
                in_flight.entry(cut).or_default().insert(number);
                excused += 1;
            }
        }
        for (cut, calls) in in_flight {
            assert!(calls.len() <= CALLS_IN_FLIGHT_MAX, "{} answered calls were repeated after cut {cut}", calls.len());
        }
        excused
    }
}
