//! `lakegate keys list`.

use std::{collections::HashMap, io, net::SocketAddr};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    app::admin_address,
    cli::{
        admin_client,
        configuration::PlaceArgs,
        dead_letters::print::table,
        failure::notice,
        health::reachable,
        output_format::{Format, print},
    },
    clock::coarse_unix_seconds,
    config::{Config, KeyConfig, KeyKind, NotAfter, secret_id},
    limits::{HEALTH_TIMEOUT, SECRET_EXPIRES_SOON},
};

/// The metric that has the time of the last use.
const LAST_USED: &str = "lakegate_key_last_used_timestamp_seconds{";

/// The form of answers of a key that says none.
const USUAL_ANSWERS: &str = "each";

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Address of the running gateway for operators [default: the one noted in the data folder].
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize)]
struct Key {
    name: String,
    kind: KeyKind,
    enabled: bool,
    /// The form of its answers, if the key says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<String>,
    secrets: Vec<Secret>,
}

#[derive(Serialize)]
struct Secret {
    secret: String,
    not_after: Option<NotAfter>,
    state: State,
    /// Absent if no gateway says so.
    last_used: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    ExpiresSoon,
    Expired,
    Disabled,
}

impl State {
    fn of(key: &KeyConfig, not_after: Option<NotAfter>, now: i64) -> Self {
        match not_after.map(|end| end.unix_seconds() - now) {
            _ if !key.enabled => Self::Disabled,
            Some(..=0) => Self::Expired,
            Some(left) if left <= SECRET_EXPIRES_SOON.as_secs() as i64 => Self::ExpiresSoon,
            _ => Self::Good,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::ExpiresSoon => "expires soon",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
        }
    }
}

/// Key, secret, and when the gateway saw it last; 0 if it did not since its start.
type LastUsed = HashMap<(String, String), i64>;

pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let config = args.place.config()?;
    let last_used = last_used(args.admin.or_else(|| admin_address(&config.data_dir)).map(reachable));
    let keys = keys(&config, &last_used.unwrap_or_default(), coarse_unix_seconds());
    if args.format == Format::Json {
        print(serde_json::to_string_pretty(&keys)? + "\n")?;
    } else {
        table(&rows(&keys), &mut io::stdout().lock())?;
    }
    Ok(())
}

fn keys(config: &Config, last_used: &LastUsed, now: i64) -> Vec<Key> {
    let of = |key: &KeyConfig| {
        let secrets = key.all_secrets().map(|secret| {
            let id = secret_id(&secret.sha256);
            let used = last_used.get(&(key.name.clone(), id.clone())).filter(|used| **used > 0);
            let last_used = used.and_then(|used| Timestamp::from_second(*used).ok()).map(|time| time.to_string());
            Secret { secret: id, not_after: secret.not_after, state: State::of(key, secret.not_after, now), last_used }
        });
        // By its name, because only some configurations have it.
        let answers = toml::Value::try_from(key).ok().and_then(|key| Some(key.get("answers")?.as_str()?.to_owned()));
        Key { name: key.name.clone(), kind: key.kind, enabled: key.enabled, answers, secrets: secrets.collect() }
    };
    config.keys.iter().map(of).collect()
}

fn rows(keys: &[Key]) -> Vec<Vec<String>> {
    // Most configurations have the usual form everywhere, and need no column for it.
    let has_answers = keys.iter().any(|key| key.answers.as_deref().is_some_and(|answers| answers != USUAL_ANSWERS));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let mut rows = vec![["name", "kind", "secret", "state", "not after", "last used"].map(str::to_owned).to_vec()];
    for key in keys {
        let kind = if key.kind == KeyKind::Browser { "browser" } else { "server" };
        for secret in &key.secrets {
            rows.push(vec![
                key.name.clone(),
                kind.to_owned(),
                secret.secret.clone(),
                secret.state.as_str().to_owned(),
                or_none(secret.not_after.map(|end| end.to_string())),
                or_none(secret.last_used.clone()),
            ]);
            if has_answers {
                rows.last_mut().into_iter().for_each(|row| row.push(or_none(key.answers.clone())));
            }
        }
    }
    if has_answers {
        rows[0].push("answers".into());
    }
    rows
}

/// What the gateway at `address` says of the secrets. `None`, and a notice, if there is none.
fn last_used(address: Option<SocketAddr>) -> Option<LastUsed> {
    let asked = address.map(|address| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::time::timeout(HEALTH_TIMEOUT, admin_client::get(address, "/metrics"))
                .await
                .unwrap_or_else(|_| Err(anyhow::anyhow!("{address} did not answer within {} s", HEALTH_TIMEOUT.as_secs())))
        })
    });
    match asked {
        Some(Ok(text)) => Some(text.lines().filter_map(sample).collect()),
        Some(Err(error)) => {
            notice(&format!("when each secret was last used is not known: {error:#}"));
            None
        }
        None => {
            notice("when each secret was last used is not known: no gateway has used the data folder; --admin names its address");
            None
        }
    }
}

fn sample(line: &str) -> Option<((String, String), i64)> {
    let (labels, value) = line.strip_prefix(LAST_USED)?.split_once("} ")?;
    let (key, secret) = labels.strip_prefix("key=\"")?.split_once("\",secret=\"")?;
    Some(((key.to_owned(), secret.strip_suffix('"')?.to_owned()), value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretConfig;

    #[test]
    fn each_secret_has_its_state_and_what_the_gateway_says() {
        const NOW: i64 = 1_795_000_000;
        let secret = |digit: &str, after| SecretConfig { sha256: digit.repeat(64), not_after: NotAfter::at(NOW + after) };
        let secrets = vec![secret("a", 0), secret("b", 1), secret("C", 8 * 86_400)];
        let key = KeyConfig { secrets, ..KeyConfig::new("web", "0".repeat(64)) };
        let off = KeyConfig { enabled: false, kind: KeyKind::Browser, ..KeyConfig::new("off", "1".repeat(64)) };
        let config = Config { keys: vec![key, off], ..Config::default() };
        let scrape = "lakegate_key_last_used_timestamp_seconds{key=\"web\",secret=\"00000000\"} 1794999999\n\
                      lakegate_key_last_used_timestamp_seconds{key=\"web\",secret=\"aaaaaaaa\"} 0\n\
                      lakegate_key_not_after_timestamp_seconds{key=\"web\",secret=\"cccccccc\"} 1\nother 1\n";
        let rows = rows(&keys(&config, &scrape.lines().filter_map(sample).collect(), NOW));
        let lines: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "name kind secret state not after last used",
                "web server 00000000 good - 2026-11-18T11:06:39Z",
                "web server aaaaaaaa expired 2026-11-18T11:06:40Z -",
                "web server bbbbbbbb expires soon 2026-11-18T11:06:41Z -",
                "web server cccccccc good 2026-11-26T11:06:40Z -",
                "off browser 11111111 disabled - -",
            ]
        );
    }
}
