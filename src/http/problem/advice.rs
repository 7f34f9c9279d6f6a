//! What a person does about each problem: a column of `ERRORS.md` and of the page `/errors`.

use super::ProblemCode;

impl ProblemCode {
    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::UnreadableJson => {
                "Read `detail`: it names the byte, and what the body looks like. Send one object, an array, or lines."
            }
            Self::TooDeep => "Send flatter events: at most 64 levels.",
            Self::InvalidUtf8 => "Write the body in UTF-8, the only encoding of JSON.",
            Self::NoEvents => "Send at least one event; check that the body is not lost on its way.",
            Self::AmbiguousBatch => "Put all events into one array `events`, and nothing that looks like an event beside it.",
            Self::InvalidPreference => "Correct the value in `Prefer`, or leave the header out.",
            Self::BadEncoding => "Compress the body as `Content-Encoding` says, or leave that header out.",
            Self::MissingKey => "Send the key in one of the places that `detail` lists.",
            Self::UnknownKey => "Compare the key with the one you were given; the operator finds its name in `[[keys]]`.",
            Self::KeyExpired => "Use the new secret of the key; the operator makes one with `lakegate keys rotate`.",
            Self::KeyDisabled => "Ask the operator: the key has `enabled = false`.",
            Self::OriginNotAllowed => {
                "Add the page's origin to `allowed_origins` of the key; a service needs a key of the kind `server`."
            }
            Self::CertificateRequired => "Connect with a client certificate that the gateway's `client_ca` has signed.",
            Self::NotFound => "Correct the path: `detail` names the nearest. Events go to `POST /v1/events`.",
            Self::UnknownEvent => "Correct the name; `GET /v1/schemas` lists all.",
            Self::UnknownSchemaVersion => "Correct the version; `GET /v1/schemas` lists all.",
            Self::MethodNotAllowed => "Use a method that `Allow` names.",
            Self::RequestTimeout => "Send the request again, faster: in smaller batches, or over a better link.",
            Self::BodyTooLarge => "Send several requests, or compress the body.",
            Self::CompressionRatioTooHigh => "Send fewer events in one body; real events do not compress so far.",
            Self::TooManyEvents => "Send several requests.",
            Self::QueryTooLong => "Shorten the event, or send it with `POST /v1/events`.",
            Self::OperatorsOnly => "Call the listener for operators from the gateway's own machine, by its address.",
            Self::ChangesNotAllowed => "Set `allow_changes = true` in `[admin]`, or use `lakegate dead-letters`.",
            Self::InvalidRepair => "Correct the request: `detail` says which part.",
            Self::InvalidErasure => "Correct the request: `detail` says which part.",
            Self::InvalidQuestion => "Correct the parameter that `detail` names.",
            Self::PatchNotApplicable => "Correct the patch, or select other dead letters.",
            Self::UnsupportedMediaType => "Set one of the content types that `Accept` of the answer lists.",
            Self::UnsupportedEncoding => "Use one of the encodings that `Accept-Encoding` of the answer lists.",
            Self::AllRejected => "Correct the events: `results` says what is wrong with each.",
            Self::RateLimited => "Send it again after `Retry-After`; the operator sets the rates of a key.",
            Self::BodyShareUsedUp => "Wait for answers before you send more, then send it again.",
            Self::InternalError => "Send it again, and report the bug with the `request_id`.",
            Self::Busy => "Send it again after `Retry-After`.",
            Self::StorageUnavailable => "Send it again after `Retry-After`; the operator finds the reason in `/readyz`.",
            Self::NotDeliveredInTime => "Nothing is lost. Send it again to learn whether it is delivered.",
            Self::Stopping => "Send it again after `Retry-After`, to this gateway or another one.",
        }
    }
}
