//! The stream: the topics with their partitions, and one producer for all of them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _},
    types::RDKafkaErrorCode,
};

use super::{
    headers::read_headers,
    producer::{Producer, ProducerSettings, look},
    reports::{Report, Reports, Ticket},
    setup_error::SetupError,
    token::TokenSource,
    topics::Topics,
};
use crate::{
    config::KafkaConfig,
    limits::{KAFKA_METADATA_TIMEOUT, KAFKA_PARTITIONS_MAX, KAFKA_REPORT_GRACE},
    sink::stream::{Answer, MapNeed, RecordResult, ShardMap, ShardsUnknown, StreamRecord, topic_of},
};

/// The shard of events whose topics were not looked for yet.
const NEW_TOPICS: &str = "new topics";

/// See the module.
pub struct KafkaStream {
    /// The brokers as configured, for logs.
    name: String,
    topics: Arc<Topics>,
    settings: ProducerSettings,
    /// Replaced after a fatal error.
    producer: Mutex<Arc<Producer>>,
    partitions: Mutex<Partitions>,
    delivery_timeout: Duration,
}

/// The partitions of the topics, by their numbers, as far as they were looked for.
#[derive(Debug, Default)]
struct Partitions {
    /// The number of partitions, or why it is not known.
    of_topics: Vec<Result<usize, String>>,
    /// Why no broker answered the last time.
    unreachable: Option<String>,
}

/// A record on its way: its index in the call, its topic and partition.
struct Placed {
    index: usize,
    topic: Arc<str>,
    partition: i32,
}

