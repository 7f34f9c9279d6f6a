//! TLS of the listener for events: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, session tickets.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::TlsConfig;

/// Age at which the certificate that the gateway made itself is made anew.
/// Why: clients begin to refuse server certificates that are valid for more than 398 days.
const SELF_SIGNED_AGE_MAX: Duration = Duration::from_secs(300 * 86_400);

/// Days for which a certificate that the gateway makes itself is valid.
const SELF_SIGNED_DAYS: i64 = 398;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
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
    /// Certificate and key do not make a server.
    #[error("the certificate and the private key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The certificate could not be made.
    #[error("a self-signed certificate could not be made: {0}")]
    Making(#[from] rcgen::Error),
    /// No certificate, and the listener can be reached from elsewhere.
    #[error(
        "{0} is not a loopback address and no [tls] certificate is configured: configure one, or plaintext = true behind a load balancer"
    )]
    NoCertificate(IpAddr),
}

/// A server's TLS, and what to say of it.
#[derive(Debug)]
pub struct Tls {
    /// For the listener.
    pub server: Arc<ServerConfig>,
    /// The certificate that the gateway made itself, where it did.
    pub self_signed: Option<PathBuf>,
}

/// The configured certificate, or, for a loopback listener without one, a self-signed pair in `folder`.
///
/// # Errors
/// See [`TlsError`].
pub fn load(config: &TlsConfig, folder: &Path, listen: IpAddr) -> Result<Tls, TlsError> {
    let (certificate, private_key, self_signed) = match (&config.certificate, &config.private_key) {
        (Some(certificate), Some(private_key)) => (certificate.clone(), private_key.clone(), None),
        _ if listen.is_loopback() => {
            let (certificate, private_key) = self_signed(folder)?;
            (certificate.clone(), private_key, Some(certificate))
        }
        _ => return Err(TlsError::NoCertificate(listen)),
    };
    Ok(Tls { server: Arc::new(server(&certificate, &private_key)?), self_signed })
}

fn server(certificate: &Path, private_key: &Path) -> Result<ServerConfig, TlsError> {
    let pem = |path: &Path, reason: String| TlsError::Pem { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| pem(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(pem(certificate, "holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_file(private_key).map_err(|error| pem(private_key, error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut server = builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets let a returning client skip the key exchange, and the server keeps nothing for it.
    server.ticketer = ring::Ticketer::new()?;
    Ok(server)
}

/// The pair in `folder`, made where it is missing or old.
fn self_signed(folder: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, private_key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let is_fresh = |path: &Path| {
        let made = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        made.and_then(|made| SystemTime::now().duration_since(made).ok()).is_some_and(|age| age < SELF_SIGNED_AGE_MAX)
    };
    if is_fresh(&certificate) && is_fresh(&private_key) {
        return Ok((certificate, private_key));
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
    fs::create_dir_all(folder).map_err(at(folder))?;
    write(&private_key, &key.serialize_pem(), 0o600).map_err(at(&private_key))?;
    write(&certificate, &made.pem(), 0o644).map_err(at(&certificate))?;
    Ok((certificate, private_key))
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn on_loopback_a_pair_is_made_once_with_a_key_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let tls = load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        let certificate = tls.self_signed.unwrap();
        let first = fs::read(&certificate).unwrap();
        assert_eq!(fs::metadata(folder.path().join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        assert_eq!(fs::read(&certificate).unwrap(), first);
    }

    #[test]
    fn elsewhere_a_certificate_is_demanded_and_a_bad_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let everywhere = "0.0.0.0".parse().unwrap();
        assert!(matches!(load(&TlsConfig::default(), folder.path(), everywhere), Err(TlsError::NoCertificate(_))));
        load(&TlsConfig::default(), folder.path(), LOOPBACK).unwrap();
        let (certificate, private_key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let pair = |certificate: &Path, private_key: &Path| TlsConfig {
            certificate: Some(certificate.to_owned()),
            private_key: Some(private_key.to_owned()),
        };
        assert!(load(&pair(&certificate, &private_key), folder.path(), everywhere).unwrap().self_signed.is_none());
        let error = load(&pair(&private_key, &private_key), folder.path(), everywhere).unwrap_err().to_string();
        assert!(error.contains("key.pem: holds no certificate"), "{error}");
        let error = load(&pair(&certificate, &folder.path().join("none")), folder.path(), everywhere).unwrap_err().to_string();
        assert!(error.contains("none: "), "{error}");
    }
}
