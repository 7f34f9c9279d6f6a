//! Where a configured lake lies.

use std::collections::HashSet;

use crate::{
    config::{Config, LakeConfig, LakeTable, SinkSettings},
    sink::lake::{LakeConfig as Location, LakeError, TableFormat, typed_location},
};

/// The configured location of the lake.
#[must_use]
pub fn lake_location(config: &Config) -> Location {
    location_of(&config.lake, config)
}

/// The location of `lake`.
#[must_use]
pub fn location_of(lake: &LakeConfig, config: &Config) -> Location {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    Location {
        root: given(&lake.root).unwrap_or_else(|| config.data_dir.join("lake").display().to_string()),
        s3_endpoint: given(&lake.s3_endpoint),
        s3_region: given(&lake.s3_region),
        s3_allow_http: lake.s3_allow_http,
        table: match lake.table {
            LakeTable::Delta => TableFormat::Delta,
            LakeTable::None => TableFormat::None,
        },
    }
}

/// The location of the typed tables of `lake`, whether or not the gateway keeps them; `None` for a lake that is no table.
///
/// # Errors
/// [`LakeError`] if there is no place for them.
pub fn typed_location_of(lake: &LakeConfig, location: &Location) -> Result<Option<Location>, LakeError> {
    if lake.table != LakeTable::Delta {
        return Ok(None);
    }
    let root = Some(lake.typed.root.as_str()).filter(|root| !root.is_empty());
    typed_location(location, root).map(Some)
}

/// Whether the gateway keeps the typed tables of `lake` by itself.
pub(super) fn keeps_typed_tables(lake: &LakeConfig, location: &Location) -> bool {
    lake.typed.enabled.unwrap_or(!location.root.contains("://"))
}

/// Refuses typed tables that have no place, or the place of another lake. Reads no files.
///
/// # Errors
/// What is wrong.
pub fn check_typed_tables(config: &Config) -> anyhow::Result<()> {
    let mut roots = HashSet::new();
    for sink in config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))? {
        let SinkSettings::Lake(lake) = &sink.settings else { continue };
        let location = location_of(lake, config);
        if !lake.upkeep.enabled || !keeps_typed_tables(lake, &location) {
            continue;
        }
        if let Some(typed) = typed_location_of(lake, &location)? {
            let root = typed.root;
            anyhow::ensure!(!roots.contains(&root), "lake.typed.root: two lakes cannot have their typed tables in {root}");
            roots.insert(root);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LakeTypedConfig;

    #[test]
    fn a_whole_bucket_has_no_place_for_typed_tables_unless_it_is_told_one() {
        let checked = |root: &str, enabled: Option<bool>, typed: &str| {
            let typed = LakeTypedConfig { enabled, root: typed.into() };
            let lake = LakeConfig { root: root.into(), typed, ..LakeConfig::default() };
            check_typed_tables(&Config { lake, ..Config::default() }).map_err(|error| error.to_string())
        };
        assert_eq!(checked("", None, ""), Ok(()));
        assert_eq!(checked("s3://bucket", None, ""), Ok(()), "nothing is built there");
        assert_eq!(checked("s3://bucket/lake", Some(true), ""), Ok(()));
        assert_eq!(checked("s3://bucket", Some(true), "s3://bucket/typed"), Ok(()));
        assert!(checked("s3://bucket", Some(true), "").unwrap_err().contains("[lake.typed] root"));
    }
}
