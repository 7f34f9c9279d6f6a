//! The reference servers: what anyone would write first with axum, with nothing of the gateway in it but the versions of
//! its crates and, for TLS, its rustls settings.

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    http::StatusCode,
    routing::post,
    serve::{Listener, ListenerExt},
};
use clap::Args;
use lakegate::config::TlsConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What a reference server does with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferenceKind {
    /// Reads it.
    Bare,
    /// Reads it into a `serde_json::Value`.
    Parse,
}

/// How it is reached.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// TLS, with the pair in this folder, made where it is missing.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

/// The line on standard output that says where it listens.
pub(crate) const LISTENING: &str = "listening on ";

/// Serves until standard input ends.
#[allow(clippy::print_stdout, reason = "who started it reads the address there")]
pub(crate) fn serve(kind: ReferenceKind, args: &ReferenceArgs) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        // Whoever started it holds the other end, and lets go of it by ending, however it ends.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let app = match kind {
        ReferenceKind::Bare => Router::new().route("/v1/events", post(bare)),
        ReferenceKind::Parse => Router::new().route("/v1/events", post(parse)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind(SocketAddr::new(loopback, 0)).await.context("no port is free")?;
        let tls =
            args.tls.as_ref().map(|folder| lakegate::tls::Tls::load(&TlsConfig::default(), folder, loopback)).transpose()?;
        println!("{LISTENING}{}", listener.local_addr()?);
        match tls {
            None => axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), app).await?,
            Some(tls) => axum::serve(TlsListener::new(listener, TlsAcceptor::from(tls.current.load_full())), app).await?,
        }
        Ok(())
    })
}

async fn bare(body: Bytes) -> StatusCode {
    std::hint::black_box(body);
    StatusCode::NO_CONTENT
}

async fn parse(body: Bytes) -> StatusCode {
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) => {
            std::hint::black_box(value);
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

/// Accepts connections whose handshake is done.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    fn new(listener: TcpListener, tls: TlsAcceptor) -> Self {
        let address = listener.local_addr().unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let (sender, ready) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let Ok((stream, peer)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Self { ready, address }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
