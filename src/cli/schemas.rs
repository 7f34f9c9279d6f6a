//! `lakegate schemas …`: the registry, for authors and readers of schemas.

mod check;
mod diff;
mod export;
mod list;
mod new;
mod registry_args;
mod show;
mod simulate;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::Subcommand;

use crate::json::Visible;

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
    result.and_then(|code| Ok(out.flush().map(|()| code)?))
}
