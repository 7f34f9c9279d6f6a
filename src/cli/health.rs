//! `lakegate health`: asks the gateway on this machine for its health, through the listener for events.
//!
//! For health checks of containers and supervisors, which then need no other program.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::output_format::print;
use crate::{
    config::{Config, ProxyConfig},
    limits::{HEALTH_ANSWER_BYTES_MAX, HEALTH_TIMEOUT},
};

/// What a trusted proxy puts before a health check of its own: PROXY protocol, version 2, `LOCAL`, no addresses.
const PROXY_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Options of `lakegate health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Address or host name, and port, of the listener for events [default: as configured].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The gateway serves HTTP without TLS.
    #[arg(long)]
    plaintext: bool,
    /// Ask whether the process is alive (/healthz), not whether it is ready for traffic (/readyz).
    #[arg(long)]
    live: bool,
}

/// Sends the request, and prints the answer.
pub(super) fn run(args: &HealthArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let listen = args.listen.clone().unwrap_or_else(|| reachable(config.http.listen).to_string());
    if listen.ends_with(":0") {
        bail!("the port of {listen} is chosen at each start; name the one in use with --listen");
    }
    let plaintext = args.plaintext || config.http.plaintext;
    let (path, well) = if args.live { ("/healthz", "alive") } else { ("/readyz", "ready") };
    let asked = ask(&listen, plaintext, path, &config.proxy);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let Ok(answered) = runtime.block_on(async { tokio::time::timeout(HEALTH_TIMEOUT, asked).await }) else {
        bail!("{listen} did not answer within {} s", HEALTH_TIMEOUT.as_secs());
    };
    let (status, body) = answered?;
    let reasons = reasons(&body);
    if status == StatusCode::OK {
        print(format_args!("{well}{reasons}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(format_args!("not {well}: HTTP {status}{reasons}\n", status = status.as_u16()))?;
    Ok(ExitCode::FAILURE)
}

/// A listener on all addresses is called on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: &str, plaintext: bool, path: &str, proxy: &ProxyConfig) -> anyhow::Result<(StatusCode, Bytes)> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("nothing answers on {address}"))?;
    // With trusted = ["0.0.0.0/0"] this machine is a proxy too, and has to speak as one.
    let own = stream.local_addr()?.ip().to_canonical();
    if proxy.proxy_protocol && proxy.trusted.iter().any(|network| network.contains(&own)) {
        stream.write_all(PROXY_HEADER).await.with_context(|| format!("{address} takes nothing"))?;
    }
    if plaintext {
        return get(stream, address, path).await;
    }
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions()?;
    let tls = tls.dangerous().with_custom_certificate_verifier(Arc::new(Whoever)).with_no_client_auth();
    let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from("localhost")?, stream).await;
    get(stream.with_context(|| format!("no TLS on {address}"))?, address, path).await
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: &str,
    path: &str,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, address).body(Empty::<Bytes>::new())?;
    let (parts, body) = sender.send_request(request).await.with_context(|| format!("no HTTP on {address}"))?.into_parts();
    let body = Limited::new(body, HEALTH_ANSWER_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    connection.abort();
    Ok((parts.status, body))
}

/// The details in the answer: warnings of a ready gateway, or why it is not ready.
fn reasons(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    struct Answer {
        #[serde(default)]
        reasons: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        code: String,
        detail: String,
    }
    let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
    answer.reasons.iter().map(|Reason { code, detail }| format!("; {code}: {detail}")).collect()
}

/// Accepts every certificate: the request goes to this machine's own listener, holds no secret, and only asks whether the
/// gateway answers. A certificate for the public name would not match the address anyway.
#[derive(Debug)]
struct Whoever;

impl Whoever {
    fn provider() -> CryptoProvider {
        ring::default_provider()
    }
}

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &Self::provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &Self::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::provider().signature_verification_algorithms.supported_schemes()
    }
}
