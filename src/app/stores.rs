//! What lies on disk and outlives the program: the spool and the dedup window, and the store that a fleet shares.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;

use crate::{
    config::{Config, DedupStore},
    dedup::{Fleet, FleetConfig, Window, WindowConfig},
    event::{Record, unix_millis},
    limits::{RESTORE_RECORDS, SPOOL_QUEUE_BYTES_MAX},
    spool::{RealDisk, Spool, SpoolConfig},
    telemetry::Metrics,
};

/// Opens the spool in `folder` of the data folder, recovering what a crash left.
pub(super) fn open_spool(config: &Config, folder: &str, quota_bytes: u64) -> anyhow::Result<Spool> {
    let (spool, report) = Spool::open(
        Arc::new(RealDisk),
        SpoolConfig {
            dir: config.data_dir.join(folder),
            segment_bytes: config.spool.segment_bytes,
            quota_bytes,
            free_bytes_min: config.spool.free_bytes_min,
            queue_bytes_max: SPOOL_QUEUE_BYTES_MAX,
        },
    )?;
    tracing::info!(?report, folder, "spool recovered");
    Ok(spool)
}

/// Opens the dedup window and gives back to it the identities that only the spool still has.
pub(super) fn open_window(config: &Config, spool: &Spool) -> anyhow::Result<Window> {
    let now = unix_millis(SystemTime::now());
    let window = Duration::from_secs(u64::from(config.dedup.window_days) * 86_400);
    let folder = WindowConfig::new(config.data_dir.join("dedup"));
    let (window, report) = Window::open(WindowConfig { window, identities_max: config.dedup.identities_max, ..folder }, now)?;
    // A mark beyond the spool's end belongs to a spool that is gone.
    let from = if window.sealed_mark() > spool.durable_end() { 0 } else { window.sealed_mark() };
    let mut reader = spool.reader(from);
    let mut restored = 0;
    loop {
        let stretch = reader.read(RESTORE_RECORDS, usize::MAX).context("the spool cannot be read")?;
        if stretch.frames.is_empty() && stretch.lost.is_empty() {
            break;
        }
        let identities = stretch.frames.into_iter().filter_map(|frame| {
            // An unreadable record is met again, and reported, when it is delivered.
            Record::decode(frame.body).ok().map(|record| (record.event_uuid(), frame.seq))
        });
        restored += window.restore(identities, now)?;
    }
    tracing::info!(?report, restored, "dedup window opened");
    Ok(window)
}

/// Begins to speak to the dedup store of the fleet, where one is configured.
pub(super) fn start_fleet(config: &Config, spool: &Spool, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Fleet>> {
    if config.dedup.store == DedupStore::Local {
        return Ok(None);
    }
    let redis = &config.dedup.redis;
    let fleet = Fleet::start(
        FleetConfig {
            url: redis.url.secret().to_owned(),
            key_prefix: redis.key_prefix.clone(),
            deadline: Duration::from_millis(redis.deadline_ms),
            claim_ttl: Duration::from_secs(redis.claim_ttl_seconds),
            window: Duration::from_secs(u64::from(config.dedup.window_days) * 86_400),
            gateway: spool.id(),
        },
        metrics.clone(),
    )?;
    tracing::info!(url = %redis.url, gateway = %spool.id(), "dedup is shared by a fleet");
    Ok(Some(fleet))
}
