//! The sinks with their settings: those of the section of their kind, and their own.

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::{
    Config, DeadLettersKind, FirehoseConfig, KafkaConfig, KinesisConfig, LakeConfig, SinkEntry, SinkKind, StartAt, WhenSinkFull,
    sink_entry::SECRET_KEY, stream::within,
};
use crate::limits::{SINK_NAME_CHARS_MAX, SINKS_MAX};

/// A sink with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// What it is, and its settings.
    pub settings: SinkSettings,
    /// Where it begins if it is new.
    pub start: StartAt,
    /// Percent of the spool's quota for the events that wait for it.
    pub quota_percent: u8,
    /// What happens when they fill it.
    pub when_full: WhenSinkFull,
}

/// The settings of a sink.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkSettings {
    /// The Parquet lake.
    Lake(LakeConfig),
    /// A stream of Kinesis.
    Kinesis(KinesisConfig),
    /// A delivery stream of Firehose.
    Firehose(FirehoseConfig),
    /// Topics of Kafka.
    Kafka(KafkaConfig),
}

impl SinkSettings {
    /// The place where the events go.
    fn destination(&self) -> [&str; 4] {
        match self {
            Self::Lake(lake) => ["lake", &lake.root, &lake.s3_endpoint, &lake.s3_region],
            Self::Kinesis(kinesis) => ["kinesis", &kinesis.stream, &kinesis.endpoint, &kinesis.region],
            Self::Firehose(firehose) => ["firehose", &firehose.stream, &firehose.endpoint, &firehose.region],
            Self::Kafka(kafka) => ["kafka", &kafka.bootstrap_servers, &kafka.topic, ""],
        }
    }
}

impl Config {
    /// The sinks, at least one.
    ///
    /// # Errors
    /// The key and the reason of the first fault.
    pub fn all_sinks(&self) -> Result<Vec<Sink>, (String, String)> {
        if self.sinks.is_empty() {
            let kind = self.sink.kind;
            let (start, when_full) = (StartAt::TakeOver, WhenSinkFull::StopTaking);
            let settings = self.settings_of(kind, &Table::new()).map_err(|reason| (kind.as_str().to_owned(), reason))?;
            return Ok(vec![Sink { name: kind.as_str().to_owned(), settings, start, quota_percent: 100, when_full }]);
        }
        self.sinks.iter().enumerate().map(|(index, entry)| self.sink_of(index, entry)).collect()
    }

    fn sink_of(&self, index: usize, entry: &SinkEntry) -> Result<Sink, (String, String)> {
        let SinkEntry { name, kind, start, quota_percent, when_full, settings } = entry;
        let name = if name.is_empty() { kind.as_str() } else { name }.to_owned();
        let settings = self.settings_of(*kind, &settings.0).map_err(|reason| (format!("sinks[{index}].settings"), reason))?;
        Ok(Sink { name, settings, start: *start, quota_percent: *quota_percent, when_full: *when_full })
    }

    fn settings_of(&self, kind: SinkKind, other: &Table) -> Result<SinkSettings, String> {
        Ok(match kind {
            SinkKind::Lake => SinkSettings::Lake(overlaid(&self.lake, other)?),
            SinkKind::Kinesis => SinkSettings::Kinesis(overlaid(&self.kinesis, other)?),
            SinkKind::Firehose => SinkSettings::Firehose(overlaid(&self.firehose, other)?),
            SinkKind::Kafka => {
                let mut kafka = overlaid(&self.kafka, other)?;
                // A secret is never serialised, so it is not in the table.
                if !other.contains_key(SECRET_KEY) {
                    kafka.password = self.kafka.password.clone();
                }
                SinkSettings::Kafka(kafka)
            }
        })
    }
}

