//! `lakegate keys`: makes, lists, rotates and revokes keys.
//!
//! `new` and `rotate --print` only print. `rotate` and `revoke` change the configuration file in place. A running gateway reads
//! the file again when it is asked to.

mod change;
mod config_file;
mod document;
mod list;
mod new;
mod secrets;

use std::process::ExitCode;

use clap::Subcommand;

/// Make, list, rotate and revoke keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key: print its secret, for the sender, and its lines for the configuration, which hold only a hash.
    New(new::NewArgs),
    /// List the keys of the configuration and their secrets, and when a running gateway last saw each.
    List(list::ListArgs),
    /// Make another secret for a key, in the configuration file. The old ones stay good for a while.
    Rotate(change::RotateArgs),
    /// Remove a secret of a key from the configuration file, or switch the whole key off.
    Revoke(change::RevokeArgs),
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::New(args) => new::run(args)?,
        KeysCommand::List(args) => list::run(args)?,
        KeysCommand::Rotate(args) => change::rotate(args)?,
        KeysCommand::Revoke(args) => change::revoke(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
