//! `lakegate schemas show`.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::Args;

use super::registry_args::{RegistryArgs, find};

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// Which schema: NAME, or NAME/VERSION; without a version the newest.
    #[arg(value_name = "NAME[/VERSION]")]
    schema: String,
    /// Print its first example instead: an event that can be sent.
    #[arg(long)]
    example: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &ShowArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let registry = args.registry.load()?;
    let schema = find(&registry, &args.schema)?;
    let document = schema.read();
    let shown = match args.example {
        true => document["examples"].get(0).with_context(|| format!("{} has no examples", schema.label()))?,
        false => document,
    };
    writeln!(out, "{}", serde_json::to_string_pretty(shown)?)?;
    Ok(ExitCode::SUCCESS)
}
