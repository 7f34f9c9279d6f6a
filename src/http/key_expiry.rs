//! Warns of secrets that expire soon and are still used, and of keys whose secrets have all expired.
//!
//! Both are conditions with the name of the key as their place.

use std::collections::BTreeMap;

use super::Gate;
use crate::{
    auth::{Keys, Secret},
    conditions::Condition,
    config::NotAfter,
    limits::{CONDITION_PLACES_MAX, SECRET_EXPIRES_SOON, SECRET_IN_USE},
};

/// Raises and clears the conditions, at `now` (Unix seconds of the wall clock).
pub(super) fn look(gate: &Gate, now: i64) {
    let warnings = warnings(&gate.policy.load().keys, now);
    for condition in [Condition::KeyExpiresSoon, Condition::KeyExpired] {
        let of = |key: &str| warnings.get(key).filter(|(of_key, _)| *of_key == condition);
        for raised in gate.conditions.list() {
            if raised.condition == condition && of(&raised.place).is_none() {
                gate.conditions.clear(condition, &raised.place);
            }
        }
        let holding = warnings.iter().filter(|(_, (of_key, _))| *of_key == condition);
        // What the list does not hold would be logged as new each second.
        for (key, (_, detail)) in holding.take(CONDITION_PLACES_MAX) {
            gate.conditions.raise(condition, key, detail.clone());
        }
    }
}

/// The warning of each key that has one.
fn warnings(keys: &Keys, now: i64) -> BTreeMap<String, (Condition, String)> {
    let mut by_key: BTreeMap<&str, Vec<&Secret>> = BTreeMap::new();
    // Usually no secret has an end, and this allocates nothing.
    for secret in keys.secrets().filter(|secret| secret.not_after().is_some() && secret.source.is_enabled()) {
        by_key.entry(&secret.source.name).or_default().push(secret);
    }
    if by_key.is_empty() {
        return BTreeMap::new();
    }
    for secret in keys.secrets().filter(|secret| secret.not_after().is_none()) {
        if let Some(secrets) = by_key.get_mut(&*secret.source.name) {
            secrets.push(secret);
        }
    }
    by_key.into_iter().filter_map(|(key, secrets)| Some((key.to_owned(), warning(&secrets, now)?))).collect()
}

fn warning(secrets: &[&Secret], now: i64) -> Option<(Condition, String)> {
    if secrets.iter().all(|secret| secret.is_expired(now)) {
        let last = secrets.iter().filter_map(|secret| secret.not_after()).max()?;
        return Some((Condition::KeyExpired, format!("the last of its {} secrets expired at {last}", secrets.len())));
    }
    let mut soon: Vec<(NotAfter, &str)> = secrets
        .iter()
        .filter(|secret| !secret.is_expired(now) && was_used(secret, now))
        .filter_map(|secret| Some((secret.not_after()?, secret.id())))
        .filter(|(not_after, _)| not_after.unix_seconds() - now <= SECRET_EXPIRES_SOON.as_secs() as i64)
        .collect();
    soon.sort_unstable();
    let list: Vec<String> =
        soon.iter().map(|(not_after, id)| format!("the secret {id} is in use and expires at {not_after}")).collect();
    (!list.is_empty()).then(|| (Condition::KeyExpiresSoon, list.join("; ")))
}

/// Whether the secret was used within the last day. A use that the wall clock says is still to come is one.
fn was_used(secret: &Secret, now: i64) -> bool {
    let last_used = secret.usage.last_used();
    last_used > 0 && now - last_used <= SECRET_IN_USE.as_secs() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KeyConfig, RateLimitConfig, SecretConfig};

    const NOW: i64 = 1_795_000_000;
    const DAY: i64 = 86_400;

    fn key(name: &str, enabled: bool, secrets: &[(&str, Option<i64>)]) -> KeyConfig {
        let secret = |(digit, not_after): &(&str, Option<i64>)| SecretConfig {
            sha256: digit.repeat(64),
            not_after: not_after.and_then(|after| NotAfter::at(NOW + after)),
        };
        let secrets = secrets.iter().map(secret).collect();
        KeyConfig { secret_sha256: None, secrets, enabled, ..KeyConfig::new(name, String::new()) }
    }

    #[test]
    fn a_secret_in_use_that_ends_within_a_week_is_told_and_so_is_a_key_without_a_good_one() {
        let configured = [
            key("soon", true, &[("0", Some(7 * DAY)), ("1", Some(6 * DAY)), ("2", Some(8 * DAY)), ("3", None)]),
            key("unused", true, &[("4", Some(DAY)), ("5", None)]),
            key("over", true, &[("6", Some(-DAY)), ("7", Some(0))]),
            key("changed", true, &[("8", Some(-DAY)), ("9", None)]),
            key("off", false, &[("a", Some(-DAY))]),
            key("plain", true, &[("b", None)]),
        ];
        let listen = std::net::Ipv4Addr::LOCALHOST.into();
        let keys = Keys::new(&configured, &RateLimitConfig::default(), listen, None).unwrap();
        for secret in keys.secrets().filter(|secret| &*secret.source.name != "unused") {
            secret.usage.note(NOW - DAY);
        }
        let told = |now| warnings(&keys, now).into_iter().map(|(key, (of, text))| (key, of.code(), text)).collect::<Vec<_>>();
        let soon = "the secret 11111111 is in use and expires at 2026-11-24T";
        let [over, early] = &told(NOW)[..] else { panic!("{:?}", told(NOW)) };
        assert_eq!((over.0.as_str(), over.1), ("over", "key_expired"));
        assert_eq!(over.2, "the last of its 2 secrets expired at 2026-11-18T11:06:40Z");
        assert_eq!((early.0.as_str(), early.1), ("soon", "key_expires_soon"));
        assert!(
            early.2.starts_with(soon) && early.2.contains("; the secret 00000000 ") && !early.2.contains("2222"),
            "{early:?}"
        );
        // Not used for a day: whoever had it has another one now.
        assert_eq!(told(NOW + 1).len(), 1);
    }
}
