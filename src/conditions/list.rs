//! The conditions with their codes, and the list of raised conditions.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use crate::limits::CONDITION_PLACES_MAX;

/// A fault. The codes are stable, because alerts match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// The gateway is shutting down.
    Stopping,
    /// A sync failed, or the disk refuses writes. Only a restart shows what is on the disk.
    SpoolFailed,
    /// A thread or task that the gateway needs has ended: the gateway stops.
    PartEnded,
    /// The data folder is gone, or another one is in its place: its file system was unmounted, or it was moved.
    DataMissing,
    /// The spool has reached its quota.
    SpoolFull,
    /// The file system has no room for the spool.
    DiskFull,
    /// The file system of the spool is mounted read-only.
    DiskReadOnly,
    /// Files of the spool were removed or replaced at runtime.
    SpoolMissing,
    /// The dedup window takes no more identities.
    DedupFull,
    /// A block of the spool cannot be read. It is retried for a limited time.
    SpoolUnreadable,
    /// Events were lost to a damaged disk. Raised until a person empties the quarantine.
    SpoolDamaged,
    /// The cursor cannot be written, so delivered events stay on disk.
    CursorUnwritable,
    /// The journal of deliveries cannot be written: a crash now sends some events again.
    JournalUnwritable,
    /// The sink does not answer, or refuses everything.
    SinkUnreachable,
    /// A partition of the lake cannot be written. The others continue.
    PartitionUnwritable,
    /// A shard of the stream takes nothing. The others continue.
    ShardFailing,
    /// The sink refuses records for a reason that may concern the whole stream, so they are held.
    RecordsHeld,
    /// Events were dropped for a sink, because those that wait for it filled its part of the spool. Other sinks get them.
    SinkEventsDropped,
    /// The stream of the dead letters does not answer.
    DeadLetterSinkUnreachable,
    /// The dead letters of a key have reached half of their quota, or more.
    DeadLettersFilling,
    /// A key has reached its share of the spool, or of the dedup window.
    KeyShareFull,
    /// The dead letters of a key have reached their quota.
    DeadLettersFull,
    /// The oldest dead letters of a key were discarded, because they were full for long and held up good events.
    DeadLettersDiscarded,
    /// Dead letters cannot be written.
    DeadLettersUnwritable,
    /// The shared dedup store does not answer. Events are accepted unchecked, and tagged.
    DedupStoreUnreachable,
    /// The dedup window cannot write its identities to disk.
    DedupUnwritable,
    /// A part of the dedup window cannot be read. It is retried for a limited time; meanwhile events that it may know are
    /// answered with retry.
    DedupUnreadable,
    /// A part of the dedup window is damaged: its identities are forgotten.
    DedupDamaged,
    /// Identities are forgotten before their time, because there are too many.
    DedupForgetting,
    /// A secret of a key expires soon, and is still used.
    KeyExpiresSoon,
    /// All secrets of a key have expired.
    KeyExpired,
    /// The wall clock jumped: expiry waits until the time is confirmed.
    ClockJumped,
    /// The upkeep of the lake has failed for long.
    LakeUpkeepFailing,
    /// The ledger cannot be written. What it missed is counted later.
    LedgerUnwritable,
    /// The ledger was damaged, and began again.
    LedgerDamaged,
    /// The file system has few inodes left.
    InodesLow,
    /// Nobody reads the log: lines are dropped and counted.
    LogStalled,
}

impl Condition {
    /// All conditions, the blocking ones first.
    pub const ALL: [Self; 37] = [
        Self::Stopping,
        Self::SpoolFailed,
        Self::PartEnded,
        Self::DataMissing,
        Self::SpoolFull,
        Self::DiskFull,
        Self::DiskReadOnly,
        Self::SpoolMissing,
        Self::DedupFull,
        Self::SpoolUnreadable,
        Self::SpoolDamaged,
        Self::CursorUnwritable,
        Self::JournalUnwritable,
        Self::SinkUnreachable,
        Self::PartitionUnwritable,
        Self::ShardFailing,
        Self::RecordsHeld,
        Self::SinkEventsDropped,
        Self::DeadLetterSinkUnreachable,
        Self::DeadLettersFilling,
        Self::KeyShareFull,
        Self::DeadLettersFull,
        Self::DeadLettersDiscarded,
        Self::DeadLettersUnwritable,
        Self::DedupStoreUnreachable,
        Self::DedupUnwritable,
        Self::DedupUnreadable,
        Self::DedupDamaged,
        Self::DedupForgetting,
        Self::KeyExpiresSoon,
        Self::KeyExpired,
        Self::ClockJumped,
        Self::LakeUpkeepFailing,
        Self::LedgerUnwritable,
        Self::LedgerDamaged,
        Self::InodesLow,
        Self::LogStalled,
    ];

