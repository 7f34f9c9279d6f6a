//! The persistent stores: the spool and the dedup window, and the shared store of a fleet.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;

use super::folder_holder;
use crate::{
    conditions::{Condition, Conditions},
    config::{Config, DedupStore},
    dedup::{Fleet, FleetConfig, Identity, Scopes, SealError, Window, WindowConfig},
    event::{Record, unix_millis},
    fault::Patience,
    key_shares::{ShareConfig, Shares},
    ledger::{Ledger, LedgerConfig},
    limits::{RESTORE_RECORDS, SPOOL_QUEUE_BYTES_MAX, SPOOL_UNREADABLE_PATIENCE},
    spool::{OpenError, RealDisk, Spool, SpoolConfig},
    telemetry::Metrics,
};

/// Opens the spool in `folder` of the data folder, and recovers it after a crash.
pub(super) fn open_spool(config: &Config, folder: &str, quota_bytes: u64, conditions: Conditions) -> anyhow::Result<Spool> {
    let budget = Duration::from_secs(config.spool.unreadable_block_seconds);
    let (spool, report) = Spool::open(
        Arc::new(RealDisk),
        SpoolConfig {
            dir: config.data_dir.join(folder),
            segment_bytes: config.spool.segment_bytes,
            quota_bytes,
            free_bytes_min: config.spool.free_bytes_min,
            queue_bytes_max: SPOOL_QUEUE_BYTES_MAX,
            unreadable: Patience { budget, ..SPOOL_UNREADABLE_PATIENCE },
            conditions,
        },
    )
    .map_err(|error| match error {
        OpenError::Locked(_) => folder_holder::in_use(&config.data_dir),
        error => error.into(),
    })?;
    tracing::info!(folder, "the spool is open: {report}");
    Ok(spool)
}

/// The limits that keys have shares of, with no usage yet.
pub(super) fn shares(config: &Config) -> Shares {
    Shares::new(ShareConfig {
        spool_bytes: config.spool.quota_bytes,
        identities: config.dedup.identities_max,
        window: dedup_window(config),
    })
}

fn dedup_window(config: &Config) -> Duration {
    Duration::from_secs(u64::from(config.dedup.window_days) * 86_400)
}

/// The ledger. Nothing is counted before [`Ledger::begin`].
pub(super) fn open_ledger(config: &Config, metrics: &Metrics, conditions: &Conditions) -> Ledger {
    Ledger::open(LedgerConfig {
        folder: config.data_dir.join("ledger"),
        window: dedup_window(config),
        events_max: config.dedup.identities_max,
        conditions: conditions.clone(),
        imbalance: metrics.ledger_imbalance_events.clone(),
    })
}

/// The secret that scopes identities, created at the first start.
pub(super) fn open_scopes(config: &Config) -> anyhow::Result<Scopes> {
    Scopes::open(&config.data_dir.join("dedup")).context("the secret of the dedup window cannot be read or made")
}

/// Opens the dedup window and restores the identities that only the spool still has. Unreadable events do not delay the start:
/// their numbers are returned for [`restore_later`].
pub(super) fn open_window(
    config: &Config,
    spool: &Spool,
    scopes: &Scopes,
    conditions: &Conditions,
) -> anyhow::Result<(Window, Vec<Range<u64>>)> {
    let window_config = WindowConfig {
        window: dedup_window(config),
        identities_max: config.dedup.identities_max,
        spool_history: spool.history(),
        spool_end_exclusive: spool.durable_end(),
        conditions: conditions.clone(),
        ..WindowConfig::new(config.data_dir.join("dedup"))
    };
    // The wall clock is used only if no time is stored on disk.
    let (window, report) = Window::open(window_config, unix_millis(SystemTime::now()))?;
    // Before the first event is stored.
    spool.keep_history(report.spool_history).context("the history of the spool cannot be stored")?;
    let mark = window.sealed_mark();
    let first = spool.stats().first_seq;
    if first > mark.max(window.unnamed_mark()) {
        // The spool drops events only after the window has them on disk: the window had them, and they are gone.
        let detail =
            format!("the identities of the events {mark} to {first} are not known: was the dedup folder removed or restored?");
        conditions.raise(Condition::DedupDamaged, "start", detail);
    }
    let (restored, unread) = restore(&window, spool, scopes, mark..spool.durable_end())?;
    tracing::info!("the dedup window is open: {report}; {restored} identities were restored from the spool");
    if !unread.is_empty() {
        let ranges: Vec<String> = unread.iter().map(|range| format!("{} to {}", range.start, range.end)).collect();
        tracing::warn!("the identities of the events {} cannot be read now; they are restored later", ranges.join(", "));
    }
    Ok((window, unread))
}

