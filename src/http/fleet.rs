//! Asks another gateway of the fleet for its figures, as `lakegate top` does.
//!
//! Only the addresses of the configuration are asked, never one of a request, so that no page can make the gateway call anything.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    limits::{FLEET_ANSWER_BYTES_MAX, FLEET_POLL_TIMEOUT},
    overview::Polled,
    telemetry::Exposition,
};

/// The answer of the gateway at `http://host:port`; the error is for a person.
pub(super) async fn ask(gateway: &str) -> Result<Polled, String> {
    let within = timeout(FLEET_POLL_TIMEOUT, figures(gateway)).await;
    within.unwrap_or_else(|_| Err(format!("no answer within {} s", FLEET_POLL_TIMEOUT.as_secs())))
}

async fn figures(gateway: &str) -> Result<Polled, String> {
    let authority = gateway.strip_prefix("http://").unwrap_or(gateway);
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("nothing answers: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends when the sender is dropped.
    tokio::spawn(connection);
    let readiness = get(&mut sender, authority, "/readyz", &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]).await?;
    let readiness = serde_json::from_slice(&readiness).map_err(|_| "its /readyz is not understood".to_owned())?;
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
        return Err(format!("{path} answers {}; is it a listener for operators?", parts.status));
    }
    let body = Limited::new(body, FLEET_ANSWER_BYTES_MAX).collect().await;
    body.map(Collected::to_bytes).map_err(|error| format!("{path}: {error}"))
}
