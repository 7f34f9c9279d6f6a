//! One call through the SDK: it resolves the endpoint, signs, sends and parses errors; the sinks write the records and read the
//! results, because the SDK copies every event and creates two strings for each result.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextMut},
        orchestrator::{HttpRequest, HttpResponse},
        result::SdkError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag, error::metadata::ProvideErrorMetadata};
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Limited};

use crate::{limits::AWS_ANSWER_BYTES_MAX, sink::stream::Answer};

/// Replaces the body of a request that the SDK wrote without records.
pub(in crate::sink) fn set_body(request: &mut HttpRequest, body: &Bytes) {
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = body.clone().into();
}

/// The body of a successful response, taken before the SDK reads it.
#[derive(Clone, Debug)]
pub(in crate::sink) struct GoodAnswer {
    taken: Arc<Mutex<Option<SdkBody>>>,
    /// What the SDK reads instead; the result is ignored.
    instead: &'static str,
}

impl GoodAnswer {
    /// Nothing taken yet. `instead` is a response without results, as the SDK can read it.
    pub(in crate::sink) fn new(instead: &'static str) -> Self {
        Self { taken: Arc::default(), instead }
    }

    async fn read(&self) -> Result<Bytes, String> {
        let body = self.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let body = Limited::new(body.ok_or("there was no answer")?, AWS_ANSWER_BYTES_MAX).collect().await;
        body.map(Collected::to_bytes).map_err(|error| format!("the answer broke off: {error}"))
    }
}

impl Intercept for GoodAnswer {
    fn name(&self) -> &'static str {
        "GoodAnswer"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let body = std::mem::replace(response.body_mut(), SdkBody::from(self.instead));
            *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
        Ok(())
    }
}

/// The answer to a call that was `sent`: `results` reads the body of a successful response, `error` the code, the status and
/// the message of an error of the service.
pub(in crate::sink) async fn read_answer<O, E>(
    sent: Result<O, SdkError<E, HttpResponse>>,
    answer: &GoodAnswer,
    timeout: Duration,
    results: impl FnOnce(&[u8]) -> Answer,
    error: fn(Option<&str>, u16, &str) -> Answer,
) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match sent {
        Ok(_) => match tokio::time::timeout(timeout, answer.read()).await {
            Ok(Ok(body)) => results(&body),
            Ok(Err(reason)) => Answer::Unknown(reason),
            Err(_) => Answer::Unknown("the answer did not end in time".into()),
        },
        Err(failure) => read_error(&failure, error),
    }
}

/// The meaning of a call's error; `service_error` reads the code, the status and the message of an error of the service.
pub(in crate::sink) fn read_error<E>(
    error: &SdkError<E, HttpResponse>,
    service_error: fn(Option<&str>, u16, &str) -> Answer,
) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => Answer::Held(in_words(error)),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            // With status 2xx the service reported no error: the SDK could not read the body.
            let code = service.err().code().filter(|_| status >= 300);
            service_error(code, status, service.err().message().unwrap_or_default())
        }
        SdkError::DispatchFailure(dispatch) => {
            let has_no_connection = dispatch.as_connector_error().is_some_and(|error| error.is_timeout() || is_connect(error));
            let met_the_network = dispatch.is_io() || causes(error).any(<dyn std::error::Error>::is::<hyper::Error>);
            match (has_no_connection, met_the_network) {
                (true, _) => Answer::Refused(in_words(error)),
                (false, true) => Answer::Unknown(in_words(error)),
                // The request was not sent: no credentials, no region.
                (false, false) => Answer::Held(in_words(error)),
            }
        }
        _ => Answer::Unknown(in_words(error)),
    }
}

/// Whether no connection could be made. The connector's only own time-out is that of connecting.
fn is_connect(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper_util::client::legacy::Error::is_connect))
}

fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The error with its causes, each once, without causes that only name layers of the SDK.
pub(in crate::sink) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = String::new();
    for cause in causes(error).map(ToString::to_string) {
        let is_layer = matches!(&*cause, "dispatch failure" | "service error" | "io error" | "other" | "timeout");
        if !is_layer && !words.contains(&cause) {
            words.push_str(if words.is_empty() { "" } else { ": " });
            words.push_str(&cause);
        }
    }
    words
}
