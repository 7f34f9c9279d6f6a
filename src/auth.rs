//! Authentication: the key of a request, the source that the key names, and the permissions of that source.

mod event_names;
mod origins;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

use hashbrown::HashTable;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    config::{Answers, KeyConfig, KeyKind, NotAfter, RateLimitConfig, SecretConfig, secret_id},
    digest::sha256_hex,
    event::CreatedDays,
    key_shares::{KeyShare, Shares, WHOLE_PERCENT},
    limits::{BROWSER_EVENT_BYTES_MAX, BROWSER_SHARE_PERCENT, EVENT_BYTES_MAX, SERVER_SHARE_PERCENT},
    rate_limit::{Allowance, KeyRate},
    telemetry::{AcceptedEvents, SecretInForce, SecretUse},
};
pub use event_names::EventNames;
pub use origins::Origins;

/// The key that works on loopback if no key is configured.
pub const DEV_KEY: &str = "dev";

/// Whether [`DEV_KEY`] is a key: none is configured, or it is.
#[must_use]
pub fn takes_dev_key(keys: &[KeyConfig]) -> bool {
    let dev = secret_sha256(DEV_KEY);
    keys.is_empty() || keys.iter().any(|key| key.secret_sha256.as_ref() == Some(&dev))
}

/// The source of events that a key names, and its permissions.
#[derive(Debug)]
pub struct Source {
    /// The name, which becomes the `source` of the events.
    pub name: Arc<str>,
    /// The events that the source may send.
    pub events: EventNames,
    /// The rate limits.
    pub rate: Arc<KeyRate>,
    /// Counts the accepted events.
    pub accepted: AcceptedEvents,
    /// Maximum bytes of one event.
    pub event_bytes_max: usize,
    /// How many days from its receipt an event may have been created without being late.
    pub created_days: CreatedDays,
    /// The share, in percent, that the key may hold of the resources of all keys.
    pub share_percent: u8,
    /// What its clients read of an answer, where `Prefer` does not say.
    pub answers: Answers,
    share: OnceLock<Arc<KeyShare>>,
    ledger_number: AtomicU16,
    kind: KeyKind,
    origins: Origins,
    needs_certificate: bool,
    enabled: bool,
}

/// Why a request may not send events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request has no key.
    #[error(
        "no key: send it as `Authorization: Bearer …`, as the user of `Authorization: Basic …` (the password is not read), as \
         `X-Api-Key: …`, before the path as `/k/<key>/…`, or as `?key=…`"
    )]
    MissingKey,
    /// The key is unknown.
    #[error(
        "the key is not known: compare it, character by character, with the one that its operator made with `lakegate keys new`"
    )]
    UnknownKey,
    /// The key is known, but disabled.
    #[error("the key is disabled")]
    KeyDisabled,
    /// The secret was good until its `not_after`.
    #[error("this secret of the key has expired; the key has another one, or needs one")]
    KeyExpired,
    /// The key is for web pages of other origins.
    #[error("this key is for web pages of its allowed_origins, and the request's Origin is none of them")]
    OriginNotAllowed,
    /// The key is for web pages, and a browser would have sent an `Origin`.
    #[error("this key is for web pages, and the request has no Origin; a service needs a key of the kind \"server\"")]
    OriginMissing,
    /// The key is for clients that present a certificate.
    #[error("this key is good only on connections whose client shows a certificate that the gateway's client_ca has signed")]
    CertificateMissing,
}

/// A gateway without keys must not be reachable from other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a loopback address and no [[keys]] are configured: anyone could write into the lake; add a key or listen on 127.0.0.1"
)]
pub struct OpenToAll(IpAddr);

/// A secret of a key.
#[derive(Debug)]
pub struct Secret {
    /// The source that it names.
    pub source: Arc<Source>,
    /// When it was used.
    pub usage: Arc<SecretUse>,
    sha256: [u8; 32],
    /// The first digits of its hash.
    id: String,
    not_after: Option<NotAfter>,
}

/// Why a request may not send events, and the secret that it has, if that is a key's.
#[derive(Debug, Clone, Copy)]
pub struct Denied<'a> {
    /// The reason.
    pub error: AuthError,
    /// The secret.
    pub secret: Option<&'a Secret>,
}

/// All keys, by the hashes of their secrets.
///
/// The look-up uses the SHA-256 of the received secret, under a hash function with a random seed, and compares digests in
/// constant time. So the duration of a look-up reveals nothing about a secret or a digest.
#[derive(Debug)]
pub struct Keys {
    by_hash: HashTable<Secret>,
    seed: RandomState,
    sources: Vec<Arc<Source>>,
    /// The origins of all enabled keys, because a preflight request does not name its key.
    origins: Origins,
}

