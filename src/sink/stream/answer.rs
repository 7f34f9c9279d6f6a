//! The result of one call to a stream, of each record and of the whole.

use std::sync::Arc;

/// The result of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every record has its own result, in order.
    Each(Vec<RecordResult>),
    /// Unknown whether records were stored: no response, a broken response, a wrong number of records, an internal failure.
    Unknown(String),
    /// Nothing was stored; a later retry can succeed.
    Refused(String),
    /// Nothing was stored, because the shards of these records have reached their limits for now.
    Throttled(String),
    /// Nothing was stored, and a person must act: credentials, the stream, its key, a permission.
    Held(String),
    /// Nothing was stored, because the call is invalid: one bad record, or the stream's name.
    Invalid(String),
}

/// The result of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// The stream has stored the record.
    Stored {
        /// The id of the shard, if the service names it.
        shard: Option<Arc<str>>,
    },
    /// The shard has reached its limit for now.
    Throttled,
    /// Not stored, for another reason.
    Failed {
        /// The service's code.
        code: String,
    },
    /// Unknown whether the record was stored.
    Unknown {
        /// The service's code.
        code: String,
    },
    /// Not stored, and the service will never take this record.
    Refused {
        /// The reason, for the dead letter.
        reason: String,
    },
}

impl Answer {
    /// The answer with these results to `sent` records, of which the service says that `failed` were not stored. Results that
    /// do not add up count as no response: absence never means success.
    #[must_use]
    pub fn each(sent: usize, failed: Option<u64>, results: Vec<RecordResult>) -> Self {
        if results.len() != sent {
            return Self::Unknown(format!("{sent} records were sent and {} results came back", results.len()));
        }
        let not_stored = results.iter().filter(|result| !matches!(result, RecordResult::Stored { .. })).count();
        if let Some(failed) = failed.filter(|failed| *failed != not_stored as u64) {
            return Self::Unknown(format!("{failed} records are said to have failed, and {not_stored} results say so"));
        }
        Self::Each(results)
    }
}
