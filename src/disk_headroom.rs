//! How much space the disk and the quota have left, and for how long: for `/readyz` and the gauges of `/metrics`.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    clock::JumpDetector,
    conditions::{Condition, Conditions},
    dedup::Window,
    deliver::{SinkQuota, SinkState},
    event::unix_millis,
    fault::{FaultKind, Operation, fault_kind},
    key_shares::{Resource, ShareChange, Shares},
    limits::CLOCK_JUMP_MIN,
    progress::{Progress, SinkProgress},
    spool::{SinkCursor, Spool, SpoolStats},
    telemetry::{DeliveryMetrics, Metrics, SourceLabel},
};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Weight of the newest second in the average rate.
const RATE_WEIGHT: f64 = 0.1;

/// The parts that the headroom is computed from.
pub struct DiskHeadroomParts {
    /// The spool.
    pub spool: Arc<Spool>,
    /// The spool and progress of the dead letters, if they have their own stream.
    pub dead_letters: Option<(Arc<Spool>, Arc<Progress>)>,
    /// The dedup window.
    pub window: Window,
    /// How far the spool is delivered.
    pub progress: Arc<Progress>,
    /// The shares of the keys in the spool and in the window.
    pub shares: Arc<Shares>,
    /// The sinks, in the order of the configuration.
    pub sinks: Vec<WatchedSink>,
    /// The metrics whose gauges are set.
    pub metrics: Arc<Metrics>,
    /// Maximum bytes of the spool.
    pub quota_bytes: u64,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The folder of the spool, which may be on its own file system.
    pub dir: PathBuf,
    /// Bytes that must stay free on that file system.
    pub free_bytes_min: u64,
    /// The conditions, raised for a clock jump and for a used-up share.
    pub conditions: Conditions,
}

/// A sink, and what its lag is computed from.
pub struct WatchedSink {
    /// Its position.
    pub cursor: SinkCursor,
    /// What it has settled.
    pub progress: Arc<SinkProgress>,
    /// Its state.
    pub state: watch::Receiver<SinkState>,
    /// Its part of the quota.
    pub quota: SinkQuota,
    /// The metrics whose gauges are set.
    pub metrics: DeliveryMetrics,
}

/// How far a sink is behind.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkLag {
    /// Its state.
    pub state: SinkState,
    /// Events in the spool that it has not.
    pub events: u64,
    /// Their bytes, estimated from the average event on disk.
    pub bytes: u64,
    /// Seconds since the oldest of them was received.
    pub seconds: f64,
    /// Bytes of the spool that are kept for it.
    pub kept_bytes: u64,
    /// Its part of the quota.
    pub quota: SinkQuota,
}

impl SinkLag {
    /// Whether new events are refused because of this sink.
    #[must_use]
    pub fn is_blocking(&self) -> bool {
        !self.quota.drops_oldest && self.kept_bytes >= self.quota.bytes
    }
}

/// Measures the space that is left on the disk and below the quota.
pub struct DiskHeadroom {
    parts: DiskHeadroomParts,
    rate: Mutex<Rate>,
    /// Device and inode of the data folder at the start.
    data: Option<(u64, u64)>,
    is_data_missing: AtomicBool,
    jumps: Mutex<JumpDetector>,
}

/// Received bytes per second, as a moving average.
struct Rate {
    bytes_per_second: f64,
    sampled_at: Instant,
    end_seq: u64,
}

/// The space that is left now.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadroomNow {
    /// Events in the spool that are not delivered.
    pub lag_events: u64,
    /// The bytes of these events, estimated from the average event on disk.
    pub lag_bytes: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// The quota of the spool.
    pub quota_bytes: u64,
    /// Bytes up to the quota.
    pub quota_left_bytes: u64,
    /// Bytes up to the required free space; [`HeadroomNow::quota_left_bytes`] if the file system does not report it.
    pub disk_left_bytes: u64,
    /// Inodes left on the file system; `None` if the file system does not count them.
    pub inodes_left: Option<u64>,
    /// Why the data folder is not the one from the start; `None` if it is.
    pub data_missing: Option<String>,
    /// Seconds until the quota or the disk is used up at the current rate without deliveries; `None` if nothing is received.
    pub headroom_seconds: Option<f64>,
    /// Seconds since the oldest undelivered event was received.
    pub oldest_seconds: f64,
    /// How far each sink is behind.
    pub sinks: Vec<SinkLag>,
}

impl DiskHeadroom {
    /// Creates the headroom before any event is received.
    #[must_use]
    pub fn new(parts: DiskHeadroomParts) -> Self {
        let rate = Rate { bytes_per_second: 0.0, sampled_at: Instant::now(), end_seq: parts.spool.durable_end() };
        let data = identity(&parts.data_dir).ok();
        let (wall_millis, now) = (unix_millis(SystemTime::now()), Instant::now());
        let late_millis = parts.window.clock().millis_at(now).saturating_sub(wall_millis);
        if Duration::from_millis(u64::try_from(late_millis).unwrap_or(0)) >= CLOCK_JUMP_MIN {
            let days = late_millis / MILLIS_PER_DAY;
            let detail = format!("the wall clock is {days} days behind what was stored before this start; nothing expires by it");
            parts.conditions.raise(Condition::ClockJumped, "start", detail);
        }
        let jumps = Mutex::new(JumpDetector::new(wall_millis, now));
        Self { parts, rate: Mutex::new(rate), data, is_data_missing: AtomicBool::new(false), jumps }
    }