impl Denied<'_> {
    /// Counts the request for the metrics, if its secret has expired.
    pub fn count(&self) {
        if let (AuthError::KeyExpired, Some(secret)) = (self.error, self.secret) {
            secret.usage.count_expired();
        }
    }
}

impl Secret {
    /// A secret of `source`. It goes on with its use if `before` has the same secret of the same key.
    fn new(config: &SecretConfig, source: &Arc<Source>, before: Option<&Keys>) -> Self {
        let sha256 = digest(&config.sha256);
        let same = before.and_then(|before| before.find(&sha256)).filter(|same| same.source.name == source.name);
        Self {
            source: source.clone(),
            usage: same.map(|same| same.usage.clone()).unwrap_or_default(),
            sha256,
            id: secret_id(&config.sha256),
            not_after: config.not_after,
        }
    }

    /// The first digits of its hash, which name it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it expires, if it does.
    #[must_use]
    pub fn not_after(&self) -> Option<NotAfter> {
        self.not_after
    }

    /// Whether it has expired at `now` (Unix seconds of the wall clock).
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.not_after.is_some_and(|not_after| now >= not_after.unix_seconds())
    }

    fn check(&self, now: i64) -> Result<(), AuthError> {
        if !self.source.enabled {
            return Err(AuthError::KeyDisabled);
        }
        if self.is_expired(now) { Err(AuthError::KeyExpired) } else { Ok(()) }
    }
}

impl Source {
    /// The source of a key. `is_only`: it is the only enabled key.
    fn new(config: &KeyConfig, default: &RateLimitConfig, is_only: bool) -> Self {
        let events = Allowance {
            per_second: config.events_per_second.unwrap_or(default.events_per_second),
            burst: config.events_burst.unwrap_or(default.events_burst),
        };
        let bytes = Allowance::of_bytes(
            config.bytes_per_second.or(default.bytes_per_second),
            config.bytes_burst.or(default.bytes_burst),
            events,
        );
        let requests = Allowance {
            per_second: config.requests_per_second.or(default.requests_per_second).unwrap_or(events.per_second),
            burst: config.requests_burst.or(default.requests_burst).unwrap_or(events.burst),
        };
        Self {
            accepted: AcceptedEvents::default(),
            rate: Arc::new(KeyRate::new(events, bytes, requests)),
            event_bytes_max: config.event_bytes_max.unwrap_or(match config.kind {
                KeyKind::Browser => BROWSER_EVENT_BYTES_MAX,
                KeyKind::Server => EVENT_BYTES_MAX,
            }),
            created_days: config.created_days(),
            share_percent: config.share_percent.unwrap_or(match config.kind {
                // There is no other key to share with.
                _ if is_only => WHOLE_PERCENT,
                KeyKind::Browser => BROWSER_SHARE_PERCENT,
                KeyKind::Server => SERVER_SHARE_PERCENT,
            }),
            answers: config.answers,
            share: OnceLock::new(),
            ledger_number: AtomicU16::new(0),
            needs_certificate: config.client_certificate,
            name: config.name.as_str().into(),
            events: EventNames::new(config.allowed_events.iter().map(String::as_str)),
            kind: config.kind,
            origins: Origins::new(config.allowed_origins.iter().map(String::as_str)),
            enabled: config.enabled,
        }
    }

    /// The share of this key in `shares`, by name. Looked up once.
    pub fn share(&self, shares: &Shares) -> &Arc<KeyShare> {
        self.share.get_or_init(|| shares.of(&self.name, self.share_percent))
    }

    /// The number that the ledger of this process has for the name: asked once, and kept here, because each request needs it. 0,
    /// for a name without a number, is asked again.
    pub fn ledger_number(&self, ask: impl FnOnce(&str) -> u16) -> u16 {
        match self.ledger_number.load(Ordering::Relaxed) {
            0 => {
                let number = ask(&self.name);
                self.ledger_number.store(number, Ordering::Relaxed);
                number
            }
            number => number,
        }
    }

