//! Where a configured lake lies.

use crate::{
    config::{Config, LakeConfig, LakeTable},
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
