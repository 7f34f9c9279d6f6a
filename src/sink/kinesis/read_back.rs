//! Reads the events of a time from all shards of a stream, closed ones too, and counts them by minute of receipt.
//!
//! Each shard is read from a little before that time up to the newest record, because an event may be delivered any time after
//! it was received. The shards' own consumers come first: a shard is read at a part of the pace that Kinesis allows, and a
//! throttled read is tried again later.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    client::KinesisStream,
    read::{AnyShard, Page, Position, StreamSummary, Unreadable},
};
use crate::{
    fault::Tries,
    limits::{
        STREAM_READ_BACK_AFTER, STREAM_READ_BACK_BYTES_PER_SECOND, STREAM_READ_BACK_INTERVAL, STREAM_READ_BACK_PATIENCE,
        STREAM_READ_BACK_PROGRESS, STREAM_READ_BACK_RECORDS, STREAM_READ_BACK_SHARDS, STREAM_READ_BACK_SKEW,
    },
    sink::stream::{EventCounter, EventsByMinute},
};

/// What was read.
#[derive(Clone, Debug)]
pub struct ReadBack {
    /// What the stream says of itself.
    pub stream: StreamSummary,
    /// How much of it was read.
    pub read: ReadProgress,
    /// Its events.
    pub events: EventsByMinute,
}

/// How far the reading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// Shards, open and closed.
    pub shards: usize,
    /// Those of them that are read to the end.
    pub shards_read: usize,
    /// Records.
    pub records: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Reads that Kinesis refused for now, or did not answer.
    pub tried_again: u64,
}

/// What the readers of the shards share.
struct Reading {
    counter: EventCounter,
    progress: ReadProgress,
}

type Shared = Arc<Mutex<Reading>>;

fn locked(shared: &Shared) -> MutexGuard<'_, Reading> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the events that were received in `millis`, and at least everything that the stream has by now. `said` is called now
/// and then.
///
/// # Errors
/// Why the stream, or a shard, cannot be read.
pub async fn read_back(
    stream: &KinesisStream,
    millis: Range<i64>,
    mut said: impl FnMut(&ReadProgress),
) -> Result<ReadBack, Unreadable> {
    let until = Instant::now() + STREAM_READ_BACK_AFTER;
    let summary = patiently(async || stream.summary().await).await?;
    let shards = patiently(async || stream.all_shards().await).await?;
    let start = millis.start.saturating_sub(STREAM_READ_BACK_SKEW.as_millis() as i64);
    // A stream without records of that time may not know where it is.
    let from = if start <= summary.created_millis { Position::Oldest } else { Position::At(start) };
    let progress = ReadProgress { shards: shards.len(), ..ReadProgress::default() };
    let shared: Shared = Arc::new(Mutex::new(Reading { counter: EventCounter::new(millis), progress }));
    let mut waiting = shards.into_iter();
    let mut readers = JoinSet::new();
    let mut ticks = interval(STREAM_READ_BACK_PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    loop {
        while readers.len() < STREAM_READ_BACK_SHARDS
            && let Some(shard) = waiting.next()
        {
            let reader = ShardReader { stream: stream.clone(), shard, from: from.clone(), until, shared: shared.clone() };
            readers.spawn(reader.run());
        }
        tokio::select! {
            ended = readers.join_next() => match ended {
                Some(Ok(read)) => read?,
                Some(Err(panic)) => return Err(Unreadable::Held(panic.to_string())),
                None => break,
            },
            _ = ticks.tick() => said(&locked(&shared).progress),
        }
    }
    let mut reading = locked(&shared);
    let (progress, counter) = (reading.progress, std::mem::replace(&mut reading.counter, EventCounter::new(0..0)));
    Ok(ReadBack { stream: summary, read: progress, events: counter.finish() })
}

/// Makes a call until it passes, within the patience for it.
async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    let mut tries = Tries::default();
    loop {
        match call().await {
            Err(Unreadable::Now(reason)) => match tries.failed(&STREAM_READ_BACK_PATIENCE, Instant::now()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(Unreadable::Now(reason)),
            },
            other => return other,
        }
    }
}

struct ShardReader {
    stream: KinesisStream,
    shard: AnyShard,
    from: Position,
    /// The reading may end when it has everything up to this moment.
    until: Instant,
    shared: Shared,
}

impl ShardReader {
    async fn run(mut self) -> Result<(), Unreadable> {
        let (mut tries, mut iterator) = (Tries::default(), None);
        loop {
            let asked = Instant::now();
            let pause = match self.page(&mut iterator).await {
                Ok(page) => {
                    tries.succeeded();
                    let (is_read, bytes) = self.count(page, &mut iterator, asked)?;
                    if is_read {
                        break;
                    }
                    pause_after(bytes)
                }
                // What a closed shard had is older than what the stream keeps.
                Err(Unreadable::NotThere(_)) if self.shard.is_closed => break,
                Err(error @ (Unreadable::Now(_) | Unreadable::IteratorExpired)) => {
                    iterator = iterator.filter(|_| error != Unreadable::IteratorExpired);
                    locked(&self.shared).progress.tried_again += 1;
                    match tries.failed(&STREAM_READ_BACK_PATIENCE, Instant::now()) {
                        Some(pause) => pause,
                        None => return Err(self.named(&error)),
                    }
                }
                Err(error) => return Err(error),
            };
            sleep_until((asked + pause).into()).await;
        }
        locked(&self.shared).progress.shards_read += 1;
        Ok(())
    }

    fn named(&self, error: &Unreadable) -> Unreadable {
        Unreadable::Now(format!("the shard {}: {error}", self.shard.id))
    }

    /// The next records.
    async fn page(&self, iterator: &mut Option<String>) -> Result<Page, Unreadable> {
        if iterator.is_none() {
            *iterator = self.stream.iterator(&self.shard.id, &self.from).await?;
        }
        match iterator {
            Some(iterator) => self.stream.records(iterator).await,
            None => Err(Unreadable::Now("an answer without an iterator".into())),
        }
    }

    /// Counts a page that was `asked` for at that moment. Returns whether the shard is read, and the bytes of the page.
    fn count(&mut self, page: Page, iterator: &mut Option<String>, asked: Instant) -> Result<(bool, usize), Unreadable> {
        let Page { records, next, behind } = page;
        let bytes = records.iter().map(|record| record.data.as_ref().len()).sum();
        {
            let mut reading = locked(&self.shared);
            reading.progress.records += records.len() as u64;
            reading.progress.bytes += bytes as u64;
            for record in &records {
                let place = || format!("{}, sequence number {}", self.shard.id, record.sequence_number);
                reading.counter.add(record.data.as_ref(), place).map_err(|_| Unreadable::TooManyEvents)?;
            }
        }
        let is_at_end = records.len() < STREAM_READ_BACK_RECORDS.unsigned_abs() as usize && asked >= self.until + behind;
        if let Some(last) = records.into_iter().next_back() {
            self.from = Position::After(last.sequence_number);
        }
        *iterator = next;
        Ok((is_at_end || iterator.is_none(), bytes))
    }
}

/// How long a shard rests after so many bytes.
fn pause_after(bytes: usize) -> Duration {
    let paced = Duration::from_secs_f64(bytes as f64 / STREAM_READ_BACK_BYTES_PER_SECOND as f64);
    paced.max(STREAM_READ_BACK_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_read_slower_than_its_consumers_need_and_kinesis_allows() {
        assert_eq!(pause_after(0), STREAM_READ_BACK_INTERVAL);
        assert_eq!(pause_after(10 << 20), Duration::from_secs(10));
    }
}