    /// Whether the key may send now.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether everyone can read the key.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.kind == KeyKind::Browser
    }

    /// The scope of the identities of its events: the name of a browser key, because everyone can choose identities with it.
    /// `None` for server keys, which share one scope.
    #[must_use]
    pub fn dedup_scope(&self) -> Option<&str> {
        self.is_public().then_some(&*self.name)
    }

    /// Whether the key may be used by a client with or without a certificate.
    ///
    /// # Errors
    /// [`AuthError::CertificateMissing`].
    pub fn check_certificate(&self, has_certificate: bool) -> Result<(), AuthError> {
        if self.needs_certificate && !has_certificate { Err(AuthError::CertificateMissing) } else { Ok(()) }
    }

    /// Whether the web page at `origin` may use the key. A browser sends the origin with every POST of a page; other clients
    /// have none.
    ///
    /// # Errors
    /// [`AuthError::OriginNotAllowed`], [`AuthError::OriginMissing`].
    pub fn check_origin(&self, origin: Option<&[u8]>) -> Result<(), AuthError> {
        match (self.kind, origin) {
            (KeyKind::Server, _) => Ok(()),
            (KeyKind::Browser, None) => Err(AuthError::OriginMissing),
            (KeyKind::Browser, Some(origin)) if self.origins.contain(origin) => Ok(()),
            (KeyKind::Browser, Some(_)) => Err(AuthError::OriginNotAllowed),
        }
    }
}

impl Keys {
    /// The configured keys; the key `dev` if there are none and `listen` is loopback. A key that did not change since `before`
    /// keeps its buckets.
    ///
    /// # Errors
    /// [`OpenToAll`] if there are no keys and `listen` is not loopback.
    pub fn new(
        configured: &[KeyConfig],
        default: &RateLimitConfig,
        listen: IpAddr,
        before: Option<&Self>,
    ) -> Result<Self, OpenToAll> {
        if configured.is_empty() && !listen.is_loopback() {
            return Err(OpenToAll(listen));
        }
        let dev = [KeyConfig::new(DEV_KEY, secret_sha256(DEV_KEY))];
        let (configured, any) = if configured.is_empty() { (&dev[..], Some("*")) } else { (configured, None) };
        let enabled = configured.iter().filter(|key| key.enabled);
        let origins = Origins::new(enabled.flat_map(|key| &key.allowed_origins).map(String::as_str).chain(any));
        let is_only = configured.iter().filter(|key| key.enabled).count() == 1;
        let mut keys = Self { by_hash: HashTable::new(), seed: RandomState::new(), sources: Vec::new(), origins };
        for key in configured {
            let mut source = Source::new(key, default, is_only);
            let same = before.and_then(|before| before.sources().find(|known| known.name == source.name));
            if let Some(same) = same.filter(|same| same.rate.allowances() == source.rate.allowances()) {
                source.rate = same.rate.clone();
            }
            let source = Arc::new(source);
            for secret in key.all_secrets() {
                keys.insert(Secret::new(&secret, &source, before));
            }
            keys.sources.push(source);
        }
        Ok(keys)
    }

