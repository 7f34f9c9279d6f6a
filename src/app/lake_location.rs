//! Where a configured lake lies.

use crate::{
    config::{Config, LakeConfig, LakeTable},
    sink::lake::{LakeConfig as Location, TableFormat},
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
