//! A Kinesis and a Firehose of our own that misbehave on demand: PutRecords, ListShards, DescribeStreamSummary,
//! GetShardIterator and GetRecords, PutRecordBatch and DescribeDeliveryStream over plain HTTP/1.1 on a loopback port of this
//! process.
//!
//! It enforces AWS's rules (call and record sizes, keys, base64, the shard by MD5 of the key), keeps everything that it
//! stored and every call that it met, and strikes with the faults of [`Fault`], by chance from a seed or by script. It knows
//! of each stored record whether its answer reached the client, so a test can say exactly which duplicates are excused:
//!
//! ```ignore
//! let server = KinesisServer::start(seed).await;
//! let stream = server.create_stream("events", 4);
//! stream.set(Fault::ResetAfter, 0.05).set(Fault::RecordThrottled, 0.2);
//! // … a gateway with kinesis.endpoint = server.url() …
//! stream.clear_faults();
//! stream.wait_for_events(1000, Duration::from_secs(30)).await;
//! let contents = stream.contents();
//! contents.assert_exactly(&accepted);
//! contents.assert_duplicates_are_excused();
//! assert!(stream.kcl_dropped().is_empty());
//! ```

mod api;
mod contents;
mod fault;
mod firehose;
mod kpl;
mod put;
mod read;
mod serve;
mod service;
mod shards;
mod stored;

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

pub use self::{
    contents::{Contents, Copy, events_of},
    fault::{Fault, OF_CALLS},
    kpl::UserRecord,
    put::Limits,
    serve::Reservation,
    service::Service,
    shards::{Shard, ShardFault, ShardRate},
    stored::{Call, Fate, Stored},
};
use self::{fault::Faults, read::Reads, shards::Shards};

/// The account in the streams' names.
pub const ACCOUNT: &str = "000000000000";
/// The region that clients have to name.
pub const REGION: &str = "us-east-1";

/// A stream, and everything that is in it.
struct StreamState {
    service: Service,
    shards: Shards,
    faults: Faults,
    stored: Vec<Stored>,
    reads: Reads,
    /// Seconds since 1970.
    created: f64,
    retention_hours: u32,
}

/// Seconds since 1970.
fn now_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // As AWS does, in milliseconds.
    (since.expect("after 1970").as_secs_f64() * 1e3).round() / 1e3
}

/// All that the server knows.
struct State {
    streams: BTreeMap<String, StreamState>,
    calls: Vec<Call>,
    calls_in_flight: usize,
    calls_in_flight_max: usize,
    connections: u64,
    /// Of each service.
    limits: [Limits; 2],
    shards_per_page: usize,
    sequence: u64,
    seed: u64,
}

struct Shared {
    state: Mutex<State>,
    /// Counts the changes of `state`.
    changed: watch::Sender<u64>,
    /// Whether the port should be listened on.
    wanted: watch::Sender<bool>,
    /// Whether it is.
    is_open: watch::Sender<bool>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    /// Changes the state, and wakes whoever waits for something.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.send_modify(|changes| *changes += 1);
        result
    }

    /// Waits until `condition` is something; panics, saying `what` was awaited, when it is not within `limit`.
    async fn wait<T>(&self, what: &str, limit: Duration, mut condition: impl FnMut(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(value) = condition(&self.state()) {
                return value;
            }
            let in_time = timeout_at(deadline, changed.changed()).await.is_ok();
            assert!(in_time, "waited {limit:?} in vain until {what}");
        }
    }
}