    /// All sources.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.iter()
    }

    /// All secrets of all keys.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.by_hash.iter()
    }

    /// The secrets, for the metrics.
    #[must_use]
    pub fn secrets_in_force(&self) -> Vec<SecretInForce> {
        let mut secrets: Vec<SecretInForce> = self
            .secrets()
            .map(|secret| SecretInForce {
                key: secret.source.name.clone(),
                secret: secret.id.clone(),
                not_after: secret.not_after.map(NotAfter::unix_seconds),
                usage: secret.usage.clone(),
            })
            .collect();
        secrets.sort_by(|a, b| (&a.key, &a.secret).cmp(&(&b.key, &b.secret)));
        secrets
    }

    fn insert(&mut self, secret: Secret) {
        self.by_hash.insert_unique(self.seed.hash_one(secret.sha256), secret, |secret| self.seed.hash_one(secret.sha256));
    }

    fn find(&self, sha256: &[u8; 32]) -> Option<&Secret> {
        self.by_hash.find(self.seed.hash_one(sha256), |secret| secret.sha256.ct_eq(sha256).into())
    }

    /// The secret of a request with the text `secret`, at `now` (Unix seconds of the wall clock).
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn authenticate(&self, secret: Option<&str>, now: i64) -> Result<&Secret, Denied<'_>> {
        let denied = |error| Denied { error, secret: None };
        let secret = secret.filter(|secret| !secret.is_empty()).ok_or(denied(AuthError::MissingKey))?;
        let found = self.find(&hash(secret)).ok_or(denied(AuthError::UnknownKey))?;
        found.check(now).map_err(|error| Denied { error, secret: Some(found) })?;
        Ok(found)
    }

    /// Whether any key may be used by the web page at `origin`.
    #[must_use]
    pub fn allow_origin(&self, origin: &[u8]) -> bool {
        self.origins.contain(origin)
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The SHA-256 of `secret`, as in the configuration.
#[must_use]
pub fn secret_sha256(secret: &str) -> String {
    sha256_hex(secret)
}

/// The bytes of 64 hexadecimal digits, which the configuration has checked.
fn digest(digits: &str) -> [u8; 32] {
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn new(keys: &[KeyConfig], listen: IpAddr) -> Result<Keys, OpenToAll> {
        Keys::new(keys, &RateLimitConfig::default(), listen, None)
    }

    const NOW: i64 = 1_795_000_000;

    impl Keys {
        fn source(&self, secret: &str) -> Result<&Arc<Source>, AuthError> {
            self.authenticate(Some(secret), NOW).map(|secret| &secret.source).map_err(|denied| denied.error)
        }
    }

    fn key(name: &str) -> KeyConfig {
        KeyConfig::new(name, secret_sha256(name))
    }

    #[test]
    fn without_keys_only_dev_works_and_only_on_loopback() {
        let keys = new(&[], LOOPBACK).unwrap();
        assert_eq!(&*keys.source("dev").unwrap().name, "dev");
        assert_eq!(keys.source("other").err(), Some(AuthError::UnknownKey));
        assert!(new(&[], "0.0.0.0".parse().unwrap()).is_err());
        assert!(new(&[], "::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_configured_key_is_known_by_its_hash_and_dev_is_gone() {
        // printf %s s3cret | sha256sum
        let hash = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
        let key = |name: &str, enabled| KeyConfig { secret_sha256: Some(hash.to_uppercase()), enabled, ..key(name) };
        let keys = new(&[key("web", true)], "0.0.0.0".parse().unwrap()).unwrap();
        assert_eq!(&*keys.source("s3cret").unwrap().name, "web");
        assert_eq!(keys.source("dev").err(), Some(AuthError::UnknownKey));
        assert_eq!(keys.authenticate(None, NOW).unwrap_err().error, AuthError::MissingKey);
        assert_eq!(keys.source("").err(), Some(AuthError::MissingKey));
        let off = new(&[key("web", false)], LOOPBACK).unwrap();
        assert_eq!(off.source("s3cret").err(), Some(AuthError::KeyDisabled));
    }

    #[test]
    fn a_browser_key_is_for_its_pages_and_a_service_names_none() {
        let pages =
            |name: &str, origin: &str| KeyConfig { kind: KeyKind::Browser, allowed_origins: vec![origin.into()], ..key(name) };
        let off = KeyConfig { enabled: false, ..pages("off", "https://off.example") };
        let keys = new(&[pages("a", "https://a.example"), pages("b", "https://b.example"), key("s"), off], LOOPBACK).unwrap();
        let a = keys.source("a").unwrap();
        assert_eq!(a.check_origin(Some(b"https://a.example")), Ok(()));
        assert_eq!(a.check_origin(Some(b"https://b.example")), Err(AuthError::OriginNotAllowed));
        assert_eq!(a.check_origin(None), Err(AuthError::OriginMissing));
        let s = keys.source("s").unwrap();
        assert_eq!((s.check_origin(None), s.check_origin(Some(b"https://a.example"))), (Ok(()), Ok(())));
        // A page is allowed before it names its key, but not because of a disabled key.
        let allowed = ["https://a.example", "https://b.example", "https://off.example", "https://c.example"];
        assert_eq!(allowed.map(|origin| keys.allow_origin(origin.as_bytes())), [true, true, false, false]);
        assert!(new(&[], LOOPBACK).unwrap().allow_origin(b"http://localhost:5173"));
    }

    #[test]
    fn events_of_a_browser_key_may_claim_few_days_unless_the_key_says_otherwise() {
        let pages = KeyConfig { kind: KeyKind::Browser, allowed_origins: vec!["*".into()], ..key("pages") };
        let wider = KeyConfig { created_days_back: Some(30), ..pages.clone() };
        let of = |config: &KeyConfig| Source::new(config, &RateLimitConfig::default(), false).created_days;
        assert_eq!(of(&pages), CreatedDays { back: 4, ahead: 1 });
        assert_eq!(of(&wider), CreatedDays { back: 30, ahead: 1 });
        assert_eq!(of(&key("service")), CreatedDays::WIDEST);
    }

    #[test]
    fn a_key_that_stays_as_it_was_goes_on_with_its_buckets() {
        let default = RateLimitConfig::default();
        let narrowed = |events_burst| KeyConfig { events_burst: Some(events_burst), ..key("a") };
        let before = Keys::new(&[narrowed(10_000), key("b")], &default, LOOPBACK, None).unwrap();
        before.source("a").unwrap().rate.events.take(10_000).unwrap();
        let left = |keys: &Keys| keys.source("a").unwrap().rate.events.left();
        let same = Keys::new(&[narrowed(10_000)], &default, LOOPBACK, Some(&before)).unwrap();
        assert!(left(&same) < 10_000, "it fills as time passes, and was empty");
        let wider = Keys::new(&[narrowed(20_000)], &default, LOOPBACK, Some(&before)).unwrap();
        assert_eq!(left(&wider), 20_000);
        let requests = same.source("a").unwrap().rate.requests.allowance();
        assert_eq!(requests, Allowance { per_second: default.events_per_second, burst: 10_000 }, "as many as events");
        let bytes = same.source("a").unwrap().rate.bytes.allowance();
        assert_eq!(bytes, Allowance { per_second: default.events_per_second * 4096, burst: 10_000 * 4096 });
    }

    #[test]
    fn a_share_is_a_part_where_there_is_another_key_and_what_is_configured() {
        let browser = |name: &str| KeyConfig { kind: KeyKind::Browser, allowed_origins: vec!["*".into()], ..key(name) };
        let off = |key: KeyConfig| KeyConfig { enabled: false, ..key };
        let percent = |keys: &[KeyConfig]| new(keys, LOOPBACK).unwrap().source("a").unwrap().share_percent;
        assert_eq!(new(&[], LOOPBACK).unwrap().source("dev").unwrap().share_percent, 100);
        assert_eq!([percent(&[key("a")]), percent(&[browser("a"), off(key("b"))])], [100, 100]);
        assert_eq!([percent(&[key("a"), key("b")]), percent(&[browser("a"), key("b")])], [90, 50]);
        assert_eq!(percent(&[KeyConfig { share_percent: Some(7), ..key("a") }]), 7);
    }

    #[test]
    fn a_key_for_clients_with_a_certificate_is_good_with_one() {
        let keys = new(&[KeyConfig { client_certificate: true, ..key("a") }, key("b")], LOOPBACK).unwrap();
        let check = |name, has| keys.source(name).unwrap().check_certificate(has);
        assert_eq!([check("a", true), check("b", true), check("b", false)], [Ok(()); 3]);
        assert_eq!(check("a", false), Err(AuthError::CertificateMissing));
    }

    #[test]
    fn each_secret_of_a_key_is_good_until_its_own_end_and_names_the_same_source() {
        let until = |text: &str, not_after| SecretConfig { sha256: secret_sha256(text), not_after };
        let secrets = vec![until("old", NotAfter::at(NOW + 1)), until("older", NotAfter::at(NOW))];
        let configured = [KeyConfig { secrets, ..key("a") }, KeyConfig { enabled: false, ..key("off") }];
        let keys = new(&configured, LOOPBACK).unwrap();
        assert!(Arc::ptr_eq(keys.source("a").unwrap(), keys.source("old").unwrap()));
        assert_eq!(keys.sources().count(), 2);
        let denied = |text, now| {
            keys.authenticate(Some(text), now)
                .map(Secret::id)
                .map_err(|Denied { error, secret }| (error, secret.map(|secret| secret.source.name.to_string())))
        };
        let expired = Err((AuthError::KeyExpired, Some("a".to_owned())));
        assert_eq!(denied("older", NOW), expired);
        assert_eq!([denied("old", NOW + 1), denied("old", i64::MAX)], [expired.clone(), expired]);
        assert!(denied("a", i64::MAX).is_ok() && denied("older", NOW - 1).is_ok(), "the wall clock decides, whatever it was");
        assert_eq!(denied("off", NOW), Err((AuthError::KeyDisabled, Some("off".to_owned()))));
        assert_eq!(denied("nobody", NOW), Err((AuthError::UnknownKey, None)));
    }

    #[test]
    fn the_use_of_a_secret_outlasts_a_reload_and_belongs_to_its_key() {
        let default = RateLimitConfig::default();
        let before = new(&[key("a"), key("b")], LOOPBACK).unwrap();
        for secret in before.secrets() {
            secret.usage.note(NOW);
        }
        let moved = KeyConfig { secret_sha256: Some(secret_sha256("a")), ..key("c") };
        let after = Keys::new(&[moved, key("b"), key("d")], &default, LOOPBACK, Some(&before)).unwrap();
        let uses: Vec<_> =
            after.secrets_in_force().iter().map(|secret| (secret.key.to_string(), secret.usage.last_used())).collect();
        assert_eq!(uses, [("b".to_owned(), NOW), ("c".to_owned(), 0), ("d".to_owned(), 0)]);
    }
}
