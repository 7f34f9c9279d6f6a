//! Asks a gateway for its metrics and its readiness, over HTTP: for `lakegate top`, and for the fleet of the console.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::Polled;
use crate::{limits::POLLED_ANSWER_BYTES_MAX, telemetry::Exposition};

/// The answer of the gateway whose listener for operators is at `authority`, host and port; the error is for a person.
pub(crate) async fn ask(authority: &str, within: Duration) -> Result<Polled, String> {
    let answered = timeout(within, figures(authority)).await;
    answered.unwrap_or_else(|_| Err(format!("{authority} did not answer within {} s", within.as_secs())))
}

async fn figures(authority: &str) -> Result<Polled, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("nothing answers on {authority}: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends when the sender is dropped.
    tokio::spawn(connection);
    let readiness = get(&mut sender, authority, "/readyz", &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]).await?;
    let readiness = serde_json::from_slice(&readiness)
        .map_err(|_| format!("{authority} is no gateway's listener for operators: its /readyz is not understood"))?;
    let metrics = get(&mut sender, authority, "/metrics", &[StatusCode::OK]).await?;
    let metrics = std::str::from_utf8(&metrics).map_err(|_| "its /metrics is not text".to_owned())?;
    let exposition = Exposition::parse(metrics).map_err(|error| error.to_string())?;
    Ok(Polled { at: Instant::now(), exposition, readiness })
}

async fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    authority: &str,
    path: &str,
    expected: &[StatusCode],
) -> Result<Bytes, String> {
    let request = Request::get(path).header(header::HOST, authority).body(Empty::new()).map_err(|error| error.to_string())?;
    let (parts, body) = sender.send_request(request).await.map_err(|error| format!("no HTTP: {error}"))?.into_parts();
    if !expected.contains(&parts.status) {
        return Err(format!("{authority} answers {path} with {}; is it a gateway's listener for operators?", parts.status));
    }
    let body = Limited::new(body, POLLED_ANSWER_BYTES_MAX).collect().await;
    body.map(Collected::to_bytes).map_err(|error| format!("{path}: {error}"))
}