    /// Samples the rate, and checks the clocks and the shares, every second. Runs until dropped.
    pub async fn watch(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            self.sample();
            self.look_at_clocks(unix_millis(SystemTime::now()), Instant::now());
            self.look_at_shares(Instant::now());
        }
    }

    fn look_at_shares(&self, now: Instant) {
        let DiskHeadroomParts { shares, progress, window, conditions, .. } = &self.parts;
        let stats = window.stats();
        let identities = stats.identities_hot + stats.identities_sealed;
        for ShareChange { name, resource, used_up } in
            shares.look(progress.settled_exclusive(), window.clock().millis_at(now), identities)
        {
            let detail = used_up.map(|(used, limit)| match resource {
                Resource::Spool => {
                    format!("its undelivered events have {used} bytes of the {limit} in the spool that it may have")
                }
                Resource::Dedup => {
                    format!("the dedup window is nearly full and has {used} identities of it; {limit} are its share")
                }
            });
            conditions.set(Condition::KeyShareFull, &format!("{name} {}", resource.as_str()), detail);
        }
    }

    fn look_at_clocks(&self, wall_millis: i64, now: Instant) {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        let conditions = &self.parts.conditions;
        if let Some(jump) = jumps.look(wall_millis, now) {
            self.parts.metrics.clock_jumps.inc();
            tracing::warn!(seconds = jump as f64 / 1e3, "the wall clock jumped; nothing expires by it");
            let detail = format!("the wall clock jumped by {} s; nothing expires by it", jump / 1000);
            conditions.raise(Condition::ClockJumped, "", detail);
        } else if jumps.is_steady(now) {
            conditions.clear(Condition::ClockJumped, "");
        }
        // The wall clock was set correctly in the meantime.
        if self.parts.window.clock().millis_at(now) < wall_millis.saturating_add(CLOCK_JUMP_MIN.as_millis() as i64) {
            conditions.clear(Condition::ClockJumped, "start");
        }
    }

    fn sample(&self) {
        let stats = self.parts.spool.stats();
        let average = stats.bytes as f64 / (stats.end_seq_exclusive - stats.first_seq).max(1) as f64;
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = rate.sampled_at.elapsed().as_secs_f64().max(1e-3);
        let latest = (stats.end_seq_exclusive - rate.end_seq) as f64 * average / seconds;
        rate.bytes_per_second += (latest - rate.bytes_per_second) * RATE_WEIGHT;
        rate.sampled_at = Instant::now();
        rate.end_seq = stats.end_seq_exclusive;
    }

    /// Whether the data folder was missing or replaced at the last check, at most a second ago.
    #[must_use]
    pub fn is_data_missing(&self) -> bool {
        self.is_data_missing.load(Ordering::Relaxed)
    }

    /// Why the data folder is not the one from the start; `None` if it is. Open files would still be written, but in a folder
    /// that the next start does not find.
    fn data_missing(&self) -> Option<String> {
        let folder = self.parts.data_dir.display();
        match identity(&self.parts.data_dir) {
            Err(error) => Some(format!("{folder}: {error}")),
            Ok(found) if self.data.is_some_and(|data| data != found) => {
                Some(format!("{folder}: another folder is in the place of the one that the gateway was started on"))
            }
            Ok(_) => None,
        }
    }

    /// The statistics of the spool's file system. An error does not mean a full disk.
    fn file_system(&self) -> io::Result<rustix::fs::StatVfs> {
        match rustix::fs::statvfs(&self.parts.dir) {
            // The spool itself reports that its folder is gone.
            Err(error) if error == rustix::io::Errno::NOENT => Ok(rustix::fs::statvfs(&self.parts.data_dir)?),
            said => Ok(said?),
        }
    }

    /// The space that is left now. Refuses appends while the events that wait for a sink fill its part of the quota: somebody asks
    /// at least every second.
    #[must_use]
    pub fn current(&self) -> HeadroomNow {
        let stats = self.parts.spool.stats();
        let lag_events = self.parts.progress.unsettled(stats.end_seq_exclusive);
        let quota_left_bytes = self.parts.quota_bytes.saturating_sub(stats.bytes);
        let file_system = self.file_system();
        let left = |fs: &rustix::fs::StatVfs| (fs.f_bavail * fs.f_frsize).saturating_sub(self.parts.free_bytes_min);
        let disk_left_bytes = file_system.as_ref().map_or(quota_left_bytes, left);
        let data_missing = self.data_missing().or_else(|| {
            // An interrupted call says nothing about the disk.
            let error = file_system.as_ref().err().filter(|error| fault_kind(error, Operation::Read) != FaultKind::Transient)?;
            Some(format!("{}: its file system does not answer: {error}", self.parts.dir.display()))
        });
        self.is_data_missing.store(data_missing.is_some(), Ordering::Relaxed);
        let bytes_per_second = self.rate.lock().unwrap_or_else(PoisonError::into_inner).bytes_per_second;
        let sinks: Vec<SinkLag> = self.parts.sinks.iter().map(|sink| self.lag_of(sink, &stats)).collect();
        self.parts.spool.set_sink_full(sinks.iter().any(SinkLag::is_blocking));
        HeadroomNow {
            lag_events,
            lag_bytes: sinks.iter().map(|sink| sink.bytes).max().unwrap_or(0),
            spool_bytes: stats.bytes,
            quota_bytes: self.parts.quota_bytes,
            quota_left_bytes,
            disk_left_bytes,
            inodes_left: file_system.ok().filter(|fs| fs.f_files > 0).map(|fs| fs.f_favail),
            data_missing,
            headroom_seconds: (bytes_per_second >= 1.0).then(|| quota_left_bytes.min(disk_left_bytes) as f64 / bytes_per_second),
            oldest_seconds: sinks.iter().map(|sink| sink.seconds).fold(0.0, f64::max),
            sinks,
        }
    }

    fn lag_of(&self, sink: &WatchedSink, stats: &SpoolStats) -> SinkLag {
        let events = sink.progress.unsettled(stats.end_seq_exclusive);
        let state = sink.state.borrow().clone();
        let oldest = state.oldest_received_millis.filter(|_| events > 0);
        let spooled = (stats.end_seq_exclusive - stats.first_seq).max(1);
        SinkLag {
            state,
            events,
            bytes: (u128::from(events) * u128::from(stats.bytes) / u128::from(spooled)) as u64,
            seconds: oldest.map_or(0.0, |oldest| ((unix_millis(SystemTime::now()) - oldest) as f64 / 1e3).max(0.0)),
            kept_bytes: SinkQuota::used(&self.parts.spool, &sink.cursor),
            quota: sink.quota,
        }
    }

    /// Updates the gauges, for a scrape.
    pub fn refresh_gauges(&self) {
        let now = self.current();
        let m = &self.parts.metrics;
        m.spool_events.set(now.lag_events as i64);
        for (sink, lag) in self.parts.sinks.iter().zip(&now.sinks) {
            sink.metrics.lag_events.set(lag.events as i64);
            sink.metrics.lag_bytes.set(lag.kept_bytes as i64);
            sink.metrics.lag_seconds.set(lag.seconds);
        }
        if let Some((spool, progress)) = &self.parts.dead_letters {
            let stats = spool.stats();
            m.dead_letters_spool_events.set(progress.unsettled(stats.end_seq_exclusive) as i64);
            m.dead_letters_spool_bytes.set(stats.bytes as i64);
        }
        let dead_letter_spool = self.parts.dead_letters.iter().map(|(spool, _)| spool);
        let quarantined = dead_letter_spool.chain([&self.parts.spool]).map(|spool| spool.quarantined());
        let (files, bytes) = quarantined.fold((0, 0), |sum, one| (sum.0 + one.files, sum.1 + one.bytes));
        m.quarantine_files.set(files as i64);
        m.quarantine_bytes.set(bytes as i64);
        m.spool_lag_bytes.set(now.lag_bytes as i64);
        m.spool_headroom_seconds.set(now.headroom_seconds.unwrap_or(f64::INFINITY));
        m.spool_bytes.set(now.spool_bytes as i64);
        m.spool_quota_bytes.set(now.quota_bytes as i64);
        m.spool_disk_left_bytes.set(now.disk_left_bytes as i64);
        m.spool_segments.set(self.parts.spool.stats().segments as i64);
        m.spool_syncs.set(self.parts.spool.stats().syncs as i64);
        m.spool_oldest_seconds.set(now.oldest_seconds);
        for held in self.parts.shares.holdings() {
            let label = SourceLabel { source: held.name };
            m.key_spool_bytes.get_or_create(&label).set(held.spool_bytes as i64);
            m.key_dedup_identities.get_or_create(&label).set(held.identities as i64);
        }
        let dedup = self.parts.window.stats();
        m.dedup_identities.set((dedup.identities_hot + dedup.identities_sealed) as i64);
        m.dedup_disk_bytes.set(dedup.disk_bytes as i64);
        m.dedup_memory_bytes.set((dedup.filter_bytes + dedup.index_bytes) as i64);
        m.dedup_window_seconds.set(dedup.effective_window_seconds as f64);
        m.dedup_disk_reads.set(dedup.lookups_read_disk as i64);
        m.dedup_damaged_pages.set(dedup.damaged_pages as i64);
        m.dedup_damaged_identities.set(dedup.identities_damaged as i64);
        m.dedup_set_aside_runs.set(dedup.runs_set_aside as i64);
        m.dedup_forgotten_identities.set(dedup.identities_forgotten_early as i64);
        m.dedup_refused_batches.set(dedup.batches_refused as i64);
    }
}

fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}