impl KafkaStream {
    /// The brokers of `config`, and `topics`. Sends nothing yet.
    ///
    /// # Errors
    /// If librdkafka does not take the configuration, as when a file of it cannot be read.
    pub async fn connect(config: &KafkaConfig, topics: Arc<Topics>) -> Result<Self, SetupError> {
        let settings = ProducerSettings::new(config, TokenSource::connect(config).await?);
        Ok(Self {
            name: config.bootstrap_servers.clone(),
            topics,
            producer: Mutex::new(Arc::new(settings.start()?)),
            settings,
            partitions: Mutex::default(),
            delivery_timeout: Duration::from_millis(config.delivery_timeout_ms),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn producer(&self) -> Arc<Producer> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces `failed` by a new producer. Its own records still get their reports.
    fn replace(&self, failed: &Arc<Producer>) {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&producer, failed) {
            return;
        }
        match self.settings.start() {
            Ok(new) => {
                tracing::warn!(
                    "the Kafka producer has failed for good and is replaced; a record that was in flight may be stored twice"
                );
                let old = std::mem::replace(&mut *producer, Arc::new(new));
                // Its end takes a while.
                tokio::task::spawn_blocking(move || drop(old));
            }
            Err(error) => tracing::error!(%error, "the Kafka producer has failed and cannot be replaced"),
        }
    }

    /// Sends these records, and waits until each has its report.
    pub async fn put(&self, records: &[StreamRecord]) -> Answer {
        let mut results = Vec::with_capacity(records.len());
        let mut all = Vec::with_capacity(records.len());
        let unreachable = {
            let names = self.topics.names();
            let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
            for (index, record) in records.iter().enumerate() {
                let place = record.entries[0].place;
                let topic = topic_of(place) as usize;
                let known = partitions.of_topics.get(topic).zip(names.get(topic));
                let code = match known {
                    Some((Ok(count), name)) => {
                        // The lower half of a place is the hash of the key.
                        let partition = (place as u64 % *count as u64) as i32;
                        all.push(Placed { index, topic: name.clone(), partition });
                        "no report".to_owned()
                    }
                    Some((Err(reason), _)) => reason.clone(),
                    None => "the topic is new".to_owned(),
                };
                results.push(RecordResult::Failed { code });
            }
            partitions.unreachable.clone()
        };
        if let (true, Some(reason)) = (all.is_empty(), unreachable) {
            return Answer::Refused(reason);
        }
        self.put_rounds(records, all, &mut results).await;
        Answer::Each(results)
    }

    /// Sends records in rounds. A broker refuses a whole batch for one record in it: its records are sent again in halves, until
    /// a record is refused that is alone.
    async fn put_rounds(&self, records: &[StreamRecord], all: Vec<Placed>, results: &mut [RecordResult]) {
        let until = Instant::now() + self.delivery_timeout;
        // The last one is the next.
        let mut rounds = vec![all];
        while let Some(mut round) = rounds.pop() {
            let is_alone = round.len() == 1;
            let reports = self.put_round(records, &round).await;
            // Where the broker names the invalid records, the others say so.
            let are_named = reports.contains(&Report::NotStored(RDKafkaErrorCode::InvalidDifferentRecord));
            let mut again = vec![false; round.len()];
            for ((placed, report), again) in round.iter().zip(reports).zip(&mut again) {
                let result = &mut results[placed.index];
                *result = match report {
                    Report::Stored => RecordResult::Stored { shard: None },
                    Report::Unknown(code) => RecordResult::Unknown { code: format!("{code:?}") },
                    Report::NotStored(code) if is_refusal(code) => {
                        let is_proven = is_alone || are_named && code == RDKafkaErrorCode::InvalidRecord;
                        *again = !is_proven;
                        let reason = format!("{code:?}: topic {}", placed.topic);
                        if is_proven { RecordResult::Refused { reason } } else { RecordResult::Failed { code: reason } }
                    }
                    Report::NotStored(code) => {
                        *again = code == RDKafkaErrorCode::InvalidDifferentRecord;
                        RecordResult::Failed { code: format!("{code:?}") }
                    }
                };
            }
            let mut marks = again.into_iter();
            round.retain(|_| marks.next() == Some(true));
            if round.is_empty() || Instant::now() >= until {
                continue;
            }
            let second = if are_named { Vec::new() } else { round.split_off(round.len().div_ceil(2)) };
            rounds.extend([second, round].into_iter().filter(|half| !half.is_empty()));
        }
    }

    async fn put_round(&self, records: &[StreamRecord], round: &[Placed]) -> Vec<Report> {
        let (producer, reports) = (self.producer(), Reports::new(round.len()));
        for (index, placed) in round.iter().enumerate() {
            let entry = &records[placed.index].entries[0];
            let ticket = Box::new(Ticket { reports: reports.clone(), index });
            let mut record = BaseRecord::with_opaque_to(&placed.topic, ticket).partition(placed.partition);
            record = record.key(entry.key.as_bytes()).payload(entry.value());
            if entry.headers_bytes > 0 {
                let headers = read_headers(entry.headers())
                    .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
                record = record.headers(headers);
            }
            if let Err((error, _)) = producer.send(record) {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                reports.put(index, Report::NotStored(code));
            }
        }
        // librdkafka reports every record within the time-out; the limit is for the case that it does not.
        let _ = tokio::time::timeout(self.delivery_timeout + KAFKA_REPORT_GRACE, reports.complete()).await;
        let reports = reports.take();
        if reports.contains(&Report::Stored) {
            producer.context().answered();
        }
        if producer.client().fatal_error().is_some() {
            self.replace(&producer);
        }
        reports
    }

    /// The partitions of all topics that events had so far.
    ///
    /// # Errors
    /// If no broker answers, and no partition is known.
    pub async fn partitions(&self) -> Result<ShardMap, ShardsUnknown> {
        let (names, producer) = (self.topics.names(), self.producer());
        let looked = tokio::task::spawn_blocking(move || {
            let mut unreachable: Option<String> = None;
            let found = names.iter().map(|name| match &unreachable {
                Some(reason) => Err(reason.clone()),
                None => look(&producer, name, KAFKA_METADATA_TIMEOUT).map_err(|(reason, is_unreachable)| {
                    unreachable = is_unreachable.then(|| reason.clone());
                    reason
                }),
            });
            let found: Vec<_> = found.collect();
            (names, found, unreachable)
        });
        let (names, found, unreachable) =
            looked.await.map_err(|error| ShardsUnknown { reason: error.to_string(), is_denied: false })?;
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut partitions.of_topics).into_iter().map(Some).chain(std::iter::repeat(None));
        // What was known stays known while no broker answers.
        let merged = found.into_iter().zip(before).map(|(found, before)| match (found, before) {
            (Err(_), Some(Ok(count))) if unreachable.is_some() => Ok(count),
            (found, _) => found,
        });
        let merged: Vec<_> = merged.collect();
        let known: usize = merged.iter().flatten().sum();
        let map = || {
            let count = |found: &Result<usize, String>| found.as_ref().ok().copied().filter(|_| known <= KAFKA_PARTITIONS_MAX);
            let topics = names.iter().zip(&merged).map(|(name, found)| (&**name, count(found)));
            ShardMap::of_topics(topics, NEW_TOPICS)
        };
        let answer = match &unreachable {
            Some(reason) if known == 0 => Err(ShardsUnknown { reason: reason.clone(), is_denied: false }),
            _ => Ok(map()),
        };
        *partitions = Partitions { of_topics: merged, unreachable };
        answer
    }

    /// Whether topics are not looked for yet, or were not found.
    pub(super) fn map_need(&self) -> MapNeed {
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if self.topics.count() > partitions.of_topics.len() {
            MapNeed::Now
        } else if partitions.of_topics.iter().any(Result::is_err) {
            MapNeed::Soon
        } else {
            MapNeed::None
        }
    }
}

/// Whether the broker will never take the record, or one of its batch.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
    )
}
