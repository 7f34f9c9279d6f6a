//! How much room is left, and for how long: what `/readyz` and the gauges of `/metrics` say about the disk.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{dedup::Window, deliver::SinkState, event::unix_millis, progress::Progress, spool::Spool, telemetry::Metrics};

/// Weight of the newest second in the average rate.
const RATE_WEIGHT: f64 = 0.1;

/// What is looked at.
pub struct RoomParts {
    /// The spool.
    pub spool: Arc<Spool>,
    /// That of the dead letters, where they have a stream of their own, and how far it is delivered.
    pub dead_letters: Option<(Arc<Spool>, Arc<Progress>)>,
    /// The dedup window.
    pub window: Window,
    /// How far the spool is delivered.
    pub progress: Arc<Progress>,
    /// How the sink does.
    pub sink: watch::Receiver<SinkState>,
    /// Whose gauges are set.
    pub metrics: Arc<Metrics>,
    /// Bytes that the spool may have.
    pub quota_bytes: u64,
    /// A folder on the spool's file system.
    pub dir: PathBuf,
    /// Bytes that must stay free there.
    pub free_bytes_min: u64,
}

/// See the module.
pub struct Room {
    parts: RoomParts,
    rate: Mutex<Rate>,
}

/// Bytes per second that come in, as a moving average.
struct Rate {
    bytes_per_second: f64,
    sampled_at: Instant,
    end_seq: u64,
}

/// What there is now.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomNow {
    /// Events in the spool that are not delivered.
    pub lag_events: u64,
    /// Their bytes, by the average of what is on disk.
    pub lag_bytes: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// Bytes it may have.
    pub quota_bytes: u64,
    /// Bytes up to the quota.
    pub quota_left_bytes: u64,
    /// Bytes up to what must stay free on the file system.
    pub disk_left_bytes: u64,
    /// Seconds until either is used up at the current rate if nothing is delivered meanwhile; `None` where nothing comes in.
    pub headroom_seconds: Option<f64>,
    /// Seconds since the oldest undelivered event was received.
    pub oldest_seconds: f64,
    /// Whether the disk failed in a way that only a restart mends.
    pub spool_failed: bool,
}

impl Room {
    /// Nothing has come in yet.
    #[must_use]
    pub fn new(parts: RoomParts) -> Self {
        let rate = Rate { bytes_per_second: 0.0, sampled_at: Instant::now(), end_seq: parts.spool.durable_end() };
        Self { parts, rate: Mutex::new(rate) }
    }

    /// Samples the rate every second; runs until it is dropped.
    pub async fn watch(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            self.sample();
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

    /// What there is now.
    #[must_use]
    pub fn current(&self) -> RoomNow {
        let stats = self.parts.spool.stats();
        let lag_events = self.parts.progress.undelivered(stats.end_seq_exclusive);
        let quota_left_bytes = self.parts.quota_bytes.saturating_sub(stats.bytes);
        let free_bytes = rustix::fs::statvfs(&self.parts.dir).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
        let disk_left_bytes = free_bytes.saturating_sub(self.parts.free_bytes_min);
        let bytes_per_second = self.rate.lock().unwrap_or_else(PoisonError::into_inner).bytes_per_second;
        let oldest = self.parts.sink.borrow().oldest_received_millis.filter(|_| lag_events > 0);
        let events = (stats.end_seq_exclusive - stats.first_seq).max(1);
        RoomNow {
            lag_events,
            lag_bytes: (u128::from(lag_events) * u128::from(stats.bytes) / u128::from(events)) as u64,
            spool_bytes: stats.bytes,
            quota_bytes: self.parts.quota_bytes,
            quota_left_bytes,
            disk_left_bytes,
            headroom_seconds: (bytes_per_second >= 1.0).then(|| quota_left_bytes.min(disk_left_bytes) as f64 / bytes_per_second),
            oldest_seconds: oldest.map_or(0.0, |oldest| ((unix_millis(SystemTime::now()) - oldest) as f64 / 1e3).max(0.0)),
            spool_failed: *self.parts.spool.watch_failed().borrow(),
        }
    }

    /// Brings the gauges up to now, for a scrape.
    pub fn refresh_gauges(&self) {
        let now = self.current();
        let m = &self.parts.metrics;
        m.spool_events.set(now.lag_events as i64);
        if let Some((spool, progress)) = &self.parts.dead_letters {
            let stats = spool.stats();
            m.dead_letter_spool_events.set(progress.undelivered(stats.end_seq_exclusive) as i64);
            m.dead_letter_spool_bytes.set(stats.bytes as i64);
        }
        m.spool_lag_bytes.set(now.lag_bytes as i64);
        m.spool_headroom_seconds.set(now.headroom_seconds.unwrap_or(f64::INFINITY));
        m.spool_bytes.set(now.spool_bytes as i64);
        m.spool_quota_bytes.set(now.quota_bytes as i64);
        m.spool_disk_left_bytes.set(now.disk_left_bytes as i64);
        m.spool_segments.set(self.parts.spool.stats().segments as i64);
        m.spool_syncs.set(self.parts.spool.stats().syncs as i64);
        m.spool_oldest_seconds.set(now.oldest_seconds);
        let dedup = self.parts.window.stats();
        m.dedup_identities.set((dedup.identities_hot + dedup.identities_sealed) as i64);
        m.dedup_disk_bytes.set(dedup.disk_bytes as i64);
        m.dedup_memory_bytes.set((dedup.filter_bytes + dedup.index_bytes) as i64);
        m.dedup_window_seconds.set(dedup.effective_window_seconds as f64);
        m.dedup_disk_reads.set(dedup.lookups_read_disk as i64);
        m.dedup_damaged_pages.set(dedup.damaged_pages as i64);
    }
}
