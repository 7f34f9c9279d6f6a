//! Reads the shard list of the stream: at the start, from time to time, and when a response shows that the shards changed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::shard_queues::ShardQueues;
use crate::{
    limits::{STREAM_SHARDS_REFRESH, STREAM_SHARDS_REFRESH_MIN},
    sink::stream::{HashKey, MapNeed, ShardMap, ShardsUnknown, Stream},
};

type Shards = Result<ShardMap, ShardsUnknown>;

/// See the module.
pub(super) struct ShardWatch {
    asking: Option<JoinHandle<Shards>>,
    answered_at: Option<Instant>,
    /// Number of shard maps so far.
    version: u64,
    /// A response named another shard than the map.
    is_doubted: bool,
    /// Responses to records sent with the present map that named another shard.
    mismatches: u64,
    /// The stream distributes records by its own rules.
    is_unpredictable: bool,
    is_packed: bool,
    has_warned: bool,
}

impl ShardWatch {
    pub(super) fn new(is_packed: bool) -> Self {
        Self {
            asking: None,
            answered_at: None,
            version: 0,
            is_doubted: false,
            mismatches: 0,
            is_unpredictable: false,
            is_packed,
            has_warned: false,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether the first request was answered, with or without a map.
    pub(super) fn is_known_or_unknowable(&self) -> bool {
        self.answered_at.is_some()
    }

    /// Requests the shard list.
    pub(super) fn look(&mut self, stream: &Arc<dyn Stream>) {
        let stream = stream.clone();
        self.asking = Some(tokio::spawn(async move { stream.shards().await }));
    }

    /// Requests the shard list, unless a request is under way.
    pub(super) fn look_soon(&mut self, stream: &Arc<dyn Stream>) {
        if self.asking.is_none() {
            self.look(stream);
        }
    }

    /// Requests the shard list if that is due.
    pub(super) fn look_if_due(&mut self, stream: &Arc<dyn Stream>, now: Instant) {
        let age = self.answered_at.map_or(Duration::MAX, |at| now.duration_since(at));
        let lacks_some = self.is_doubted || stream.map_need() != MapNeed::None;
        let is_due = age >= STREAM_SHARDS_REFRESH || (lacks_some && age >= STREAM_SHARDS_REFRESH_MIN);
        if is_due && self.asking.is_none() && !self.is_unpredictable {
            self.look(stream);
        }
    }

    /// Makes the next request due soon.
    pub(super) fn forget_age(&mut self) {
        self.is_doubted = true;
    }

    /// Waits for the response; for ever if there is no request.
    pub(super) async fn answer(&mut self) -> Shards {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        asking.await.unwrap_or_else(|error| Err(ShardsUnknown { reason: error.to_string(), is_denied: false }))
    }

    /// Applies a response.
    pub(super) fn take(&mut self, shards: Shards, queues: &mut ShardQueues, now: Instant) {
        self.asking = None;
        self.answered_at = Some(now);
        let was_doubted = std::mem::take(&mut self.is_doubted);
        match shards {
            Ok(map) if map != queues.map => {
                tracing::info!(shards = map.shards().len(), "the stream's shards are known");
                self.version += 1;
                self.mismatches = 0;
                self.has_warned = false;
                queues.remap(map, now);
            }
            Ok(_) if was_doubted && self.mismatches > 0 => self.give_up(queues, now),
            Ok(_) => {}
            Err(ShardsUnknown { reason, is_denied }) => {
                // A failed request also ends the wait for the first answer.
                self.is_doubted = was_doubted || !is_denied;
                if is_denied && !std::mem::replace(&mut self.has_warned, true) {
                    tracing::warn!(reason, "the stream's shards are not known, so a hot shard cannot be told from the others");
                }
            }
        }
    }

    /// The stream distributes records itself (`RecordDistributionStrategy=AUTO`): its shards cannot be distinguished.
    fn give_up(&mut self, queues: &mut ShardQueues, now: Instant) {
        self.is_unpredictable = true;
        self.version += 1;
        tracing::warn!("the stream does not place records by their keys: they are sent without regard to its shards");
        if self.is_packed {
            tracing::warn!(
                "KCL drops packed records that lie in another shard than their hash key says; use a stream with \
                            RecordDistributionStrategy=USER_PARTITION_KEY, or aggregation = \"none\""
            );
        }
        queues.remap(ShardMap::unknown(), now);
    }

    /// Compares the shard of a stored record with the shard of the map.
    pub(super) fn check(&mut self, map: &ShardMap, place: HashKey, shard: &str, map_version: u64) {
        if !map.is_known() || map_version != self.version || map.shards()[map.owner(place)].id == shard {
            return;
        }
        self.mismatches += 1;
        self.is_doubted = true;
    }
}
