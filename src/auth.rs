//! Who sends: the key of a request, and the source it names.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use sha2::{Digest, Sha256};

use crate::config::KeyConfig;

/// The key that works on loopback when none is configured.
pub const DEV_KEY: &str = "dev";

/// A key that may be known, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, which becomes the `source` of its events.
    pub name: Arc<str>,
    enabled: bool,
}

/// Why a request may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It brought no key.
    #[error("no key: send it as `Authorization: Bearer …`, `X-Api-Key: …` or `?key=…`")]
    MissingKey,
    /// The key is not one of ours.
    #[error("the key is not known")]
    UnknownKey,
    /// The key is ours, but switched off.
    #[error("the key is disabled")]
    KeyDisabled,
}

/// A gateway without keys must not be reachable from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a loopback address and no [[keys]] are configured: anyone could write into the lake; add a key or listen on 127.0.0.1"
)]
pub struct OpenToAll(IpAddr);

/// All keys, by the hash of their secret.
///
/// The look-up is by SHA-256 of what was sent, so its timing depends on a hash that an attacker cannot steer, and says
/// nothing about a secret.
#[derive(Debug)]
pub struct Keys {
    by_hash: HashMap<[u8; 32], Source>,
}

impl Keys {
    /// The configured keys; the key `dev` where there are none and `listen` is loopback.
    ///
    /// # Errors
    /// [`OpenToAll`] where there are none and it is not.
    pub fn new(configured: &[KeyConfig], listen: IpAddr) -> Result<Self, OpenToAll> {
        if configured.is_empty() {
            if !listen.is_loopback() {
                return Err(OpenToAll(listen));
            }
            let dev = Source { name: DEV_KEY.into(), enabled: true };
            return Ok(Self { by_hash: HashMap::from([(hash(DEV_KEY), dev)]) });
        }
        let entry = |key: &KeyConfig| {
            let mut hash = [0; 32];
            for (byte, digits) in hash.iter_mut().zip(key.secret_sha256.as_bytes().chunks(2)) {
                *byte = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
            }
            (hash, Source { name: key.name.as_str().into(), enabled: key.enabled })
        };
        Ok(Self { by_hash: configured.iter().map(entry).collect() })
    }

    /// The source of a request that brought `secret`.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn authenticate(&self, secret: Option<&str>) -> Result<&Source, AuthError> {
        let secret = secret.filter(|secret| !secret.is_empty()).ok_or(AuthError::MissingKey)?;
        let source = self.by_hash.get(&hash(secret)).ok_or(AuthError::UnknownKey)?;
        if source.enabled { Ok(source) } else { Err(AuthError::KeyDisabled) }
    }

    /// Every source there is.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.by_hash.values()
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn without_keys_only_dev_works_and_only_on_loopback() {
        let keys = Keys::new(&[], LOOPBACK).unwrap();
        assert_eq!(&*keys.authenticate(Some("dev")).unwrap().name, "dev");
        assert_eq!(keys.authenticate(Some("other")), Err(AuthError::UnknownKey));
        assert!(Keys::new(&[], "0.0.0.0".parse().unwrap()).is_err());
        assert!(Keys::new(&[], "::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_configured_key_is_known_by_its_hash_and_dev_is_gone() {
        // printf %s s3cret | sha256sum
        let hash = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
        let key = |name: &str, enabled| KeyConfig { name: name.into(), secret_sha256: hash.to_uppercase(), enabled };
        let keys = Keys::new(&[key("web", true)], "0.0.0.0".parse().unwrap()).unwrap();
        assert_eq!(&*keys.authenticate(Some("s3cret")).unwrap().name, "web");
        assert_eq!(keys.authenticate(Some("dev")), Err(AuthError::UnknownKey));
        assert_eq!(keys.authenticate(None), Err(AuthError::MissingKey));
        assert_eq!(keys.authenticate(Some("")), Err(AuthError::MissingKey));
        let off = Keys::new(&[key("web", false)], LOOPBACK).unwrap();
        assert_eq!(off.authenticate(Some("s3cret")), Err(AuthError::KeyDisabled));
    }
}
