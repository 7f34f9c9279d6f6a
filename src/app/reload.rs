//! Applies another configuration while the gateway runs: keys, limits, privacy, schemas and the certificate.
//!
//! Everything is built before anything is applied. After any error nothing changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;

use super::{
    difference::Difference,
    policy::policy,
    schemas::{Schemas, shortened},
};
use crate::{
    config::{Config, KeyConfig},
    http::Gate,
    tls::Tls,
};

/// Applies another configuration.
pub struct Reloader {
    pub(super) gate: Arc<Gate>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) schemas: Arc<Schemas>,
    /// The current configuration; the lock also allows only one reload at a time.
    pub(super) config: Mutex<Config>,
}

impl Reloader {
    /// Applies the result of `read`, or logs the error; both write one line to the log.
    pub fn reload(&self, read: impl FnOnce() -> anyhow::Result<Config>) {
        let metrics = &self.gate.metrics;
        match read().and_then(|config| self.apply(&config)) {
            Ok(changes) => {
                metrics.config_reloads.inc();
                tracing::info!(
                    keys_added = shortened(changes.keys.added),
                    keys_removed = shortened(changes.keys.removed),
                    keys_changed = shortened(changes.keys.changed),
                    schemas_added = shortened(changes.schemas.added),
                    schemas_removed = shortened(changes.schemas.removed),
                    schemas_changed = shortened(changes.schemas.changed),
                    sections_changed = shortened(changes.sections),
                    waiting_for_a_restart = shortened(changes.waiting),
                    "the configuration was read again and is in force"
                );
            }
            Err(error) => {
                metrics.config_reload_failures.inc();
                let error = format!("{error:#}");
                tracing::error!(error, "the configuration was read again and cannot be used; the old one stays in force");
            }
        }
    }

    fn apply(&self, new: &Config) -> anyhow::Result<Changes> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        // The paths of the schemas and of the certificate do not change, but their contents do.
        let registry = self.schemas.compile().context("schemas")?;
        let before = self.gate.policy.load();
        let merged =
            Config { keys: new.keys.clone(), rate_limit: new.rate_limit.clone(), privacy: new.privacy.clone(), ..config.clone() };
        let policy = policy(&merged, Some(&before)).context("keys")?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        let changes = Changes {
            keys: Difference::of(&by_name(&config.keys), &by_name(&merged.keys)),
            schemas: self.schemas.put(&self.gate, registry),
            sections: different(&config, &merged, &["keys"]),
            waiting: different(new, &merged, &[]),
        };
        self.gate.policy.store(Arc::new(policy));
        self.gate.share();
        *config = merged;
        Ok(changes)
    }
}

struct Changes {
    keys: Difference,
    schemas: Difference,
    sections: Vec<String>,
    waiting: Vec<String>,
}

fn by_name(keys: &[KeyConfig]) -> BTreeMap<String, KeyConfig> {
    keys.iter().map(|key| (key.name.clone(), key.clone())).collect()
}

/// Names of the sections in which two configurations differ.
fn different(a: &Config, b: &Config, except: &[&str]) -> Vec<String> {
    let table = |config| toml::Table::try_from(config).unwrap_or_default();
    let (a, b) = (table(a), table(b));
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name) && !except.contains(&name.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let map = |pairs: &[(&str, u8)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let difference = Difference::of(&map(&[("a", 1), ("b", 1), ("c", 1)]), &map(&[("b", 1), ("c", 2), ("d", 1)]));
        assert_eq!((difference.added, difference.removed), (vec!["d".to_owned()], vec!["a".to_owned()]));
        assert_eq!(difference.changed, ["c"]);
        let mut other = Config::default();
        other.rate_limit.events_per_second += 1;
        other.http.connections_max += 1;
        other.keys = vec![KeyConfig::new("a", String::new())];
        assert_eq!(different(&Config::default(), &other, &["keys"]), ["http", "rate_limit"]);
    }
}
