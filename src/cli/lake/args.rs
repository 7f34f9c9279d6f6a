//! What the commands of `lakegate lake` have in common: which lake, which of its events, as of when.

use clap::Args;

use crate::{
    app::lake_location,
    cli::{configuration::PlaceArgs, day::day},
    config::Config,
    event::{CreatedAt, Date},
    sink::lake::{AsOf, Filters, Lake, LakeConfig, LeftOut},
};

/// Which lake.
#[derive(Debug, Args)]
pub(in crate::cli) struct LakeArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Folder of the lake, or s3://bucket/prefix [default: as configured, DATA_DIR/lake].
    #[arg(long, value_name = "ROOT")]
    lake: Option<String>,
}

/// Which events of it.
#[derive(Debug, Args)]
pub(in crate::cli) struct QueryArgs {
    #[command(flatten)]
    place: LakeArgs,
    /// Only this event type, such as menu.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only this event name, such as menu:item:viewed.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only events whose created_date (UTC) is this day or later.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    from: Option<Date>,
    /// Only events whose created_date (UTC) is this day or earlier.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    to: Option<Date>,
    /// The lake's table as it was: a version, such as 17, or a time, such as 2026-11-20T12:00:00Z [default: now].
    #[arg(long, value_name = "VERSION|TIME", value_parser = as_of)]
    as_of: Option<AsOf>,
}

impl LakeArgs {
    /// Where the lake is.
    pub(super) fn location(&self) -> anyhow::Result<LakeConfig> {
        Ok(self.location_by(&self.place.config()?))
    }

    /// Where the lake is, by a configuration that is loaded already.
    pub(super) fn location_by(&self, config: &Config) -> LakeConfig {
        let mut location = lake_location(config);
        if let Some(root) = &self.lake {
            location.root.clone_from(root);
        }
        location
    }

    /// The lake as it is now.
    pub(super) fn open(&self) -> anyhow::Result<Lake> {
        Ok(Lake::open_with(&self.location()?)?)
    }
}

impl QueryArgs {
    /// The lake as of the time that is asked for.
    pub(super) fn open(&self) -> anyhow::Result<Lake> {
        match self.as_of {
            Some(as_of) => Ok(Lake::open_as_of(&self.place.location()?, as_of)?),
            None => self.place.open(),
        }
    }

    pub(super) fn filters(&self) -> Filters {
        Filters {
            event_type: self.event_type.clone(),
            event_name: self.name.clone(),
            from_inclusive: self.from,
            to_inclusive: self.to,
        }
    }
}

/// Parses a version or a time.
pub(super) fn as_of(text: &str) -> Result<AsOf, String> {
    if let Ok(version) = text.parse() {
        return Ok(AsOf::Version(version));
    }
    let expected = || format!("`{text}` is neither a version, such as 17, nor a time, such as 2026-11-20T12:00:00Z");
    CreatedAt::parse_text(text).map(|time| AsOf::Time(time.millis)).map_err(|_| expected())
}

/// Prints the files that were left out. Returns whether there were none.
#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
pub(super) fn report(left_out: &[LeftOut]) -> bool {
    for file in left_out {
        eprintln!("lakegate: left out {}: {}", file.file, file.reason);
    }
    left_out.is_empty()
}
