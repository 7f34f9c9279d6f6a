//! After a start: counts again what each key has in the spool, so that a restart during an outage gives no key a new share.
//!
//! It runs in the background, at no more than half the speed of the disk, because the gateway accepts and delivers events
//! meanwhile. Until it ends, a key may exceed its share by the uncounted part. Unreadable records are not counted.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Instant};

use super::components::Ingest;
use crate::{
    event::Record,
    fault::Tries,
    limits::{RECOUNT_BYTES, RESTORE_RECORDS, SPOOL_START_PATIENCE},
    spool::Frame,
};

/// What a key has in a stretch of the spool.
#[derive(Debug, PartialEq)]
struct Counted {
    seqs: Range<u64>,
    bytes: u64,
    events: u64,
}

/// Counts undelivered events below `end_exclusive`, the end of the spool before the first append.
pub async fn recount_on_start(ingest: Arc<Ingest>, end_exclusive: u64) {
    let mut reader = ingest.spool.reader(ingest.progress.settled_exclusive()).that_only_looks();
    let mut tries = Tries::default();
    let mut events = 0;
    while reader.next_seq() < end_exclusive {
        let started = Instant::now();
        let read = tokio::task::block_in_place(|| reader.read_until(end_exclusive, RESTORE_RECORDS, RECOUNT_BYTES));
        let batch = match read {
            Ok(batch) => batch,
            Err(error) => match tries.failed(&SPOOL_START_PATIENCE, Instant::now()) {
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                None => {
                    return tracing::warn!(%error, "the spool cannot be read; what keys have in the rest of it does not count");
                }
            },
        };
        if batch.frames.is_empty() && batch.lost.is_empty() {
            break;
        }
        tries.succeeded();
        let now_millis = ingest.dedup.clock().millis_at(started);
        for (source, counted) in count(batch.frames, ingest.progress.settled_exclusive()) {
            events += counted.events;
            ingest.shares.find(&source).recount(counted.seqs, counted.bytes, counted.events, now_millis);
        }
        // Leave the disk to others for as long as it was used.
        tokio::time::sleep(started.elapsed()).await;
    }
    if events > 0 {
        tracing::info!(events, "what each key has in the spool is counted again");
    }
}

/// What each key has among these frames, without settled events.
fn count(frames: Vec<Frame>, settled_exclusive: u64) -> HashMap<String, Counted> {
    let mut by_source: HashMap<String, Counted> = HashMap::new();
    for frame in frames.into_iter().filter(|frame| frame.seq >= settled_exclusive) {
        let (seq, bytes) = (frame.seq, frame.size() as u64);
        // An unreadable record is found again, and reported, at its delivery.
        let Ok(record) = Record::decode(frame.body) else { continue };
        let source = record.envelope().source;
        match by_source.get_mut(source) {
            Some(counted) => {
                counted.seqs.end = seq + 1;
                counted.bytes += bytes;
                counted.events += 1;
            }
            None => {
                by_source.insert(source.to_owned(), Counted { seqs: seq..seq + 1, bytes, events: 1 });
            }
        }
    }
    by_source
}
