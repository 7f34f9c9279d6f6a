//! Loads a validated [`Config`] from a file and the environment. Every error names the place, the value and the allowed values.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Config, DeadLettersKind, DedupStore, Durability, Sink, SinkSettings, WhenSinkFull,
    old_names::{BothNames, Variable, rename_in_environment, rename_in_file},
    unknown_key::{Notation, PREFIX, UnknownKey, single_underscores},
};
use crate::limits;

/// Why the configuration cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {reason}", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{file}: is not TOML: {reason}", file = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line, column and what was expected there.
        reason: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key{hint}")]
    UnknownKey {
        /// The file and the key, or the environment variable.
        place: String,
        /// The key that was probably meant.
        hint: String,
    },
    /// The value of a key is wrong.
    #[error("{origin}: {key}: {reason}")]
    Wrong {
        /// The file, or the environment variable.
        origin: String,
        /// As `spool.quota_bytes`.
        key: String,
        /// The value and the allowed values.
        reason: String,
    },
}

/// Reads `file`, if given, and overrides it with `environment`.
///
/// # Errors
/// See [`ConfigError`].
pub fn load(file: Option<&Path>, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let text = match file {
        Some(file) => fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), reason: error.to_string() })?,
        None => String::new(),
    };
    parse(file, &text, environment)
}

/// The same for `text`, which is or will be the text of `file`.
///
/// # Errors
/// See [`ConfigError`].
pub fn parse(
    file: Option<&Path>,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Malformed {
        file: file.unwrap_or(Path::new("")).to_owned(),
        reason: error.to_string(),
    })?;
    let both_names = |BothNames { variable, key, reason }| ConfigError::Wrong {
        origin: variable.unwrap_or_else(|| file.map_or_else(String::new, |file| file.display().to_string())),
        key,
        reason,
    };
    let mut notices = rename_in_file(&mut table).map_err(both_names)?;
    let environment: Vec<_> = environment.into_iter().collect();
    notices.extend(environment.iter().filter_map(|(name, _)| single_underscores(name)));
    let mut variables: Vec<Variable> = environment.into_iter().filter_map(variable).collect();
    notices.extend(rename_in_environment(&mut variables).map_err(both_names)?);
    let of_file = table.clone();
    let mut overridden = BTreeMap::new();
    for Variable { name, path, text } in variables {
        set(&mut table, &path, scalar(&text)).map_err(|reason| ConfigError::Wrong {
            origin: name.clone(),
            key: path.join("."),
            reason,
        })?;
        overridden.insert(path.join("."), name);
    }
    // A variable may also hold a whole section or list that contains `key`.
    let is_part =
        |key: &str, whole: &str| key.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let origin = |key: &str| match overridden.iter().find(|(whole, _)| is_part(key, whole)) {
        Some((_, variable)) => variable.clone(),
        None => file.map_or("the defaults".into(), |file| file.display().to_string()),
    };
    let wrong = |key: String, reason: String| ConfigError::Wrong { origin: origin(&key), key, reason };
    let config: Config = serde_path_to_error::deserialize(table).map_err(|error| {
        let key = error.path().to_string();
        let message = error.into_inner().to_string().trim_end().replace('\n', " ");
        let Some(unknown) = UnknownKey::parse(&key, &message) else { return wrong(key, message) };
        // A variable can also name a key inside a section that does not exist.
        let inside = || overridden.iter().find(|(path, _)| path.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')));
        let variable = overridden.get_key_value(&key).or_else(|| inside().filter(|_| !is_in(&of_file, &key)));
        let (place, notation) = match variable {
            Some((path, variable)) => (variable.clone(), Notation::Variable { is_longer: *path != key }),
            None => (format!("{}: {key}", origin(&key)), Notation::File),
        };
        ConfigError::UnknownKey { place, hint: unknown.hint(notation) }
    })?;
    check(&config).map_err(|(key, reason)| wrong(key, reason))?;
    Ok(Config { notices, ..config })
}

/// An environment variable that sets a key; `None` for any other.
fn variable((name, text): (String, String)) -> Option<Variable> {
    let path = name.strip_prefix(PREFIX)?.split("__").map(str::to_lowercase).collect();
    Some(Variable { name, path, text })
}

