//! Errors as the client sees them: RFC 9457 `application/problem+json` with a stable code.
//!
//! Only this module assigns a status code to an error. A handler returns a [`Problem`]; the outermost layer
//! (`http/middleware.rs`) writes it, because the request id is known only there.

mod advice;
mod operator_errors;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    rate_headers,
    retry_after::{Wait, prolonged},
};
use crate::{
    auth::{AuthError, Denied},
    body_budget::BudgetUsedUp,
    decode::{BodyError, Encoding, InflateError},
    ingest::SubmissionError,
    outcome::shortened,
    rate_limit::RateExceeded,
};

/// What went wrong with a request as a whole.
#[derive(Clone, Debug)]
pub struct Problem {
    code: ProblemCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Further members as JSON: the counts and results of a request whose events all failed.
    members: Vec<(&'static str, String)>,
    /// The name of the key that was refused, for the log and the metrics.
    key: Option<Arc<str>>,
}

/// The problem codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemCode {
    /// The body is not JSON.
    UnreadableJson,
    /// The body is nested too deep.
    TooDeep,
    /// The body is not UTF-8.
    InvalidUtf8,
    /// The body holds no event.
    NoEvents,
    /// A batch that can be read in two ways: some events would be in no count.
    AmbiguousBatch,
    /// `Prefer` with an unknown value of `durability`, `answers` or `return`.
    InvalidPreference,
    /// The body cannot be inflated.
    BadEncoding,
    /// No key.
    MissingKey,
    /// The key is unknown.
    UnknownKey,
    /// The secret of the key has expired.
    KeyExpired,
    /// The key is disabled.
    KeyDisabled,
    /// The key is for web pages of other origins.
    OriginNotAllowed,
    /// The key is for clients that present a certificate.
    CertificateRequired,
    /// Nothing exists at this path.
    NotFound,
    /// The registry has no event of this name.
    UnknownEvent,
    /// The event has no such version.
    UnknownSchemaVersion,
    /// The path supports other methods.
    MethodNotAllowed,
    /// The head or the body did not arrive in time.
    RequestTimeout,
    /// The body has too many bytes.
    BodyTooLarge,
    /// The body inflates much further than events do.
    CompressionRatioTooHigh,
    /// The body has too many events.
    TooManyEvents,
    /// The address of a pixel is too long.
    QueryTooLong,
    /// Only for programs on the gateway's own machine.
    OperatorsOnly,
    /// The console, a web page, may change nothing.
    ChangesNotAllowed,
    /// The request for a repair of dead letters is invalid.
    InvalidRepair,
    /// The request for an erasure is invalid.
    InvalidErasure,
    /// The question of an operator is invalid.
    InvalidQuestion,
    /// The patch applies to none of the selected dead letters.
    PatchNotApplicable,
    /// Another `Content-Type` is needed.
    UnsupportedMediaType,
    /// Another `Content-Encoding` is needed.
    UnsupportedEncoding,
    /// Every event was rejected.
    AllRejected,
    /// The key or the address used up its rate.
    RateLimited,
    /// The key or the address has too many bytes of bodies in flight.
    BodyShareUsedUp,
    /// A fault of the gateway.
    InternalError,
    /// Too many requests in flight.
    Busy,
    /// The disk is full, or failed.
    StorageUnavailable,
    /// The events are spooled, but not delivered yet.
    NotDeliveredInTime,
    /// The gateway is shutting down.
    Stopping,
}

