//! TLS of the listener for events: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, session tickets, client certificates if
//! configured; and the reload of its files after they change.
//!
//! The cipher suites are rustls's defaults: AES-GCM and ChaCha20-Poly1305 with forward secrecy only.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ProducesTickets, VerifierBuilderError, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::{
    config::{ClientAuth, TlsConfig},
    durable,
    limits::CERTIFICATE_LOOK_INTERVAL,
};

/// Age at which a self-signed certificate is replaced.
/// Why: clients begin to refuse server certificates that are valid for more than 398 days.
const SELF_SIGNED_AGE_MAX: Duration = Duration::from_secs(300 * 86_400);

/// Validity of a self-signed certificate, in days.
const SELF_SIGNED_DAYS: i64 = 398;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A file holds no PEM of the needed kind.
    #[error("{path}: {reason}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and private key cannot be used for a server.
    #[error("the certificate and the private key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities of client certificates cannot be used.
    #[error("{path}: cannot be asked for client certificates: {reason}", path = path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: VerifierBuilderError,
    },
    /// The self-signed certificate could not be created.
    #[error("a self-signed certificate could not be made: {0}")]
    Making(#[from] rcgen::Error),
    /// No certificate is configured, and the listener is not on a loopback address.
    #[error(
        "{0} is not a loopback address and no [tls] certificate is configured: configure one, or plaintext = true behind a load balancer"
    )]
    NoCertificate(IpAddr),
}

/// The TLS configuration of a server, and its files.
#[derive(Debug)]
pub struct Tls {
    /// The configuration for new connections.
    pub current: Arc<ArcSwap<ServerConfig>>,
    /// The self-signed certificate, if one is used.
    pub self_signed: Option<PathBuf>,
    files: Files,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: Option<PathBuf>,
    client_auth: ClientAuth,
    /// Kept when the files change, so that returning clients can still skip the key exchange.
    tickets: Arc<dyn ProducesTickets>,
}

impl Tls {
    /// Loads the configured certificate, or, for a loopback listener without one, a self-signed pair in `folder`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(config: &TlsConfig, folder: &Path, listen: IpAddr) -> Result<Self, TlsError> {
        let (certificate, private_key, self_signed) = match (&config.certificate, &config.private_key) {
            (Some(certificate), Some(private_key)) => (certificate.clone(), private_key.clone(), None),
            _ if listen.is_loopback() => {
                let (certificate, private_key) = self_signed(folder)?;
                (certificate.clone(), private_key, Some(certificate))
            }
            _ => return Err(TlsError::NoCertificate(listen)),
        };
        let files = Files {
            certificate,
            private_key,
            client_ca: config.client_ca.clone(),
            client_auth: config.client_auth,
            tickets: ring::Ticketer::new()?,
        };
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(files.server()?)), self_signed, files })
    }

    /// Reads the files again. Open connections do not change.
    ///
    /// # Errors
    /// See [`TlsError`]; the previous configuration stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(self.files.server()?));
        Ok(())
    }

    /// Reads the files again when they have changed and have then been unchanged for one check, because certificate and key
    /// are seldom replaced in one step. Never ends.
    pub async fn watch(&self, reloads: Counter, failures: Counter) {
        let mut in_force = self.files.stamps();
        let mut last = in_force;
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK_INTERVAL).await;
            let now = self.files.stamps();
            if now != in_force && now == last {
                in_force = now;
                match self.reload() {
                    Ok(()) => {
                        reloads.inc();
                        tracing::info!(certificate = %self.files.certificate.display(), "the certificate has changed and is in use");
                    }
                    Err(error) => {
                        failures.inc();
                        tracing::error!(%error, "the certificate has changed and cannot be used; the old one stays in use");
                    }
                }
            }
            last = now;
        }
    }
}

/// Changes when a file is replaced or written: its modification time, its size, and its identity.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Files {
    fn server(&self) -> Result<ServerConfig, TlsError> {
        let (chain, key) = read_pair(&self.certificate, &self.private_key)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let unusable = |reason| TlsError::ClientCa { path: path.clone(), reason };
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match self.client_auth {
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                    ClientAuth::Required => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let mut server = builder.with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets let a returning client skip the key exchange without state on the server. If client certificates are
        // configured, there are no tickets, because a ticket would stay valid after its authority is removed.
        if self.client_ca.is_none() {
            server.ticketer = self.tickets.clone();
        } else {
            server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok(server)
    }

    fn stamps(&self) -> [Stamp; 3] {
        let stamp = |path: &PathBuf| {
            let of = |file: fs::Metadata| (file.mtime(), file.mtime_nsec(), file.size(), file.ino());
            fs::metadata(path).ok().map(of)
        };
        [stamp(&self.certificate), stamp(&self.private_key), self.client_ca.as_ref().and_then(stamp)]
    }
}

fn read_pair(certificate: &Path, private_key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(private_key).map_err(|error| pem(private_key, error.to_string()))?;
    Ok((chain, key))
}

/// Certificate and key that match, or the error.
fn pair(certificate: &Path, private_key: &Path) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = read_pair(certificate, private_key)?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| pem(path, error.to_string()))?;
    if chain.is_empty() { Err(pem(path, "holds no certificate".into())) } else { Ok(chain) }
}