/// The variable that sets `keys`, or a part of them, if the environment has one. The keys of the file then do not count.
pub fn keys_variable(environment: impl IntoIterator<Item = (String, String)>) -> Option<String> {
    let variables = environment.into_iter().filter_map(variable);
    variables
        .filter(|variable| variable.path.first().is_some_and(|section| section == "keys"))
        .map(|variable| variable.name)
        .next()
}

fn is_in(table: &Table, key: &str) -> bool {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    match table.get(first) {
        Some(Value::Table(section)) if !rest.is_empty() => is_in(section, rest),
        found => found.is_some() && rest.is_empty(),
    }
}

/// A variable's text as TOML if it is TOML (`5`, `true`, `[1, 2]`), otherwise as a string.
fn scalar(text: &str) -> Value {
    #[derive(Deserialize)]
    struct Line {
        value: Value,
    }
    let line = toml::from_str::<Line>(&format!("value = {text}"));
    line.map_or_else(|_| Value::String(text.to_owned()), |line| line.value)
}

fn set(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    let Some((key, sections)) = path.split_last() else { return Ok(()) };
    let mut table = table;
    for section in sections {
        let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().ok_or(format!("{section} is not a section"))?;
    }
    table.insert(key.clone(), value);
    Ok(())
}

/// Validates the configuration beyond its types. Returns the key and the reason of the first fault.
fn check(config: &Config) -> Result<(), (String, String)> {
    let at_least = |key: &str, found: u64, least: u64| {
        if found < least { Err((key.to_owned(), format!("found {found}; at least {least} is allowed"))) } else { Ok(()) }
    };
    at_least("spool.segment_bytes", config.spool.segment_bytes, 2 * limits::FRAME_BODY_BYTES_MAX as u64)?;
    at_least("spool.quota_bytes", config.spool.quota_bytes, 2 * config.spool.segment_bytes)?;
    at_least("dedup.window_days", config.dedup.window_days.into(), 1)?;
    at_least("dedup.identities_max", config.dedup.identities_max, 4 * limits::DEDUP_HOT_IDENTITIES as u64)?;
    if config.dedup.store == DedupStore::Redis {
        config.dedup.redis.check()?;
    }
    at_least("dead_letters.bytes_per_key_max", config.dead_letters.bytes_per_key_max, limits::DEAD_LETTER_FILE_BYTES)?;
    at_least("dead_letters.quota_bytes", config.dead_letters.quota_bytes, 2 * config.spool.segment_bytes)?;
    let share_percent = config.dead_letters.share_percent;
    if !(1..=100).contains(&share_percent) {
        return Err(("dead_letters.share_percent".into(), format!("found {share_percent}; 1 to 100 is allowed")));
    }
    let hold_minutes = config.dead_letters.hold_minutes_when_full;
    if hold_minutes > limits::DEAD_LETTERS_HOLD_MINUTES_MAX {
        let reason = format!("found {hold_minutes}; at most {} is allowed", limits::DEAD_LETTERS_HOLD_MINUTES_MAX);
        return Err(("dead_letters.hold_minutes_when_full".into(), reason));
    }
    let (letters, stream) = (config.dead_letters.kind, &config.dead_letters.stream);
    if letters != DeadLettersKind::Files {
        super::stream::check_named("dead_letters.stream", stream)?;
    }
    if letters == DeadLettersKind::Firehose {
        super::firehose::check_name("dead_letters.stream", stream)?;
    }
    if letters == DeadLettersKind::Kafka {
        super::kafka::check_build("dead_letters.kind", cfg!(feature = "kafka"))?;
        super::kafka::check_servers(&config.kafka)?;
        super::kafka::check_topic_name(stream).map_err(|reason| ("dead_letters.stream".to_owned(), reason))?;
    }
    config.lake.check(cfg!(feature = "s3"))?;
    super::kinesis::check(&config.kinesis)?;
    super::firehose::check(&config.firehose)?;
    super::firehose::check_name("firehose.stream", &config.firehose.stream)?;
    super::kafka::check(&config.kafka)?;
    super::sinks::check(config)?;
    config.telemetry.check()?;
    config.stop.check()?;
    check_durability(config)?;
    super::edge::check(&config.http, &config.tls, &config.proxy, &config.rate_limit)?;
    super::browser::check(&config.browser)?;
    config.admin.check()?;
    super::keys::check(&config.keys, config.tls.client_ca.is_some())
}

