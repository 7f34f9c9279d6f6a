//! Secrets: made, rotated and revoked, as values. Nothing here reads or writes a file.

use anyhow::bail;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::{
    config::{KeyConfig, NotAfter, SecretConfig, secret_id},
    limits::KEY_SECRETS_MAX,
};

/// Random bytes of a secret: too many to guess, and as many characters as a UUID.
const SECRET_BYTES: usize = 27;

/// A new secret.
pub(super) fn make_secret() -> anyhow::Result<String> {
    let mut random = [0; SECRET_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// The lines of a key in the configuration.
pub(super) fn as_toml(key: KeyConfig) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Keys {
        keys: [KeyConfig; 1],
    }
    Ok(toml::to_string(&Keys { keys: [key] })?)
}

/// `key` with one more secret, of this hash. All others end at `until`, or earlier if they do anyway. If there are too many,
/// those that have expired at `now` leave, the oldest first.
pub(super) fn rotated(key: &KeyConfig, sha256: &str, until: NotAfter, now: i64) -> anyhow::Result<KeyConfig> {
    let mut rotated = key.clone();
    for secret in &mut rotated.secrets {
        secret.not_after = Some(secret.not_after.map_or(until, |end| end.min(until)));
    }
    match rotated.secret_sha256.replace(sha256.to_owned()) {
        Some(sha256) => rotated.secrets.push(SecretConfig { sha256, not_after: Some(until) }),
        None => {
            rotated.secret_sha256 = None;
            rotated.secrets.push(SecretConfig { sha256: sha256.to_owned(), not_after: None });
        }
    }
    while rotated.all_secrets().count() > KEY_SECRETS_MAX {
        let ends = key.secrets.iter().filter_map(|secret| Some((secret.not_after?, secret.sha256.clone())));
        let expired =
            ends.filter(|(end, sha256)| end.unix_seconds() <= now && rotated.secrets.iter().any(|s| s.sha256 == *sha256));
        let Some((_, oldest)) = expired.min() else {
            bail!(
                "the key {} has {KEY_SECRETS_MAX} secrets that are good, which is the most; remove one with `lakegate keys revoke {} --secret …`",
                key.name,
                key.name
            );
        };
        rotated.secrets.retain(|secret| secret.sha256 != oldest);
    }
    Ok(rotated)
}

/// `key` without the secret whose hash begins with `id`.
pub(super) fn without_secret(key: &KeyConfig, id: &str) -> anyhow::Result<KeyConfig> {
    let id = id.to_ascii_lowercase();
    let is_meant = |sha256: &str| sha256.to_ascii_lowercase().starts_with(&id);
    let ids: Vec<String> = key.all_secrets().map(|secret| secret_id(&secret.sha256)).collect();
    let meant = key.all_secrets().filter(|secret| is_meant(&secret.sha256)).count();
    if id.len() < secret_id(&"0".repeat(64)).len() || meant != 1 {
        bail!("the key {} has no secret {id:?}; it has {}", key.name, ids.join(", "));
    }
    if ids.len() == 1 {
        bail!("{id} is the only secret of the key {}; without --secret the key is switched off", key.name);
    }
    let mut rest = key.clone();
    rest.secret_sha256 = rest.secret_sha256.filter(|sha256| !is_meant(sha256));
    rest.secrets.retain(|secret| !is_meant(&secret.sha256));
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    fn hash(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn at(seconds: i64) -> NotAfter {
        NotAfter::at(NOW + seconds).unwrap()
    }

    fn ends(key: &KeyConfig) -> Vec<(char, Option<i64>)> {
        let end = |secret: SecretConfig| secret.not_after.map(|end| end.unix_seconds() - NOW);
        key.all_secrets().map(|secret| (secret.sha256.chars().next().unwrap(), end(secret))).collect()
    }

    #[test]
    fn the_new_secret_has_no_end_and_no_old_one_lives_longer_than_before() {
        let key = KeyConfig::new("a", hash('0'));
        let once = rotated(&key, &hash('1'), at(700), NOW).unwrap();
        assert_eq!(ends(&once), [('1', None), ('0', Some(700))]);
        let twice = rotated(&once, &hash('2'), at(900), NOW).unwrap();
        assert_eq!(ends(&twice), [('2', None), ('0', Some(700)), ('1', Some(900))]);
        let at_once = rotated(&twice, &hash('3'), at(0), NOW).unwrap();
        assert_eq!(ends(&at_once), [('3', None), ('0', Some(0)), ('1', Some(0)), ('2', Some(0))]);
        let several = KeyConfig { secret_sha256: None, secrets: once.all_secrets().collect(), ..key };
        assert_eq!(ends(&rotated(&several, &hash('4'), at(1), NOW).unwrap()), [('1', Some(1)), ('0', Some(1)), ('4', None)]);
    }

    #[test]
    fn of_too_many_secrets_the_first_to_expire_leaves_and_a_good_one_never() {
        let mut key = KeyConfig::new("a", hash('0'));
        for digit in '1'..'8' {
            let end = at(if digit == '3' { -5 } else { 50 });
            key.secrets.push(SecretConfig { sha256: hash(digit), not_after: Some(end) });
        }
        let full = rotated(&key, &hash('a'), at(100), NOW).unwrap();
        assert!(full.all_secrets().count() == KEY_SECRETS_MAX && full.all_secrets().all(|secret| secret.sha256 != hash('3')));
        let error = rotated(&full, &hash('b'), at(100), NOW).unwrap_err().to_string();
        assert!(error.contains("has 8 secrets that are good"), "{error}");
    }

    #[test]
    fn one_secret_is_removed_by_the_digits_that_name_it_and_never_the_last() {
        let key = KeyConfig::new("a", hash('0'));
        let two = rotated(&key, &hash('f'), at(9), NOW).unwrap();
        assert_eq!(ends(&without_secret(&two, "FFFFFFFF").unwrap()), [('0', Some(9))]);
        assert_eq!(ends(&without_secret(&two, "000000000").unwrap()), [('f', None)]);
        let error = |key, id| without_secret(key, id).unwrap_err().to_string();
        assert_eq!(error(&two, "f"), "the key a has no secret \"f\"; it has ffffffff, 00000000");
        assert!(error(&two, "12345678").contains("has no secret \"12345678\""));
        assert!(error(&key, "00000000").contains("is the only secret of the key a"));
    }
}