/// The running server. It ends when it is dropped.
pub struct KinesisServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl KinesisServer {
    /// Starts it on a free port, without streams. `seed` decides where the faults strike.
    pub async fn start(seed: u64) -> Self {
        let state = State {
            streams: BTreeMap::new(),
            calls: Vec::new(),
            calls_in_flight: 0,
            calls_in_flight_max: 0,
            connections: 0,
            limits: Service::BOTH.map(Service::limits),
            shards_per_page: 1000,
            sequence: 0,
            seed,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            wanted: watch::Sender::new(true),
            is_open: watch::Sender::new(false),
        });
        let reservation = serve::Reservation::new();
        let address = reservation.address();
        let task = tokio::spawn(serve::listen(shared.clone(), reservation));
        let server = Self { shared, address, task };
        server.until_open(true).await;
        server
    }

    /// What a client takes for the endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a stream whose shards have equal ranges.
    pub fn create_stream(&self, name: &str, shards: usize) -> Stream {
        self.create(Service::Kinesis, name, shards)
    }

    /// Creates a stream of a service. A delivery stream has no shards: it is one lane, whatever `shards` says.
    pub fn create(&self, service: Service, name: &str, shards: usize) -> Stream {
        let shards = if service == Service::Firehose { 1 } else { shards };
        self.shared.change(|state| {
            let seed = state.seed.wrapping_add(state.streams.len() as u64);
            let stream = StreamState {
                service,
                shards: Shards::equal(shards),
                faults: Faults::new(seed),
                stored: Vec::new(),
                reads: Reads::default(),
                created: now_seconds(),
                retention_hours: 24,
            };
            assert!(state.streams.insert(name.to_owned(), stream).is_none(), "{name} is there already");
        });
        Stream { shared: self.shared.clone(), name: name.to_owned() }
    }

    /// Deletes a stream and what is in it.
    pub fn delete_stream(&self, name: &str) {
        self.shared.change(|state| assert!(state.streams.remove(name).is_some(), "{name} is not there"));
    }

    /// The limits that it enforces from now on, for streams of any service.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.change(|state| state.limits = [limits; 2]);
    }

    /// How many shards one ListShards answers at most.
    pub fn set_shards_per_page(&self, shards: usize) {
        self.shared.change(|state| state.shards_per_page = shards);
    }

    /// Every call so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// The most calls that were being handled at one time.
    pub fn calls_in_flight_max(&self) -> usize {
        self.shared.state().calls_in_flight_max
    }

    /// How many connections were opened.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// Waits until at least `count` calls came.
    pub async fn wait_for_calls(&self, count: usize, limit: Duration) {
        self.shared.wait(&format!("{count} calls came"), limit, |state| (state.calls.len() >= count).then_some(())).await;
    }

    /// Closes the port and cuts every connection: connecting is refused until [`Self::end_outage`].
    pub async fn begin_outage(&self) {
        self.shared.wanted.send_replace(false);
        self.until_open(false).await;
    }

    /// Listens again, on the same port.
    pub async fn end_outage(&self) {
        self.shared.wanted.send_replace(true);
        self.until_open(true).await;
    }

    async fn until_open(&self, open: bool) {
        let mut is_open = self.shared.is_open.subscribe();
        let _ = is_open.wait_for(|now| *now == open).await.expect("the server's task lives");
    }
}

impl Drop for KinesisServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A stream: its faults, its shards, and what is in it.
#[derive(Clone)]
pub struct Stream {
    shared: Arc<Shared>,
    name: String,
}

impl Stream {
    fn with<T>(&self, look: impl FnOnce(&mut StreamState) -> T) -> T {
        self.shared.change(|state| look(state.streams.get_mut(&self.name).expect("it was not deleted")))
    }

    /// From now on `fault` strikes with this probability; zero ends it. See [`Fault`] for what is drawn how often.
    pub fn set(&self, fault: Fault, probability: f64) -> &Self {
        self.with(|stream| stream.faults.set(fault, probability));
        self
    }

    /// Ends all faults of chance and of the script, not those of single shards.
    pub fn clear_faults(&self) {
        self.with(|stream| stream.faults.clear());
    }

    /// What happens to the next PutRecords calls, one after the other, before chance decides again; `None` is no fault.
    pub fn script(&self, calls: impl IntoIterator<Item = Option<Fault>>) {
        self.with(|stream| stream.faults.script.extend(calls));
    }

    /// How long [`Fault::Slow`] takes.
    pub fn set_slow(&self, delay: Duration) -> &Self {
        self.with(|stream| stream.faults.slow = delay);
        self
    }

    /// How often `fault` struck so far, in calls or, where it is one of records, in records.
    pub fn struck(&self, fault: Fault) -> u64 {
        self.with(|stream| stream.faults.struck(fault))
    }

    /// One shard answers every record with an error from now on; `None` heals it.
    pub fn set_shard_fault(&self, shard: usize, fault: Option<ShardFault>) {
        self.with(|stream| stream.shards.set_fault(shard, fault));
    }

