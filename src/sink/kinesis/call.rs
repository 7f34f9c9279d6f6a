//! What one PutRecords call came to, and how an error is read.

use std::sync::Arc;

/// What one call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every record has a result of its own, in order.
    Each(Vec<RecordResult>),
    /// Nobody knows what was stored: no answer, a broken one, one with another number of records, a failure inside.
    Unknown(String),
    /// Nothing was stored, and trying again later will do.
    Refused(String),
    /// Nothing was stored, and somebody has to do something: credentials, the stream, its key, a permission.
    Held(String),
    /// Nothing was stored, because something in the call is not valid: one bad record, or the stream's name.
    Invalid(String),
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// The stream has it.
    Stored {
        /// Where.
        shard: Arc<str>,
    },
    /// Its shard takes no more at the moment.
    Throttled,
    /// It was not stored; any other reason.
    Failed {
        /// The service's code.
        code: String,
    },
}

/// What an error of the service means. `code` is its name without the namespace, where there is one; `status` that of the
/// HTTP response.
#[must_use]
pub fn read_service_error(code: Option<&str>, status: u16, message: &str) -> Answer {
    let said = match code {
        Some(code) if message.is_empty() => code.to_owned(),
        Some(code) => format!("{code}: {message}"),
        None => format!("HTTP {status}"),
    };
    match code.unwrap_or_default() {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestThrottled"
        | "KMSThrottlingException"
        | "SlowDown" => Answer::Refused(said),
        "InvalidArgumentException" | "ValidationException" | "SerializationException" => Answer::Invalid(said),
        "InternalFailure" | "InternalFailureException" | "InternalServerError" | "ServiceUnavailable" => Answer::Unknown(said),
        _ if status == 413 => Answer::Invalid(said),
        _ if (400..500).contains(&status) && status != 408 && status != 429 => Answer::Held(said),
        _ if status == 429 => Answer::Refused(said),
        _ => Answer::Unknown(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_told_apart_by_what_it_asks_for() {
        let read = |code, status| read_service_error(code, status, "m");
        let said = |code: &str| format!("{code}: m");
        for code in ["ProvisionedThroughputExceededException", "KMSThrottlingException", "LimitExceededException"] {
            assert_eq!(read(Some(code), 400), Answer::Refused(said(code)));
        }
        for code in ["ResourceNotFoundException", "AccessDeniedException", "ExpiredTokenException", "KMSDisabledException"] {
            assert_eq!(read(Some(code), 400), Answer::Held(said(code)));
        }
        for code in ["InvalidArgumentException", "ValidationException"] {
            assert_eq!(read(Some(code), 400), Answer::Invalid(said(code)));
        }
        assert_eq!(read(Some("InternalFailure"), 500), Answer::Unknown(said("InternalFailure")));
        assert_eq!(read(None, 503), Answer::Unknown("HTTP 503".into()));
        assert_eq!(read(None, 200), Answer::Unknown("HTTP 200".into()), "a body that cannot be read is no success");
        assert_eq!(read(None, 403), Answer::Held("HTTP 403".into()), "a proxy's answer");
        assert_eq!(read(None, 413), Answer::Invalid("HTTP 413".into()));
    }
}
