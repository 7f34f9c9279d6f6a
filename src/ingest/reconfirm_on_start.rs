//! After a start: confirms all spooled events in the shared dedup store again.
//!
//! A killed gateway may have stored events that it had not confirmed yet. It does not record which ones, because confirming
//! twice does no harm. So all spooled events are confirmed, in the background.

use std::sync::Arc;

use crate::{
    dedup::{Fleet, Identity},
    event::{Record, ScopeSecret},
    limits::RESTORE_RECORDS,
    spool::Spool,
};

/// Confirms the identity of every event that `spool` holds now.
pub async fn reconfirm_on_start(fleet: Fleet, spool: Arc<Spool>, secret: Arc<ScopeSecret>) {
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
