//! The meaning of Firehose's own errors.

use crate::sink::{aws, stream::Answer};

/// Whether `code`, of a record or of a call, says that the quota of the delivery stream is used up. Firehose has one code for
/// this and for an outage: "If you continue to see the exception, throughput limits for the Firehose stream may have been
/// exceeded."
pub(super) fn is_throttling(code: &str) -> bool {
    matches!(code, "ServiceUnavailableException" | "LimitExceededException" | "ThrottlingException" | "Throttling" | "SlowDown")
}

/// The meaning of an error of a call: that of any service of AWS, except for the quota.
pub(super) fn read_error(code: Option<&str>, status: u16, message: &str) -> Answer {
    match aws::read_service_error(code, status, message) {
        Answer::Refused(said) | Answer::Unknown(said) if code.is_some_and(is_throttling) => Answer::Throttled(said),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_told_from_what_somebody_must_mend_and_from_what_is_unknown() {
        let said = |code: &str| format!("{code}: m");
        for (code, status) in
            [("ServiceUnavailableException", 503), ("LimitExceededException", 400), ("ThrottlingException", 400)]
        {
            assert_eq!(read_error(Some(code), status, "m"), Answer::Throttled(said(code)));
        }
        for code in [
            "ResourceNotFoundException",
            "InvalidKMSResourceException",
            "InvalidSourceException",
            "AccessDeniedException",
            "ExpiredTokenException",
            "UnrecognizedClientException",
        ] {
            assert_eq!(read_error(Some(code), 400, "m"), Answer::Held(said(code)));
        }
        for code in ["InvalidArgumentException", "ValidationException", "SerializationException"] {
            assert_eq!(read_error(Some(code), 400, "m"), Answer::Invalid(said(code)));
        }
        assert_eq!(read_error(Some("InternalFailure"), 500, "m"), Answer::Unknown(said("InternalFailure")));
        assert_eq!(read_error(None, 503, ""), Answer::Unknown("HTTP 503".into()), "a proxy's answer says nothing of the quota");
    }
}
