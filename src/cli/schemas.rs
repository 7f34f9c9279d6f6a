//! `lakegate schemas …`: the registry, for those who write schemas.

mod check;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum SchemasCommand {
    /// Check a registry: files, examples, what was published, and whether new versions accept what old ones do.
    Check(check::CheckArgs),
}

/// Runs the command.
pub(super) fn run(command: &SchemasCommand) -> anyhow::Result<ExitCode> {
    match command {
        SchemasCommand::Check(args) => check::run(args),
    }
}
