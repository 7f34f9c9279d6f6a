//! `lakegate schemas …`: work on the registry.

mod simulate;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum SchemasCommand {
    /// Judge recorded events by a proposed registry: what it would newly reject, and what it would rescue.
    Simulate(simulate::SimulateArgs),
}

/// Runs the command.
pub(super) fn run(command: &SchemasCommand) -> anyhow::Result<ExitCode> {
    match command {
        SchemasCommand::Simulate(args) => simulate::run(args),
    }
}