/// Restores the identities of these events in the window. Returns their number, and the ranges that are unreadable now.
fn restore(window: &Window, spool: &Spool, scopes: &Scopes, seqs: Range<u64>) -> Result<(u64, Vec<Range<u64>>), SealError> {
    let mut reader = spool.reader(seqs.start).that_only_looks();
    let (mut restored, mut unread) = (0, Vec::new());
    let secret = scopes.secret();
    while reader.next_seq() < seqs.end {
        let batch = match reader.read_patiently(seqs.end, RESTORE_RECORDS, usize::MAX) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read; the identities of its events are restored later");
                unread.push(reader.next_seq()..seqs.end);
                break;
            }
        };
        if batch.frames.is_empty() && batch.lost.is_empty() {
            break;
        }
        let identities = batch.frames.into_iter().filter_map(|frame| {
            // The delivery meets an unreadable record again, and reports it.
            Record::decode(frame.body).ok().map(|record| (Identity::of(&record, &secret), frame.seq))
        });
        restored += window.restore(identities, window.clock().millis_at(Instant::now()))?;
        unread.extend(batch.lost.into_iter().map(|lost| lost.start..lost.end.min(seqs.end)));
    }
    Ok((restored, unread))
}

/// Restores the identities of events that were unreadable at the start as soon as possible, so that a client's retry is a
/// duplicate. Ends when all are restored, delivered, or given up by the deliverer.
pub(super) async fn restore_later(window: Window, spool: Arc<Spool>, scopes: Scopes, mut unread: Vec<Range<u64>>) {
    while !unread.is_empty() {
        tokio::time::sleep(SPOOL_UNREADABLE_PATIENCE.longest).await;
        let (window, spool, scopes) = (window.clone(), spool.clone(), scopes.clone());
        let ranges = std::mem::take(&mut unread);
        let looked = tokio::task::spawn_blocking(move || {
            let mut left = Vec::new();
            for range in ranges {
                let (restored, unread) = restore(&window, &spool, &scopes, range)?;
                if restored > 0 {
                    tracing::info!(restored, "identities of events that could not be read at the start are restored");
                }
                let delivered = spool.cursor().delivered_exclusive;
                left.extend(unread.into_iter().filter(|range| range.end > delivered));
            }
            Ok::<_, SealError>(left)
        });
        match looked.await {
            Ok(Ok(left)) => unread = left,
            Ok(Err(error)) => return tracing::error!(%error, "identities of unreadable events are not restored"),
            Err(_) => return,
        }
    }
}

/// Connects to the shared dedup store, if configured, and waits for an answer or a failure: so the fleet's secret is known
/// before an identity is scoped, and the first events are checked too.
pub(super) async fn start_fleet(
    config: &Config,
    spool: &Spool,
    scopes: &Scopes,
    metrics: &Arc<Metrics>,
    conditions: Conditions,
) -> anyhow::Result<Option<Fleet>> {
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
            window: dedup_window(config),
            gateway: spool.id(),
            scopes: scopes.clone(),
            conditions,
        },
        metrics.clone(),
    )?;
    tracing::info!(url = %redis.url, gateway = %spool.id(), "dedup is shared by a fleet");
    fleet.when_tried().await;
    Ok(Some(fleet))
}
