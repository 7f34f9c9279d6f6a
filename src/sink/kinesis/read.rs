//! The calls that read a stream back: DescribeStreamSummary, ListShards, GetShardIterator and GetRecords, each once.

use std::time::Duration;

use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata, SdkError},
    types::{Record, ShardIteratorType},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;

use super::client::KinesisStream;
use crate::{
    config::KinesisConfig,
    limits::{STREAM_READ_BACK_RECORDS, STREAM_READ_BACK_TIMEOUT},
    sink::{
        aws::{read_error, read_service_error},
        stream::Answer,
    },
};

/// Why a stream cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It may be read later.
    #[error("{0}")]
    Now(String),
    /// The iterator is older than five minutes.
    #[error("the iterator has expired")]
    IteratorExpired,
    /// The stream, or the shard, is not there.
    #[error("{0}")]
    NotThere(String),
    /// A person must act.
    #[error("{0}")]
    Held(String),
    /// It has more events than are compared at once.
    #[error("the stream has more events of that time than are compared at once; ask for a shorter time")]
    TooManyEvents,
}

/// What a stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// For how long it keeps a record.
    pub retention: Duration,
    /// When it was created, Unix milliseconds.
    pub created_millis: i64,
}

/// A shard, open or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnyShard {
    pub(super) id: String,
    pub(super) is_closed: bool,
}

/// Where a shard is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Its oldest record.
    Oldest,
    /// The first record of that time or later, Unix milliseconds.
    At(i64),
    /// The record after the one with this sequence number.
    After(String),
}

/// Some records of a shard.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// For the next ones; `None` if a closed shard has no more.
    pub(super) next: Option<String>,
    /// How much later the newest record may be.
    pub(super) behind: Duration,
}

impl KinesisStream {
    /// The stream of `config`, for reading.
    pub async fn connect_to_read(config: &KinesisConfig) -> Self {
        let timeout = config.call_timeout_ms.max(STREAM_READ_BACK_TIMEOUT.as_millis() as u64);
        Self::connect(&KinesisConfig { call_timeout_ms: timeout, ..config.clone() }, &config.stream).await
    }

    pub(super) async fn summary(&self) -> Result<StreamSummary, Unreadable> {
        let (arn, name) = self.arn_or_name();
        let call = self.client.describe_stream_summary().set_stream_arn(arn).set_stream_name(name);
        let answer = Box::pin(call.send()).await.map_err(|error| unreadable(&error))?;
        let summary = answer.stream_description_summary.ok_or_else(|| Unreadable::Now("an answer without a summary".into()))?;
        Ok(StreamSummary {
            retention: Duration::from_secs(u64::from(summary.retention_period_hours.max(0).unsigned_abs()) * 3_600),
            created_millis: summary.stream_creation_timestamp.to_millis().unwrap_or(0),
        })
    }

    pub(super) async fn all_shards(&self) -> Result<Vec<AnyShard>, Unreadable> {
        let (arn, name) = self.arn_or_name();
        let mut call = self.client.list_shards().set_stream_arn(arn).set_stream_name(name);
        let mut shards = Vec::new();
        loop {
            let page = Box::pin(call.send()).await.map_err(|error| unreadable(&error))?;
            shards.extend(page.shards().iter().map(|shard| AnyShard {
                id: shard.shard_id().to_owned(),
                is_closed: shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some()),
            }));
            match page.next_token() {
                Some(token) => call = self.client.list_shards().next_token(token),
                None => return Ok(shards),
            }
        }
    }

    pub(super) async fn iterator(&self, shard: &str, from: &Position) -> Result<Option<String>, Unreadable> {
        let (arn, name) = self.arn_or_name();
        let call = self.client.get_shard_iterator().set_stream_arn(arn).set_stream_name(name).shard_id(shard);
        let call = match from {
            Position::Oldest => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::At(millis) => {
                call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*millis))
            }
            Position::After(number) => {
                call.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(number)
            }
        };
        Ok(Box::pin(call.send()).await.map_err(|error| unreadable(&error))?.shard_iterator)
    }

    pub(super) async fn records(&self, iterator: &str) -> Result<Page, Unreadable> {
        let (arn, _) = self.arn_or_name();
        let call = self.client.get_records().set_stream_arn(arn).shard_iterator(iterator).limit(STREAM_READ_BACK_RECORDS);
        let answer = Box::pin(call.send()).await.map_err(|error| unreadable(&error))?;
        let behind = answer.millis_behind_latest.unwrap_or(0).max(0).unsigned_abs();
        Ok(Page { records: answer.records, next: answer.next_shard_iterator, behind: Duration::from_millis(behind) })
    }
}

fn unreadable<E>(error: &SdkError<E, HttpResponse>) -> Unreadable
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.code();
    if code == Some("ExpiredIteratorException") {
        return Unreadable::IteratorExpired;
    }
    match read_error(error, read_service_error) {
        Answer::Held(reason) if code == Some("ResourceNotFoundException") => Unreadable::NotThere(reason),
        Answer::Held(reason) | Answer::Invalid(reason) => Unreadable::Held(reason),
        Answer::Unknown(reason) | Answer::Refused(reason) | Answer::Throttled(reason) => Unreadable::Now(reason),
        Answer::Each(_) => Unreadable::Now("an answer that is none".into()),
    }
}
