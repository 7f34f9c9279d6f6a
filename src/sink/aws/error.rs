//! The meaning of an error that a service of AWS reports.

use crate::sink::stream::Answer;

/// The meaning of an error of the service. `code` is its name without the namespace, if there is one; `status` is the HTTP
/// status.
#[must_use]
pub(in crate::sink) fn read_service_error(code: Option<&str>, status: u16, message: &str) -> Answer {
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
