//! The secrets of a key: one, or several while senders change from one to another.

use std::collections::HashSet;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::limits::KEY_SECRETS_MAX;

/// Hexadecimal digits of a hash that name a secret to people and in metrics.
const ID_DIGITS: usize = 8;

/// One secret of a key.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SecretConfig {
    /// SHA-256 of the secret, 64 hexadecimal digits.
    pub sha256: String,
    /// When the secret expires. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<NotAfter>,
}

/// The time at which a secret expires: by the wall clock, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotAfter(Timestamp);

impl NotAfter {
    /// The time at `unix_seconds`; `None` beyond the year 9999.
    #[must_use]
    pub fn at(unix_seconds: i64) -> Option<Self> {
        Timestamp::from_second(unix_seconds).ok().map(Self)
    }

    /// In Unix seconds.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl std::fmt::Display for NotAfter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

impl Serialize for NotAfter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NotAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Either a text, or TOML's own date and time without quotes.
        let text = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        let time = text.parse::<Timestamp>().map_err(|_| {
            D::Error::custom(format!(
                "found {text:?}; a time with its zone is allowed, such as \"2026-12-01T00:00:00Z\" (RFC 3339)"
            ))
        })?;
        let whole = Timestamp::from_second(time.as_second()).map_err(D::Error::custom)?;
        // A year without a representation in RFC 3339 is a slip.
        match whole.to_zoned(TimeZone::UTC).year() {
            1970..=9999 => Ok(Self(whole)),
            year => Err(D::Error::custom(format!("found the year {year}; 1970 to 9999 is allowed"))),
        }
    }
}

/// The name of the secret with this hash: its first digits. They identify it, and nobody can derive the secret from them.
#[must_use]
pub fn secret_id(sha256: &str) -> String {
    sha256.chars().take(ID_DIGITS).map(|digit| digit.to_ascii_lowercase()).collect()
}

/// Validates the secrets of a key: the one in `secret_sha256`, and those in `secrets`. `seen` has the hashes of the keys before.
/// Returns the field and the reason of the first fault.
pub(super) fn check(one: Option<&str>, several: &[SecretConfig], seen: &mut HashSet<String>) -> Result<(), (String, String)> {
    let one = one.into_iter().map(|sha256| ("secret_sha256".to_owned(), sha256));
    let several = several.iter().enumerate().map(|(index, secret)| (format!("secrets[{index}].sha256"), &*secret.sha256));
    let mut ids = HashSet::new();
    for (count, (field, sha256)) in one.chain(several).enumerate() {
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let reason = "is not a SHA-256 in 64 hexadecimal digits; `printf %s SECRET | sha256sum` prints it";
            return Err((field, reason.into()));
        }
        if !seen.insert(sha256.to_ascii_lowercase()) {
            return Err((field, "is here a second time; a secret names one sender, once".into()));
        }
        if !ids.insert(secret_id(sha256)) {
            let reason = format!("begins with the same {ID_DIGITS} digits as another secret of the key; make another secret");
            return Err((field, reason));
        }
        if count >= KEY_SECRETS_MAX {
            return Err(("secrets".into(), format!("are too many; at most {KEY_SECRETS_MAX} are allowed for one key")));
        }
    }
    if ids.is_empty() {
        return Err(("secret_sha256".into(), "is missing; `lakegate keys new NAME` makes a secret".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(not_after: &str) -> Result<NotAfter, String> {
        let text = format!("sha256 = \"\"\nnot_after = {not_after}");
        toml::from_str::<SecretConfig>(&text).map_err(|error| error.to_string()).map(|secret| secret.not_after.unwrap())
    }

    #[test]
    fn an_end_is_a_text_or_a_time_of_toml_with_a_zone_and_is_written_in_utc() {
        for text in ["\"2026-12-01T00:00:00Z\"", "2026-12-01T00:00:00Z", "\"2026-12-01T02:00:00.9+02:00\""] {
            let found = read(text).unwrap();
            assert_eq!((found.to_string().as_str(), found.unix_seconds()), ("2026-12-01T00:00:00Z", 1_796_083_200), "{text}");
        }
        for text in ["\"2026-12-01\"", "2026-12-01", "2026-12-01T00:00:00", "\"soon\"", "1796083200", "\"1900-01-01T00:00:00Z\""]
        {
            assert!(read(text).unwrap_err().contains("is allowed"), "{text}");
        }
    }

    #[test]
    fn a_key_has_secrets_some_and_each_once() {
        let hash = |digit: char| digit.to_string().repeat(64);
        let secret = |digit: char| SecretConfig { sha256: hash(digit), not_after: None };
        let checked = |one: Option<char>, several: &[char]| {
            let several: Vec<_> = several.iter().copied().map(secret).collect();
            let checked = check(one.map(hash).as_deref(), &several, &mut HashSet::from([hash('9')]));
            checked.map_err(|(field, reason)| format!("{field}: {reason}"))
        };
        assert_eq!(checked(Some('a'), &[]), Ok(()));
        assert_eq!(checked(None, &['a', 'b']), Ok(()));
        assert_eq!(checked(Some('a'), &['1', '2', '3', '4', '5', '6', '7']), Ok(()));
        for (one, several, expected) in [
            (None, &[][..], "secret_sha256: is missing"),
            (Some('x'), &[], "secret_sha256: is not a SHA-256"),
            (Some('a'), &['g'], "secrets[0].sha256: is not a SHA-256"),
            (Some('a'), &['A'], "secrets[0].sha256: is here a second time"),
            (None, &['b', '9'], "secrets[1].sha256: is here a second time"),
            (Some('a'), &['1', '2', '3', '4', '5', '6', '7', '8'], "secrets: are too many; at most 8"),
        ] {
            let error = checked(one, several).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let twin = |end: &str| format!("{}{end}", &hash('c')[..62]);
        let twins = ["00", "01"].map(|end| SecretConfig { sha256: twin(end), not_after: None });
        assert!(check(None, &twins, &mut HashSet::new()).unwrap_err().1.contains("the same 8 digits"));
    }
}