/// Where the disk does not last, nothing that was answered may be on the disk only.
fn check_durability(config: &Config) -> Result<(), (String, String)> {
    let wrong = |reason: &str| Err(("http.durability".to_owned(), format!("found \"delivered\" with {reason}")));
    if config.http.durability == Durability::Disk {
        return Ok(());
    }
    let is_awaited_lake =
        |sink: &Sink| matches!(sink.settings, SinkSettings::Lake(_)) && sink.when_full == WhenSinkFull::StopTaking;
    if config.all_sinks()?.iter().any(is_awaited_lake) {
        return wrong(
            "a sink of the kind \"lake\": requests would flush the lake all the time; \"kinesis\", \"firehose\" or \"kafka\" is allowed",
        );
    }
    if config.dead_letters.kind == DeadLettersKind::Files {
        let reason =
            "dead_letters.kind = \"files\": they would be on this disk only; \"kinesis\", \"firehose\" or \"kafka\" is allowed";
        return wrong(reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LakeConfig;

    fn from(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lakegate.toml");
        fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&file), environment).map_err(|error| error.to_string().replace(&file.display().to_string(), "FILE"))
    }

    #[test]
    fn a_lake_on_s3_needs_a_build_that_can_write_there() {
        let lake = |root: &str| LakeConfig { root: root.into(), ..LakeConfig::default() };
        let (key, reason) = lake("s3://bucket/lake").check(false).unwrap_err();
        assert!(key == "lake.root" && reason.contains("--features s3"), "{key}: {reason}");
        assert_eq!(lake("s3://bucket/lake").check(true), Ok(()));
        assert_eq!(lake("data/lake").check(false), Ok(()));
    }

    #[test]
    fn the_annotated_example_equals_the_defaults() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("lakegate.example.toml");
        assert_eq!(load(Some(&example), []), Ok(Config::default()));
        // The example has every key: the serialised defaults name no key that the example lacks.
        let written: Table = fs::read_to_string(&example).unwrap().parse().unwrap();
        let Value::Table(all) = Value::try_from(Config::default()).unwrap() else { panic!() };
        for (section, value) in all {
            let Value::Table(keys) = value else { continue };
            for key in keys.keys() {
                assert!(written[&section].get(key).is_some(), "{section}.{key} is not in lakegate.example.toml");
            }
        }
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let config = from(
            "[spool]\nquota_bytes = 1_000_000_000",
            &[("LAKEGATE__SPOOL__QUOTA_BYTES", "2_000_000_000"), ("LAKEGATE__DATA_DIR", "/tmp/x"), ("OTHER", "1")],
        );
        let config = config.unwrap();
        assert_eq!((config.spool.quota_bytes, config.data_dir), (2_000_000_000, "/tmp/x".into()));
    }

    #[test]
    fn old_names_are_accepted_and_told_but_not_beside_the_new_ones() {
        let config = from("[dead_letter]\nshare_percent = 7", &[("LAKEGATE__DEAD_LETTER__STREAM", "x")]).unwrap();
        assert_eq!((config.dead_letters.share_percent, &*config.dead_letters.stream), (7, "x"));
        assert!(config.notices[0].contains("[dead_letter] of the configuration file is now called [dead_letters]"));
        assert!(config.notices[1].contains("now called LAKEGATE__DEAD_LETTERS__…"), "{:?}", config.notices);
        // The environment overrides the file, also under an old name.
        let config = from("[dead_letter]\nshare_percent = 7", &[("LAKEGATE__DEAD_LETTERS__SHARE_PERCENT", "8")]).unwrap();
        assert_eq!((config.dead_letters.share_percent, config.notices.len()), (8, 1));
        let both = from("[dead_letter]\nshare_percent = 7\n[dead_letters]\nstream = \"x\"", &[]).unwrap_err();
        assert_eq!(
            both,
            "FILE: dead_letter: is the old name of [dead_letters], and the file has both sections; move its keys to [dead_letters]"
        );
        let both = [("LAKEGATE__DEAD_LETTER__STREAM", "x"), ("LAKEGATE__DEAD_LETTERS__SHARE_PERCENT", "8")];
        let both = from("", &both).unwrap_err();
        assert_eq!(
            both,
            "LAKEGATE__DEAD_LETTER__STREAM: dead_letter.stream: has the old name of the section [dead_letters], and \
             LAKEGATE__DEAD_LETTERS__SHARE_PERCENT has the new one; use the new one for all"
        );
    }

    #[test]
    fn a_wrong_value_names_its_place_what_was_found_and_what_is_allowed() {
        /// Text of a file, the environment, and the texts that the error must contain.
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
        let cases: [Case; 47] = [
            ("[spool]\nquota_bytes = \"x\"", &[], &["FILE: spool.quota_bytes:", "\"x\"", "expected u64"]),
            ("[spool]\nquota = 1", &[], &["FILE: spool.quota: unknown key; did you mean spool.quota_bytes?"]),
            ("[spol]", &[], &["FILE: spol: unknown key; did you mean spool?"]),
            ("[htpp]", &[("LAKEGATE__HTPP__PORT", "1")], &["FILE: htpp: unknown key; did you mean http?"]),
            ("", &[("LAKEGATE__HTPP__PORT", "1")], &["LAKEGATE__HTPP__PORT: unknown key; did you mean LAKEGATE__HTTP__…?"]),
            (
                "",
                &[("LAKEGATE__SPOOL__QUOTA", "1")],
                &["LAKEGATE__SPOOL__QUOTA: unknown key; did you mean LAKEGATE__SPOOL__QUOTA_BYTES?"],
            ),
            ("", &[("LAKEGATE__DATADIR", "x")], &["LAKEGATE__DATADIR: unknown key; did you mean LAKEGATE__DATA_DIR?"]),
            (
                "",
                &[("LAKEGATE__KEYS", "[{nam = \"a\"}]")],
                &["LAKEGATE__KEYS: keys[0].nam: unknown key; did you mean keys[0].name?"],
            ),
            ("[schemas]\nunknown_events = \"drop\"", &[], &["FILE: schemas.unknown_events:", "`drop`", "`reject`"]),
            ("", &[("LAKEGATE__HTTP__LISTEN", "nowhere")], &["LAKEGATE__HTTP__LISTEN: http.listen:", "invalid socket address"]),
            (
                "",
                &[("LAKEGATE__KEYS", "[{name = \"a b\", secret_sha256 = \"\"}]")],
                &["LAKEGATE__KEYS: keys[0].name: found \"a b\""],
            ),
            ("[spool]\nsegment_bytes = 1", &[], &["FILE: spool.segment_bytes: found 1; at least"]),
            ("[[keys]]\nname = \"../x\"\nsecret_sha256 = \"\"", &[], &["FILE: keys[0].name: found \"../x\""]),
            ("[[keys]]\nname = \"x\"\nsecret_sha256 = \"beef\"", &[], &["FILE: keys[0].secret_sha256:", "64 hexadecimal"]),
            ("[dedup]\nstore = \"memcached\"", &[], &["FILE: dedup.store:", "`memcached`", "`redis`"]),
            ("[dedup]\nstore = \"redis\"", &[], &["FILE: dedup.redis.url: found nothing; redis://"]),
            (
                "[dedup]\nstore = \"redis\"",
                &[("LAKEGATE__DEDUP__REDIS__URL", "http://:secret@x")],
                &["LAKEGATE__DEDUP__REDIS__URL: dedup.redis.url: found a text that is none; redis://"],
            ),
            (
                "[dedup]\nstore = \"redis\"\nredis = {url = \"redis://x\", key_prefix = \"{x}\"}",
                &[],
                &["FILE: dedup.redis.key_prefix: found \"{x}\""],
            ),
            (
                "[dedup]\nstore = \"redis\"\nredis = {url = \"redis://x\", deadline_ms = 0}",
                &[],
                &["FILE: dedup.redis.deadline_ms: found 0; 1 to 5000"],
            ),
            (
                "",
                &[("LAKEGATE__TELEMETRY__OTLP_ENDPOINT", "http://user:secret@x:4318")],
                &["LAKEGATE__TELEMETRY__OTLP_ENDPOINT: telemetry.otlp_endpoint: found a text that is none; http://"],
            ),
            ("[telemetry]\ntrace_sample_ratio = 1.5", &[], &["FILE: telemetry.trace_sample_ratio: found 1.5; 0 to 1"]),
            ("[telemetry]\nmetrics_interval_seconds = 0", &[], &["FILE: telemetry.metrics_interval_seconds: found 0; 1 to 3600"]),
            ("[telemetry]\nemf_interval_seconds = 3601", &[], &["FILE: telemetry.emf_interval_seconds: found 3601; 1 to 3600"]),
            ("[telemetry]\nemf_namespace = \"a b\"", &[], &["FILE: telemetry.emf_namespace: found \"a b\"; letters, digits"]),
            ("[telemetry]\nemf_namespace = \"AWS/EC2\"", &[], &["FILE: telemetry.emf_namespace: found a namespace of AWS"]),
            ("[telemetry]\nemf_gateway = \"\"", &[], &["FILE: telemetry.emf_gateway: found \"\"; a name is needed"]),
            ("[proxy]\ntrusted = [\"10.0.0.0/8\", \"here\"]", &[], &["FILE: proxy.trusted: found \"here\"; an address"]),
            ("[proxy]\nproxy_protocol = true", &[], &["FILE: proxy.proxy_protocol: is set, and proxy.trusted"]),
            ("[stop]\nlame_duck_seconds = 301", &[], &["FILE: stop.lame_duck_seconds: found 301; at most 300"]),
            ("[http]\ndurability = \"memory\"", &[], &["FILE: http.durability:", "`memory`", "`delivered`"]),
            (
                "[http]\ndurability = \"delivered\"",
                &[],
                &["FILE: http.durability: found \"delivered\" with a sink of the kind \"lake\""],
            ),
            (
                "[sink]\nkind = \"kinesis\"\n[kinesis]\nstream = \"events\"",
                &[("LAKEGATE__HTTP__DURABILITY", "delivered")],
                &["LAKEGATE__HTTP__DURABILITY: http.durability: found \"delivered\" with dead_letters.kind = \"files\""],
            ),
            ("[tls]\nclient_auth = \"required\"", &[], &["FILE: tls.client_auth: found \"required\" without client_ca"]),
            ("[browser]\nextra_path = \"/v1/events\"", &[], &["FILE: browser.extra_path: found \"/v1/events\"", "not below /v1"]),
            ("[browser]\nextra_path = \"/errors\"", &[], &["FILE: browser.extra_path: found \"/errors\""]),
            ("[browser]\nextra_path = \"/openapi.yaml\"", &[], &["FILE: browser.extra_path: found \"/openapi.yaml\""]),
            ("[admin]\nhosts = [\"Gate:9090\"]", &[], &["FILE: admin.hosts: found \"Gate:9090\"", "without a port"]),
            (
                "[admin]\nfleet = [\"gate:9090\"]",
                &[],
                &["FILE: admin.fleet: found \"gate:9090\"", "http:// with a host and a port"],
            ),
            ("[admin]\nfleet = [\"http://a:9090/x\"]", &[], &["FILE: admin.fleet: found \"http://a:9090/x\""]),
            ("[admin]\nfleet = [\"http://me@a:9090\"]", &[], &["FILE: admin.fleet: found \"http://me@a:9090\""]),
            ("[browser]\nextra_path = \"/{x}\"", &[], &["FILE: browser.extra_path: found \"/{x}\""]),
            ("[privacy]\nclient_address = \"half\"", &[], &["FILE: privacy.client_address:", "`half`", "`truncated`"]),
            (
                "[[keys]]\nname = \"x\"\nkind = \"browser\"\nsecret_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
                &[],
                &["FILE: keys[0].allowed_origins: is empty"],
            ),
            (
                "[[keys]]\nname = \"x\"\nshare_percent = 101\nsecret_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
                &[],
                &["FILE: keys[0].share_percent: found 101; 1 to 100 is allowed"],
            ),
            (
                "[[keys]]\nname = \"x\"\nevents_burst = 5\nsecret_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
                &[],
                &["FILE: keys[0].events_burst: at least 10000"],
            ),
            (
                "[[keys]]\nname = \"x\"\ncreated_days_ahead = 3\nsecret_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
                &[],
                &["FILE: keys[0].created_days_ahead: found 3; at most 2"],
            ),
            ("a = [", &[], &["FILE: is not TOML:"]),
        ];
        for (text, environment, parts) in cases {
            let error = from(text, environment).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error:?} lacks {part:?}");
            }
        }
    }
}
