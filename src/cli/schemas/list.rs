//! `lakegate schemas list`.

use std::{io::Write, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::registry_args::RegistryArgs;
use crate::cli::output_format::Format;

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize)]
struct Item<'a> {
    event_name: &'a str,
    title: &'a str,
    versions: Vec<u32>,
    latest: u32,
}

pub(super) fn run(args: &ListArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let registry = args.registry.load()?;
    let items: Vec<Item<'_>> = registry
        .iter()
        .filter_map(|(event_name, versions)| {
            let newest = versions.last()?;
            let versions = versions.iter().map(|schema| schema.version).collect();
            Some(Item { event_name, title: &newest.title, versions, latest: newest.version })
        })
        .collect();
    if args.format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&items)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = items.iter().map(|item| item.event_name.len()).max().unwrap_or_default().max("event_name".len());
    writeln!(out, "{:<width$}  {:<12}  title", "event_name", "versions")?;
    for item in items {
        let versions = item.versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        writeln!(out, "{:<width$}  {versions:<12}  {}", item.event_name, item.title)?;
    }
    Ok(ExitCode::SUCCESS)
}