/// `section` with the keys of `other` in place of its own.
fn overlaid<T: Clone + Serialize + DeserializeOwned>(section: &T, other: &Table) -> Result<T, String> {
    if other.is_empty() {
        return Ok(section.clone());
    }
    let mut table = Table::try_from(section).map_err(|error| error.to_string())?;
    table.extend(other.clone());
    Value::Table(table).try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Validates the sinks. Returns the key and the reason of the first fault.
pub(super) fn check(config: &Config) -> Result<(), (String, String)> {
    if config.sinks.len() > SINKS_MAX {
        return Err(("sinks".into(), format!("found {}; at most {SINKS_MAX} are allowed", config.sinks.len())));
    }
    let sinks = config.all_sinks()?;
    for (index, sink) in sinks.iter().enumerate() {
        // Without [[sinks]] the settings are those of a section.
        let is_listed = !config.sinks.is_empty();
        let at = |key: &str| if is_listed { format!("sinks[{index}].{key}") } else { key.to_owned() };
        if matches!(sink.settings, SinkSettings::Kafka(_)) {
            let key = if is_listed { at("kind") } else { "sink.kind".into() };
            super::kafka::check_build(&key, cfg!(feature = "kafka"))?;
        }
        check_settings(&sink.settings).map_err(|(key, reason)| match config.sinks.get(index) {
            Some(entry) if !entry.settings.0.is_empty() => {
                (at("settings"), format!("{}: {reason}", key.rsplit('.').next().unwrap_or(&key)))
            }
            _ => (key, reason),
        })?;
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if sink.name.len() > SINK_NAME_CHARS_MAX || !sink.name.chars().all(is_allowed) {
            let reason =
                format!("found {:?}; small letters, digits, `-` and `_` are allowed, {SINK_NAME_CHARS_MAX} at most", sink.name);
            return Err((at("name"), reason));
        }
        if sinks[..index].iter().any(|other| other.name == sink.name) {
            return Err((at("name"), format!("found {:?} twice; give each sink a name of its own", sink.name)));
        }
        if let Some(same) = sinks[..index].iter().find(|other| other.settings.destination() == sink.settings.destination()) {
            let reason = format!("are those of the sink {:?}; each sink needs a destination of its own", same.name);
            return Err((at("settings"), reason));
        }
        within(&format!("sinks[{index}]"), "quota_percent", sink.quota_percent.into(), 1..=100)?;
        let (quota, least) = (config.spool.quota_bytes / 100 * u64::from(sink.quota_percent), 2 * config.spool.segment_bytes);
        if sink.quota_percent < 100 && quota < least {
            let reason = format!(
                "found {}, which is {quota} bytes of spool.quota_bytes; at least two segments of the spool, {least} bytes, are allowed",
                sink.quota_percent
            );
            return Err((at("quota_percent"), reason));
        }
    }
    if let Some(same) = sinks.iter().find(|sink| Some(sink.settings.destination()) == dead_letters_destination(config)) {
        let reason = format!("is that of the sink {:?}; dead letters need a destination of their own", same.name);
        return Err(("dead_letters.stream".into(), reason));
    }
    if sinks.iter().all(|sink| sink.when_full == WhenSinkFull::DropThisSink) {
        let reason = "found \"drop_this_sink\" for every sink; one needs \"stop_taking\", or events could be dropped by all";
        return Err(("sinks".into(), reason.into()));
    }
    Ok(())
}

/// Where the dead letters go, in the words of [`SinkSettings::destination`]; `None` for files.
fn dead_letters_destination(config: &Config) -> Option<[&str; 4]> {
    let (kind, stream) = (config.dead_letters.kind, config.dead_letters.stream.as_str());
    match kind {
        DeadLettersKind::Files => None,
        DeadLettersKind::Kinesis => Some([kind.as_str(), stream, &config.kinesis.endpoint, &config.kinesis.region]),
        DeadLettersKind::Firehose => Some([kind.as_str(), stream, &config.firehose.endpoint, &config.firehose.region]),
        DeadLettersKind::Kafka => Some([kind.as_str(), &config.kafka.bootstrap_servers, stream, ""]),
    }
}

fn check_settings(settings: &SinkSettings) -> Result<(), (String, String)> {
    match settings {
        SinkSettings::Lake(lake) => lake.check(cfg!(feature = "s3")),
        SinkSettings::Kinesis(kinesis) => {
            super::stream::check_named("kinesis.stream", &kinesis.stream)?;
            super::kinesis::check(kinesis)
        }
        SinkSettings::Firehose(firehose) => {
            super::stream::check_named("firehose.stream", &firehose.stream)?;
            super::firehose::check_name("firehose.stream", &firehose.stream)?;
            super::firehose::check(firehose)
        }
        SinkSettings::Kafka(kafka) => {
            super::kafka::check_servers(kafka)?;
            super::kafka::check_topic(kafka)?;
            super::kafka::check(kafka)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn sinks(text: &str) -> Result<Vec<Sink>, String> {
        parse(None, text, []).map(|config| config.all_sinks().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_list_there_is_one_sink_and_with_a_list_there_are_those() {
        let [only] = &*sinks("[sink]\nkind = \"kinesis\"\n[kinesis]\nstream = \"a\"").unwrap() else { panic!() };
        assert_eq!((&*only.name, only.when_full), ("kinesis", WhenSinkFull::StopTaking));
        let text = r#"
            kinesis = {stream = "a", linger_ms = 9}
            [[sinks]]
            kind = "lake"
            [[sinks]]
            kind = "kinesis"
            [[sinks]]
            name = "other-region"
            kind = "kinesis"
            start = "now"
            quota_percent = 20
            when_full = "drop_this_sink"
            settings = {stream = "b", region = "eu-west-1"}
        "#;
        let [lake, first, second] = &*sinks(text).unwrap() else { panic!() };
        assert_eq!((&*lake.name, &lake.settings), ("lake", &SinkSettings::Lake(LakeConfig::default())));
        let kinesis = KinesisConfig { stream: "a".into(), linger_ms: 9, ..KinesisConfig::default() };
        assert_eq!((&*first.name, &first.settings), ("kinesis", &SinkSettings::Kinesis(kinesis.clone())));
        let other = KinesisConfig { stream: "b".into(), region: "eu-west-1".into(), ..kinesis };
        assert_eq!((&*second.name, &second.settings), ("other-region", &SinkSettings::Kinesis(other)));
        assert_eq!((second.start, second.quota_percent, second.when_full), (StartAt::Now, 20, WhenSinkFull::DropThisSink));
    }

    /// Parsed without the checks, which refuse Kafka in a build without it.
    #[test]
    fn a_password_reaches_every_sink_and_is_never_printed() {
        let text = r#"
            kafka = {bootstrap_servers = "a:9092", topic = "t", username = "u", password = "s3cret"}
            [[sinks]]
            kind = "kafka"
            settings = {topic = "b"}
            [[sinks]]
            kind = "kafka"
            name = "other"
            settings = {topic = "c", password = "an0ther"}
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let password = |sink: &Sink| match &sink.settings {
            SinkSettings::Kafka(kafka) => (kafka.topic.clone(), kafka.password.secret().to_owned()),
            _ => panic!("{sink:?}"),
        };
        let found: Vec<_> = config.all_sinks().unwrap().iter().map(password).collect();
        assert_eq!(found, [("b".to_owned(), "s3cret".to_owned()), ("c".to_owned(), "an0ther".to_owned())]);
        let printed = format!("{config:?} {}", toml::to_string(&config).unwrap());
        assert!(printed.contains("***") && !printed.contains("s3cret") && !printed.contains("an0ther"), "{printed}");
    }

    #[test]
    fn a_wrong_sink_is_named_with_what_is_allowed() {
        let two = |second: &str| format!("[[sinks]]\nkind = \"lake\"\n[[sinks]]\n{second}");
        let cases = [
            (two("kind = \"lake\""), "sinks[1].name: found \"lake\" twice"),
            (two("kind = \"lake\"\nname = \"b\""), "sinks[1].settings: are those of the sink \"lake\""),
            (two("kind = \"lake\"\nname = \"A b\""), "sinks[1].name: found \"A b\"; small letters"),
            (two("kind = \"kinesis\""), "kinesis.stream: is empty"),
            (two("kind = \"kinesis\"\nsettings = {strem = \"x\"}"), "sinks[1].settings: unknown field `strem`"),
            (
                two("kind = \"kinesis\"\nsettings = {stream = \"x\", linger_ms = 90000}"),
                "sinks[1].settings: linger_ms: found 90000",
            ),
            (
                two("kind = \"lake\"\nname = \"b\"\nsettings = {root = \"b\"}\nquota_percent = 0"),
                "sinks[1].quota_percent: found 0; 1 to 100",
            ),
            (two("kind = \"lake\"\nname = \"b\"\nstart = \"never\""), "`take_over`, `oldest`, `now`"),
            ("[[sinks]]\nkind = \"lake\"\nwhen_full = \"drop_this_sink\"".into(), "one needs \"stop_taking\""),
            (two("name = \"b\""), "missing field `kind`"),
            (
                "[sink]\nkind = \"kinesis\"\n[kinesis]\nstream = \"a\"\n[dead_letters]\nkind = \"kinesis\"\nstream = \"a\""
                    .into(),
                "dead_letters.stream: is that of the sink \"kinesis\"",
            ),
        ];
        for (text, part) in cases {
            let error = sinks(&text).unwrap_err();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}
