//! After a start: confirms all spooled events in the shared dedup store again.
//!
//! A killed gateway may have stored events that it had not confirmed yet. It does not record which ones, because confirming
//! twice does no harm. So all spooled events are confirmed, in the background. Where answers wait for delivery, other gateways may
//! know only of delivered events: each is confirmed once it is delivered.

use std::{sync::Arc, time::Duration};

use super::components::Ingest;
use crate::{
    config::Durability,
    dedup::{Fleet, Identity},
    event::{Record, ScopeSecret},
    limits::RESTORE_RECORDS,
    progress::Progress,
    spool::Spool,
};

/// Confirms the identity of every event that the spool holds now. `None` without a fleet.
pub fn reconfirm_on_start(ingest: &Ingest) -> Option<impl Future<Output = ()> + Send + use<>> {
    let fleet = ingest.dedup.fleet()?.clone();
    let awaited = (ingest.durability() == Durability::Delivered).then(|| ingest.progress.clone());
    Some(reconfirm(fleet, ingest.spool.clone(), ingest.scopes.secret(), awaited))
}

async fn reconfirm(fleet: Fleet, spool: Arc<Spool>, secret: Arc<ScopeSecret>, awaited: Option<Arc<Progress>>) {
    let end_exclusive = spool.durable_end();
    let mut reader = spool.reader(0);
    let mut confirmed = 0;
    loop {
        let batch = match tokio::task::block_in_place(|| reader.read(RESTORE_RECORDS, usize::MAX)) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(%error, "the spool cannot be read, so the shared dedup store is not told again what it holds");
                return;
            }
        };
        let is_empty = batch.frames.is_empty() && batch.lost.is_empty();
        if let (Some(progress), Some(first), Some(last)) = (&awaited, batch.frames.first(), batch.frames.last()) {
            let seqs = first.seq..end_exclusive.min(last.seq + 1);
            progress.await_settled(std::slice::from_ref(&seqs), Duration::MAX).await;
        }
        let spooled = batch.frames.into_iter().filter(|frame| frame.seq < end_exclusive);
        // An unreadable record is found again, and reported, at its delivery.
        let ids: Vec<_> = spooled.filter_map(|frame| Some(Identity::of(&Record::decode(frame.body).ok()?, &secret))).collect();
        confirmed += ids.len();
        if !ids.is_empty() && !fleet.reconfirm(ids).await {
            return;
        }
        if is_empty || reader.next_seq() >= end_exclusive {
            break;
        }
    }
    tracing::info!(confirmed, "the shared dedup store is being told what the spool holds");
}
