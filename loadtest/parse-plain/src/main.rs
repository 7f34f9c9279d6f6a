//! What `parse` of `lakegate-bench` is, with `serde_json` as it is without the feature `preserve_order`: axum reads a body into a
//! `serde_json::Value`, and answers 204. On a free port of loopback, until standard input ends.

use std::{
    error::Error,
    io::{self, Read, Write},
    net::Ipv4Addr,
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post, serve::ListenerExt};
use serde_json::Value;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    std::thread::spawn(|| {
        // Whoever started it holds the other end.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let app = Router::new().route("/v1/events", post(parse));
    axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), app).await?;
    Ok(())
}

async fn parse(body: Bytes) -> StatusCode {
    match serde_json::from_slice::<Value>(&body) {
        Ok(value) => {
            std::hint::black_box(value);
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
