//! What an erasure reaches: the components, and the sinks of the configuration.

use std::sync::Arc;

use super::{
    lake_location::{location_of, typed_location_of},
    sinks::memory_of,
};
use crate::{
    config::{Config, DeadLettersKind, DedupStore, SinkSettings},
    dead_letters::DeadLetters,
    erasure::{Erasure, ErasureLake, ErasureParts},
    spool::Spool,
};

/// The erasure of a gateway with these components.
pub(super) fn erasure(
    config: &Config,
    spool: &Arc<Spool>,
    dead_letter_spool: Option<&Arc<Spool>>,
    dead_letters: &Arc<DeadLetters>,
    is_running: bool,
) -> anyhow::Result<Erasure> {
    let (mut lakes, mut streams) = (Vec::new(), Vec::new());
    for sink in config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))? {
        match &sink.settings {
            SinkSettings::Lake(lake) => {
                let location = location_of(lake, config);
                // A lake without a place for them has none.
                let typed = typed_location_of(lake, &location).ok().flatten();
                lakes.push((sink.name.clone(), location, typed));
            }
            SinkSettings::Kinesis(kinesis) => streams.push(format!("the Kinesis stream {}", kinesis.stream)),
            SinkSettings::Firehose(firehose) => streams.push(format!("the Firehose stream {}", firehose.stream)),
            SinkSettings::Kafka(_) => streams.push(format!("the Kafka topics of the sink {}", sink.name)),
        }
    }
    if config.dead_letters.kind != DeadLettersKind::Files {
        let (kind, stream) = (config.dead_letters.kind.as_str(), &config.dead_letters.stream);
        streams.push(format!("the stream {stream} of the dead letters ({kind})"));
    }
    let has_several = lakes.len() > 1;
    let memory = |name: &str| memory_of(config, name, has_several);
    let lakes = lakes.into_iter().map(|(name, location, typed)| ErasureLake { location, typed, memory: memory(&name) }).collect();
    Ok(Erasure::new(ErasureParts {
        data_dir: config.data_dir.clone(),
        spool: spool.clone(),
        dead_letter_spool: dead_letter_spool.cloned(),
        dead_letters: dead_letters.clone(),
        lakes,
        streams,
        is_running,
        is_in_fleet: config.dedup.store != DedupStore::Local,
    }))
}