    /// Each shard takes only so much from now on ([`ShardRate::AWS`] is the real one); `None`, as at first: anything.
    pub fn set_shard_rate(&self, rate: Option<ShardRate>) {
        self.with(|stream| stream.shards.set_rate(rate));
    }

    /// Closes a shard and opens two with the halves of its range, whose indices are returned.
    pub fn split_shard(&self, shard: usize) -> [usize; 2] {
        let at = self.next_sequence();
        self.with(|stream| stream.shards.split(shard, at))
    }

    /// Closes two adjacent shards and opens one with both ranges, whose index is returned.
    pub fn merge_shards(&self, shard: usize, adjacent: usize) -> usize {
        let at = self.next_sequence();
        self.with(|stream| stream.shards.merge(shard, adjacent, at))
    }

    fn next_sequence(&self) -> u64 {
        self.shared.change(|state| {
            state.sequence += 1;
            state.sequence
        })
    }

    /// All shards, open and closed.
    pub fn shards(&self) -> Vec<Shard> {
        self.with(|stream| stream.shards.all().to_vec())
    }

    /// As if the stream were so much older.
    pub fn set_age(&self, age: Duration) {
        self.with(|stream| stream.created -= age.as_secs_f64());
    }

    /// For how long it says that it keeps a record.
    pub fn set_retention_hours(&self, hours: u32) {
        self.with(|stream| stream.retention_hours = hours);
    }

    /// A record that no call brought, from somebody else.
    pub fn put_unseen(&self, data: &str) {
        let sequence = self.next_sequence();
        self.with(|stream| {
            let mut record = stream.stored.last().expect("there is one before it").clone();
            (record.sequence, record.data, record.arrived) = (sequence, data.to_owned().into(), now_seconds());
            stream.stored.push(record);
        });
    }

    /// Loses a record, by its index in [`Self::stored`].
    pub fn lose(&self, record: usize) -> Stored {
        self.with(|stream| stream.stored.remove(record))
    }

    /// Every record that was stored, in the order of sequence numbers.
    pub fn stored(&self) -> Vec<Stored> {
        let state = self.shared.state();
        let with_fate = |stored: &Stored| Stored { fate: state.calls[stored.call].fate, ..stored.clone() };
        state.streams[&self.name].stored.iter().map(with_fate).collect()
    }

    /// The events in the stream.
    pub fn contents(&self) -> Contents {
        Contents::read(&self.stored())
    }

    /// How many records each shard holds, by its index.
    pub fn records_per_shard(&self) -> Vec<usize> {
        self.with(|stream| {
            let mut counts = vec![0; stream.shards.all().len()];
            stream.stored.iter().for_each(|stored| counts[stored.shard] += 1);
            counts
        })
    }

    /// The events that a consumer with KCL never sees: it drops an aggregate whole, silently, when the hash of any record
    /// in it lies outside the range of the shard from which it was read.
    pub fn kcl_dropped(&self) -> Vec<Uuid> {
        contents::kcl_dropped(&self.stored(), &self.shards())
    }

    /// Waits until the stream holds `count` events with different `event_uuid`.
    pub async fn wait_for_events(&self, count: usize, limit: Duration) {
        let (mut seen, mut read) = (HashSet::new(), 0);
        let what = format!("{} holds {count} events", self.name);
        self.wait_until(&what, limit, |stored| {
            for stored in &stored[read..] {
                seen.extend(events_of(&stored.data).into_iter().filter_map(|(_, event)| event.ok()));
            }
            read = stored.len();
            seen.len() >= count
        })
        .await;
    }

    /// Waits until `condition` holds of what is stored.
    pub async fn wait_until(&self, what: &str, limit: Duration, mut condition: impl FnMut(&[Stored]) -> bool) {
        let hold = |state: &State| condition(&state.streams[&self.name].stored).then_some(());
        self.shared.wait(what, limit, hold).await;
    }

    /// Waits until `fault` struck `times` in all.
    pub async fn wait_until_struck(&self, fault: Fault, times: u64, limit: Duration) {
        let what = format!("{fault:?} struck {times} times");
        let struck = |state: &State| (state.streams[&self.name].faults.struck(fault) >= times).then_some(());
        self.shared.wait(&what, limit, struck).await;
    }
}