    /// The code in `/readyz` and in the label of the gauge.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::SpoolFailed => "spool_failed",
            Self::PartEnded => "part_ended",
            Self::DataMissing => "data_missing",
            Self::SpoolFull => "spool_full",
            Self::DiskFull => "disk_full",
            Self::DiskReadOnly => "disk_read_only",
            Self::SpoolMissing => "spool_missing",
            Self::DedupFull => "dedup_full",
            Self::SpoolUnreadable => "spool_unreadable",
            Self::SpoolDamaged => "spool_damaged",
            Self::CursorUnwritable => "cursor_unwritable",
            Self::JournalUnwritable => "journal_unwritable",
            Self::SinkUnreachable => "sink_unreachable",
            Self::PartitionUnwritable => "partition_unwritable",
            Self::ShardFailing => "shard_failing",
            Self::RecordsHeld => "records_held",
            Self::SinkEventsDropped => "sink_events_dropped",
            Self::DeadLetterSinkUnreachable => "dead_letter_sink_unreachable",
            Self::DeadLettersFilling => "dead_letters_filling",
            Self::KeyShareFull => "key_share_full",
            Self::DeadLettersFull => "dead_letters_full",
            Self::DeadLettersDiscarded => "dead_letters_discarded",
            Self::DeadLettersUnwritable => "dead_letters_unwritable",
            Self::DedupStoreUnreachable => "dedup_store_unreachable",
            Self::DedupUnwritable => "dedup_unwritable",
            Self::DedupUnreadable => "dedup_unreadable",
            Self::DedupDamaged => "dedup_damaged",
            Self::DedupForgetting => "dedup_forgetting",
            Self::KeyExpiresSoon => "key_expires_soon",
            Self::KeyExpired => "key_expired",
            Self::ClockJumped => "clock_jumped",
            Self::LakeUpkeepFailing => "lake_upkeep_failing",
            Self::LedgerUnwritable => "ledger_unwritable",
            Self::LedgerDamaged => "ledger_damaged",
            Self::InodesLow => "inodes_low",
            Self::LogStalled => "log_stalled",
        }
    }

    /// Whether no event can be stored while the condition holds: `/readyz` then answers 503. All others are warnings.
    #[must_use]
    pub fn blocks(self) -> bool {
        match self {
            Self::Stopping
            | Self::SpoolFailed
            | Self::PartEnded
            | Self::DataMissing
            | Self::SpoolFull
            | Self::DiskFull
            | Self::DiskReadOnly
            | Self::SpoolMissing
            | Self::DedupFull => true,
            Self::SpoolUnreadable
            | Self::SpoolDamaged
            | Self::CursorUnwritable
            | Self::JournalUnwritable
            | Self::SinkUnreachable
            | Self::PartitionUnwritable
            | Self::ShardFailing
            | Self::RecordsHeld
            | Self::SinkEventsDropped
            | Self::DeadLetterSinkUnreachable
            | Self::DeadLettersFilling
            | Self::KeyShareFull
            | Self::DeadLettersFull
            | Self::DeadLettersDiscarded
            | Self::DeadLettersUnwritable
            | Self::DedupStoreUnreachable
            | Self::DedupUnwritable
            | Self::DedupUnreadable
            | Self::DedupDamaged
            | Self::DedupForgetting
            | Self::KeyExpiresSoon
            | Self::KeyExpired
            | Self::ClockJumped
            | Self::LakeUpkeepFailing
            | Self::LedgerUnwritable
            | Self::LedgerDamaged
            | Self::InodesLow
            | Self::LogStalled => false,
        }
    }
}

/// A raised condition, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The condition.
    pub condition: Condition,
    /// A partition, a shard, a key or a file; empty for the whole gateway.
    pub place: String,
    /// The reason, for a person.
    pub detail: String,
    /// When it was raised.
    pub since: Instant,
}

/// The list of raised conditions. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Conditions(Arc<List>);

#[derive(Debug, Default)]
struct List {
    held: Mutex<BTreeMap<(Condition, String), Held>>,
    /// Changes whenever a condition is raised.
    raised: watch::Sender<()>,
}

#[derive(Clone, Debug)]
struct Held {
    detail: String,
    since: Instant,
}

