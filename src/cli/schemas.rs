//! `lakegate schemas …`: the registry, for who writes schemas and for who reads them.

mod check;
mod diff;
mod export;
mod list;
mod new;
mod show;
mod simulate;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    config::Config,
    json::Visible,
    schema::{self, Registry, Resolution, Schema},
};

#[derive(Debug, Subcommand)]
pub(super) enum SchemasCommand {
    /// Check a registry: files, examples, what was published, and whether new versions accept what old ones do.
    Check(check::CheckArgs),
    /// List the events with their versions and titles.
    List(list::ListArgs),
    /// Print a schema as the gateway serves it, with all references resolved.
    Show(show::ShowArgs),
    /// Print the differences between two versions, field by field: exit code 1 if there are any.
    Diff(diff::DiffArgs),
    /// Write a first schema for an event, or its next version; no existing file is overwritten.
    New(new::NewArgs),
    /// Validate recorded events with a proposed registry: which it would newly reject, which newly accept.
    Simulate(simulate::SimulateArgs),
    /// Write the registry as TypeScript types, SQL views, Glue tables, or a catalogue in Markdown.
    Export(export::ExportArgs),
}

/// Which registry.
#[derive(Debug, Args)]
struct RegistryArgs {
    /// Folder of the schema registry [default: as configured, ./schemas].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputForm {
    Table,
    Json,
}

impl RegistryArgs {
    fn configured(&self) -> anyhow::Result<Config> {
        super::load(self.config.as_deref())
    }

    fn folder(&self) -> anyhow::Result<PathBuf> {
        self.schemas.clone().map_or_else(|| Ok(self.configured()?.schemas.dir), Ok)
    }

    fn load(&self) -> anyhow::Result<Registry> {
        Ok(schema::load(&self.folder()?)?)
    }
}

/// Runs the command.
pub(super) fn run(command: &SchemasCommand) -> anyhow::Result<ExitCode> {
    let out = &mut BufWriter::new(io::stdout().lock());
    let result = match command {
        SchemasCommand::Check(args) => check::run(args, &mut Visible::new(&mut *out)),
        SchemasCommand::List(args) => list::run(args, out),
        SchemasCommand::Show(args) => show::run(args, out),
        SchemasCommand::Diff(args) => diff::run(args, out),
        SchemasCommand::New(args) => new::run(args, out),
        SchemasCommand::Simulate(args) => simulate::run(args),
        SchemasCommand::Export(args) => export::run(args, out),
    };
    match result.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        // The reader of the pipe has seen enough.
        Err(error) if super::is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

/// The schema that `label` names: `menu:item:viewed`, or `menu:item:viewed/2`.
fn find<'a>(registry: &'a Registry, label: &str) -> anyhow::Result<&'a Schema> {
    let (name, version) = parse_label(label)?;
    match registry.resolve(name, version) {
        Resolution::Known(schema) => Ok(schema),
        Resolution::UnknownVersion(newest) => {
            bail!("{name} has no version {}; the newest is {}", version.unwrap_or_default(), newest.version)
        }
        Resolution::UnknownName => match registry.nearest(name) {
            Some(nearest) => bail!("no schema is named {name}; did you mean {nearest}?"),
            None => bail!("no schema is named {name}"),
        },
    }
}

fn parse_label(label: &str) -> anyhow::Result<(&str, Option<u32>)> {
    match label.split_once('/') {
        None => Ok((label, None)),
        Some((name, version)) => match version.parse() {
            Ok(number) if number > 0 => Ok((name, Some(number))),
            _ => bail!("{label} is no schema: NAME or NAME/VERSION is expected, such as menu:item:viewed/2"),
        },
    }
}