impl ProblemCode {
    /// All codes, for the documentation's test.
    pub const ALL: [Self; 38] = [
        Self::UnreadableJson,
        Self::TooDeep,
        Self::InvalidUtf8,
        Self::NoEvents,
        Self::AmbiguousBatch,
        Self::InvalidPreference,
        Self::BadEncoding,
        Self::MissingKey,
        Self::UnknownKey,
        Self::KeyExpired,
        Self::KeyDisabled,
        Self::OriginNotAllowed,
        Self::CertificateRequired,
        Self::NotFound,
        Self::UnknownEvent,
        Self::UnknownSchemaVersion,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::CompressionRatioTooHigh,
        Self::TooManyEvents,
        Self::QueryTooLong,
        Self::OperatorsOnly,
        Self::ChangesNotAllowed,
        Self::InvalidRepair,
        Self::InvalidErasure,
        Self::InvalidQuestion,
        Self::PatchNotApplicable,
        Self::UnsupportedMediaType,
        Self::UnsupportedEncoding,
        Self::AllRejected,
        Self::RateLimited,
        Self::BodyShareUsedUp,
        Self::InternalError,
        Self::Busy,
        Self::StorageUnavailable,
        Self::NotDeliveredInTime,
        Self::Stopping,
    ];

    /// The code as written in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }

    /// How long a client waits before it sends the request again, where there is no better estimate. The problems with the
    /// status 503 or 429 have one.
    pub(super) fn wait(self) -> Option<Wait> {
        match self {
            Self::Busy | Self::BodyShareUsedUp | Self::Stopping | Self::RateLimited => Some(Wait::Soon),
            Self::NotDeliveredInTime => Some(Wait::Shortly),
            Self::StorageUnavailable => Some(Wait::Storage),
            _ => None,
        }
    }

    /// The HTTP status, the stable code, and the title.
    #[must_use]
    pub fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::UnreadableJson => (S::BAD_REQUEST, "unreadable_json", "The body is not JSON"),
            Self::TooDeep => (S::BAD_REQUEST, "too_deep", "The body is nested too deep"),
            Self::InvalidUtf8 => (S::BAD_REQUEST, "invalid_utf8", "The body is not UTF-8"),
            Self::NoEvents => (S::BAD_REQUEST, "no_events", "The body holds no event"),
            Self::AmbiguousBatch => (S::BAD_REQUEST, "ambiguous_batch", "The batch can be read in two ways"),
            Self::InvalidPreference => (S::BAD_REQUEST, "invalid_preference", "The preference is not known"),
            Self::BadEncoding => (S::BAD_REQUEST, "bad_encoding", "The body cannot be decompressed"),
            Self::MissingKey => (S::UNAUTHORIZED, "missing_key", "A key is needed"),
            Self::UnknownKey => (S::UNAUTHORIZED, "unknown_key", "The key is not known"),
            Self::KeyExpired => (S::UNAUTHORIZED, "key_expired", "The secret of the key has expired"),
            Self::KeyDisabled => (S::FORBIDDEN, "key_disabled", "The key is disabled"),
            Self::OriginNotAllowed => (S::FORBIDDEN, "origin_not_allowed", "The key is not for this web page"),
            Self::CertificateRequired => (S::FORBIDDEN, "certificate_required", "The key wants a client certificate"),
            Self::NotFound => (S::NOT_FOUND, "not_found", "There is nothing here"),
            Self::UnknownEvent => (S::NOT_FOUND, "unknown_event", "No such event"),
            Self::UnknownSchemaVersion => (S::NOT_FOUND, "unknown_schema_version", "No such version"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed", "Another method is needed"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "request_timeout", "The request took too long"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
            Self::CompressionRatioTooHigh => (S::PAYLOAD_TOO_LARGE, "compression_ratio_too_high", "The body inflates too far"),
            Self::TooManyEvents => (S::PAYLOAD_TOO_LARGE, "too_many_events", "Too many events"),
            Self::QueryTooLong => (S::URI_TOO_LONG, "query_too_long", "The address is too long"),
            Self::OperatorsOnly => (S::FORBIDDEN, "operators_only", "Only for operators on this machine"),
            Self::ChangesNotAllowed => (S::FORBIDDEN, "changes_not_allowed", "The console may change nothing"),
            Self::InvalidRepair => (S::BAD_REQUEST, "invalid_repair", "The repair is not understood"),
            Self::InvalidErasure => (S::BAD_REQUEST, "invalid_erasure", "The erasure is not understood"),
            Self::InvalidQuestion => (S::BAD_REQUEST, "invalid_question", "The question is not understood"),
            Self::PatchNotApplicable => (S::UNPROCESSABLE_ENTITY, "patch_not_applicable", "The patch fits no letter"),
            Self::UnsupportedMediaType => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Another Content-Type is needed"),
            Self::UnsupportedEncoding => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", "Another Content-Encoding is needed")
            }
            Self::AllRejected => (S::UNPROCESSABLE_ENTITY, "all_rejected", "Every event was rejected"),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited", "Too much from this key or address"),
            Self::BodyShareUsedUp => (S::TOO_MANY_REQUESTS, "body_share_used_up", "Too much at once from this key or address"),
            Self::InternalError => (S::INTERNAL_SERVER_ERROR, "internal_error", "The gateway failed"),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", "Too much at this moment"),
            Self::StorageUnavailable => (S::SERVICE_UNAVAILABLE, "storage_unavailable", "Nothing can be stored"),
            Self::NotDeliveredInTime => (S::SERVICE_UNAVAILABLE, "not_delivered_in_time", "Not delivered yet"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "The gateway is stopping"),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
}