impl Conditions {
    /// Raises `condition` at `place`, because of `detail`. The first time is logged; a repetition only updates the detail.
    /// Beyond [`CONDITION_PLACES_MAX`] places of one condition, further places are logged but not listed.
    pub fn raise(&self, condition: Condition, place: &str, detail: impl Into<String>) {
        let (code, detail) = (condition.code(), detail.into());
        let mut list = self.lock();
        if let Some(held) = list.get_mut(&(condition, place.to_owned())) {
            held.detail = detail;
            return;
        }
        let places = list.keys().filter(|(other, _)| *other == condition).count();
        if places < CONDITION_PLACES_MAX {
            list.insert((condition, place.to_owned()), Held { detail: detail.clone(), since: Instant::now() });
        }
        drop(list);
        tracing::error!(code, place, detail, "a fault began");
        // After the log line, because a woken task may end the program.
        self.0.raised.send_replace(());
    }

    /// Clears `condition` at `place`.
    pub fn clear(&self, condition: Condition, place: &str) {
        // Usually the list is empty, and this check allocates nothing.
        if self.lock().is_empty() {
            return;
        }
        if let Some(held) = self.lock().remove(&(condition, place.to_owned())) {
            let (code, seconds) = (condition.code(), held.since.elapsed().as_secs());
            tracing::info!(code, place, seconds, "a fault is over");
        }
    }

    /// Raises the condition if there is a `detail`, otherwise clears it.
    pub fn set(&self, condition: Condition, place: &str, detail: Option<String>) {
        match detail {
            Some(detail) => self.raise(condition, place, detail),
            None => self.clear(condition, place),
        }
    }

    /// Whether the condition holds at any place.
    #[must_use]
    pub fn holds(&self, condition: Condition) -> bool {
        self.lock().keys().any(|(other, _)| *other == condition)
    }

    /// Waits until the condition holds at any place.
    pub async fn when(&self, condition: Condition) {
        let mut raised = self.0.raised.subscribe();
        // The sender lives as long as `self`.
        while !self.holds(condition) && raised.changed().await.is_ok() {}
    }

    /// All raised conditions, the blocking ones first.
    #[must_use]
    pub fn list(&self) -> Vec<Raised> {
        let list = self.lock();
        let raised = list.iter().map(|((condition, place), held)| Raised {
            condition: *condition,
            place: place.clone(),
            detail: held.detail.clone(),
            since: held.since,
        });
        raised.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Condition, String), Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_raised_is_listed_until_it_is_cleared_at_its_place_and_blocking_comes_first() {
        let conditions = Conditions::default();
        conditions.raise(Condition::PartitionUnwritable, "b", "why");
        conditions.raise(Condition::PartitionUnwritable, "a", "why");
        conditions.raise(Condition::DedupFull, "", "full");
        conditions.raise(Condition::PartitionUnwritable, "a", "another reason");
        let listed = |conditions: &Conditions| -> Vec<String> {
            conditions
                .list()
                .iter()
                .map(|raised| format!("{} {} {}", raised.condition.code(), raised.place, raised.detail))
                .collect()
        };
        assert_eq!(
            listed(&conditions),
            ["dedup_full  full", "partition_unwritable a another reason", "partition_unwritable b why"]
        );
        conditions.clear(Condition::PartitionUnwritable, "a");
        conditions.set(Condition::DedupFull, "", None);
        assert_eq!(listed(&conditions), ["partition_unwritable b why"]);
        assert!(conditions.holds(Condition::PartitionUnwritable) && !conditions.holds(Condition::DedupFull));
    }

    #[test]
    fn the_list_is_bounded_whatever_the_number_of_places() {
        let conditions = Conditions::default();
        for place in 0..2 * CONDITION_PLACES_MAX {
            conditions.raise(Condition::ShardFailing, &place.to_string(), "why");
        }
        assert_eq!(conditions.list().len(), CONDITION_PLACES_MAX);
    }

    #[test]
    fn every_condition_is_in_the_list_of_all_once_with_a_code_of_its_own_and_the_blocking_ones_first() {
        let codes: std::collections::HashSet<_> = Condition::ALL.iter().map(|condition| condition.code()).collect();
        assert_eq!(codes.len(), Condition::ALL.len());
        assert!(Condition::ALL.is_sorted() && Condition::ALL.is_sorted_by_key(|condition| !condition.blocks()));
        assert_eq!(Condition::ALL.last().map(|last| *last as usize + 1), Some(Condition::ALL.len()));
    }
}
