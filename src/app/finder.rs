//! Where single events are looked for: the pipeline, and the lakes of the configuration.

use std::sync::Arc;

use super::lake_location::location_of;
use crate::{
    config::{Config, SinkSettings},
    find::{Finder, FinderLake},
    ingest::Ingest,
    sink::lake::KeptLake,
};

/// The finder of a gateway.
pub(super) fn finder(config: &Config, ingest: &Arc<Ingest>) -> anyhow::Result<Finder> {
    let sinks = config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
    let names = sinks.iter().map(|sink| sink.name.clone()).collect();
    let lakes = sinks.iter().filter_map(|sink| match &sink.settings {
        SinkSettings::Lake(lake) => Some(FinderLake { sink: sink.name.clone(), lake: KeptLake::new(location_of(lake, config)) }),
        _ => None,
    });
    Ok(Finder { ingest: ingest.clone(), sinks: names, lakes: lakes.collect() })
}