impl Problem {
    /// A problem. `detail` is for a person.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let problem = Self { code, detail: shortened(detail.into()), headers: Vec::new(), members: Vec::new(), key: None };
        match (code.wait(), code.parts().0) {
            (Some(wait), _) => problem.wait(wait),
            // Basic is not offered, because a browser would ask the visitor of a page for a password.
            (None, StatusCode::UNAUTHORIZED) => problem.header(header::WWW_AUTHENTICATE, "Bearer realm=\"lakegate\""),
            (None, _) => problem,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn may_be_repeated(code: ProblemCode) -> bool {
        let (status, ..) = code.parts();
        status.is_server_error()
            || matches!(code, ProblemCode::RequestTimeout | ProblemCode::RateLimited | ProblemCode::BodyShareUsedUp)
    }

    /// Whether a refusal with `code` is logged for operators: bad keys, and paths and names that do not exist.
    #[must_use]
    pub fn is_logged(code: ProblemCode) -> bool {
        matches!(code.parts().0, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
    }

    /// Whether `code` refuses a request as a whole, because of the request or of its rate. Rejected events are counted as events.
    #[must_use]
    pub fn is_refusal(code: ProblemCode) -> bool {
        code.parts().0.is_client_error() && code != ProblemCode::AllRejected
    }

    /// With the name of the key that sent the request.
    #[must_use]
    pub(super) fn of_key(mut self, name: &Arc<str>) -> Self {
        self.key.get_or_insert_with(|| name.clone());
        self
    }

    /// The code of the problem.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// The name of the key that was refused, if it is known.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<str>> {
        self.key.as_ref()
    }

    /// Sets `Retry-After` for a cause, with its random part.
    #[must_use]
    pub(super) fn wait(self, wait: Wait) -> Self {
        self.retry_after(Duration::from_secs(wait.seconds()))
    }

    /// Sets `Retry-After`, in whole seconds, at least 1.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
        self.headers.retain(|(name, _)| *name != header::RETRY_AFTER);
        self.headers.push((header::RETRY_AFTER, seconds.into()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Adds headers.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers.into_iter().filter_map(|(name, value)| Some((name?, value))));
        self
    }

    /// Adds a member whose value is JSON.
    #[must_use]
    pub fn member(mut self, name: &'static str, json: String) -> Self {
        self.members.push((name, json));
        self
    }

    /// Writes the whole answer.
    #[must_use]
    pub fn write(&self, request_id: &str) -> Response {
        let (status, code, title) = self.code.parts();
        let document = Document {
            r#type: format!("/errors#{code}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            code,
            request_id,
        };
        let mut body = serde_json::to_string(&document).unwrap_or_default();
        for (name, json) in &self.members {
            body.pop();
            body.extend([",\"", name, "\":", json, "}"]);
        }
        let mut response = (status, Body::from(body)).into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl IntoResponse for Problem {
    /// An empty answer with the problem in its extensions, for the outermost layer to write.
    fn into_response(self) -> Response {
        let mut response = self.code.parts().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::MissingKey => ProblemCode::MissingKey,
            AuthError::UnknownKey => ProblemCode::UnknownKey,
            AuthError::KeyExpired => ProblemCode::KeyExpired,
            AuthError::KeyDisabled => ProblemCode::KeyDisabled,
            AuthError::CertificateMissing => ProblemCode::CertificateRequired,
            AuthError::OriginNotAllowed | AuthError::OriginMissing => ProblemCode::OriginNotAllowed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Denied<'_>> for Problem {
    fn from(Denied { error, secret }: Denied<'_>) -> Self {
        Self { key: secret.map(|secret| secret.source.name.clone()), ..error.into() }
    }
}

impl From<RateExceeded> for Problem {
    fn from(error: RateExceeded) -> Self {
        let violated = format!("[\"{}\"]", error.policy.as_str());
        let problem = Self::new(ProblemCode::RateLimited, error.to_string()).retry_after(prolonged(error.retry_after));
        problem.headers(rate_headers::of(&error)).member("violated-policies", violated)
    }
}

impl From<BudgetUsedUp> for Problem {
    fn from(error: BudgetUsedUp) -> Self {
        match error {
            BudgetUsedUp::Whole => Self::new(ProblemCode::Busy, error.to_string()),
            BudgetUsedUp::Share { owner, .. } => {
                let share = format!("\"{}\"", owner.as_str());
                Self::new(ProblemCode::BodyShareUsedUp, error.to_string()).member("share", share)
            }
        }
    }
}

impl From<SubmissionError> for Problem {
    fn from(error: SubmissionError) -> Self {
        let code = match &error {
            SubmissionError::Inflate(InflateError::TooLarge) => ProblemCode::BodyTooLarge,
            SubmissionError::Inflate(InflateError::RatioTooHigh(_)) => ProblemCode::CompressionRatioTooHigh,
            SubmissionError::Inflate(_) => ProblemCode::BadEncoding,
            SubmissionError::Body(BodyError::Unreadable(..) | BodyError::LooksLike(_) | BodyError::NotEvents(_)) => {
                ProblemCode::UnreadableJson
            }
            SubmissionError::Body(BodyError::TooDeep(_)) => ProblemCode::TooDeep,
            SubmissionError::Body(BodyError::InvalidUtf8(_) | BodyError::OtherEncoding(_)) => ProblemCode::InvalidUtf8,
            SubmissionError::Body(BodyError::NoEvents) => ProblemCode::NoEvents,
            SubmissionError::Body(BodyError::AmbiguousBatch(_)) => ProblemCode::AmbiguousBatch,
            SubmissionError::Body(BodyError::TooManyEvents) => ProblemCode::TooManyEvents,
            SubmissionError::Memory(used_up) => return (*used_up).into(),
            SubmissionError::Turn(_) => ProblemCode::Busy,
            SubmissionError::Rate(exceeded) => return (*exceeded).into(),
        };
        Self::new(code, error.to_string())
    }
}

/// The problem for a `Content-Encoding` that is not accepted.
#[must_use]
pub fn unsupported_encoding() -> Problem {
    let detail = format!("the Content-Encoding is not supported; {} are, one at a time", Encoding::ACCEPTED);
    Problem::new(ProblemCode::UnsupportedEncoding, detail).header(header::ACCEPT_ENCODING, Encoding::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_documented() {
        let contract = include_str!("../../openapi.yaml");
        let mut seen = std::collections::HashSet::new();
        for problem in ProblemCode::ALL {
            let (status, code, _) = problem.parts();
            assert!(seen.insert(code), "{code} twice");
            assert!(contract.contains(&format!("| {} | `{code}` |", status.as_u16())), "openapi.yaml lacks {status} {code}");
        }
    }

    #[test]
    fn a_refusal_for_the_moment_says_when_to_come_back() {
        for code in ProblemCode::ALL {
            let is_for_now = matches!(code.parts().0, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(code.wait().is_some(), is_for_now, "{}", code.as_str());
            assert_eq!(Problem::new(code, "x").write("id").headers().contains_key(header::RETRY_AFTER), is_for_now);
        }
    }
}