fn pem(path: &Path, reason: String) -> TlsError {
    TlsError::Pem { path: path.to_owned(), reason }
}

/// The pair in `folder`; created if it is missing or old.
fn self_signed(folder: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, private_key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let is_fresh = |path: &Path| {
        let made = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        made.and_then(|made| SystemTime::now().duration_since(made).ok()).is_some_and(|age| age < SELF_SIGNED_AGE_MAX)
    };
    // A crash may have left one file, or files of two pairs, and a disk may have lost their content.
    if is_fresh(&certificate) && is_fresh(&private_key) {
        match pair(&certificate, &private_key) {
            Ok(_) => return Ok((certificate, private_key)),
            Err(reason) => tracing::warn!(%reason, "the self-signed certificate cannot be used and is made anew"),
        }
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "Lakegate on this machine");
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let end = today.saturating_add(jiff::Span::new().days(SELF_SIGNED_DAYS));
    let date = |date: jiff::civil::Date| rcgen::date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8);
    (params.not_before, params.not_after) = (date(today), date(end));
    let key = rcgen::KeyPair::generate()?;
    let made = params.self_signed(&key)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    durable::make_folder(folder).map_err(at(folder))?;
    durable::replace_file(&private_key, key.serialize_pem().as_bytes()).map_err(at(&private_key))?;
    durable::replace_file(&certificate, made.pem().as_bytes()).map_err(at(&certificate))?;
    Ok((certificate, private_key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn on_loopback_a_pair_is_made_once_with_a_key_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        let certificate = tls.self_signed.unwrap();
        let first = fs::read(&certificate).unwrap();
        assert_eq!(fs::metadata(folder.path().join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        assert_eq!(fs::read(&certificate).unwrap(), first);
    }

    #[test]
    fn a_pair_that_a_crash_left_torn_or_mixed_is_made_anew() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        Tls::load(&TlsConfig::default(), other.path(), LOOPBACK).unwrap();
        let whole = ["cert.pem", "key.pem"].map(|name| fs::read(folder.path().join(name)).unwrap());
        let foreign = ["cert.pem", "key.pem"].map(|name| fs::read(other.path().join(name)).unwrap());
        for (name, whole, foreign) in [("cert.pem", &whole[0], &foreign[0]), ("key.pem", &whole[1], &foreign[1])] {
            for left in [&[][..], &whole[..whole.len() / 2], &vec![0; whole.len()], foreign, b"\xff\xfe"] {
                fs::write(folder.path().join(name), left).unwrap();
                Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
                assert_ne!(fs::read(folder.path().join(name)).unwrap(), left, "{name}");
            }
            fs::remove_file(folder.path().join(name)).unwrap();
            Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        }
    }

    #[test]
    fn elsewhere_a_certificate_is_demanded_and_a_bad_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let everywhere = "0.0.0.0".parse().unwrap();
        assert!(matches!(Tls::load(&TlsConfig::default(), folder.path(), everywhere), Err(TlsError::NoCertificate(_))));
        Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        let (certificate, private_key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let pair = |certificate: &Path, private_key: &Path| TlsConfig {
            certificate: Some(certificate.to_owned()),
            private_key: Some(private_key.to_owned()),
            ..TlsConfig::default()
        };
        assert!(Tls::load(&pair(&certificate, &private_key), folder.path(), everywhere).unwrap().self_signed.is_none());
        let error = Tls::load(&pair(&private_key, &private_key), folder.path(), everywhere).unwrap_err().to_string();
        assert!(error.contains("key.pem: holds no certificate"), "{error}");
        let error =
            Tls::load(&pair(&certificate, &folder.path().join("none")), folder.path(), everywhere).unwrap_err().to_string();
        assert!(error.contains("none: "), "{error}");
    }

    #[test]
    fn a_pair_that_cannot_be_used_leaves_the_old_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        let before = tls.current.load_full();
        let other = tempfile::tempdir().unwrap();
        Tls::load(&TlsConfig::default(), other.path(), LOOPBACK).unwrap();
        fs::copy(other.path().join("cert.pem"), folder.path().join("cert.pem")).unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("cannot be used"), "{error}");
        assert!(Arc::ptr_eq(&before, &tls.current.load_full()));
        fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current.load_full()));
    }
}
