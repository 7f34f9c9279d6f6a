//! The command line.

mod admin_client;
mod configuration;
mod day;
mod dead_letters;
mod dev;
mod errors;
mod failure;
mod find;
mod gateways;
mod health;
mod keys;
mod lake;
mod ledger;
mod output_format;
mod plan;
mod schemas;
mod serve;
mod spool;
mod tail;
mod top;
mod view_schemas;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{app, config::Config};
use configuration::{load, load_and_tell};
use failure::{EXIT_CONFIG, complain, is_broken_pipe, notice};
use output_format::print;

/// Lakegate takes events over HTTPS, validates and deduplicates them, keeps them on disk, and delivers them to a data lake.
#[derive(Debug, Parser)]
#[command(name = "lakegate", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(ServeArgs),
    /// Run a gateway for the tests of an application: on this machine only, in memory, with every event at hand.
    Dev(dev::DevArgs),
    /// Ask the gateway on this machine whether it is ready: exit code 0 if it is, 1 if not.
    Health(health::HealthArgs),
    /// Where is my event? Everything that the gateway knows of an event_uuid: accepted, delivered where, rejected, lost, never seen.
    Find(find::FindArgs),
    /// Print what happened to every event, by minute; compare it with the lake or a stream.
    Ledger(ledger::LedgerArgs),
    /// Watch what running gateways do: rates, outcomes, latencies, lag, headroom, hot shards, noisy keys.
    Top(top::TopArgs),
    /// List, count, find and export the events in the lake.
    #[command(subcommand)]
    Lake(lake::LakeCommand),
    /// Find, repair, replay and drop dead letters.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// The old name of `dead-letters`.
    #[command(subcommand, hide = true)]
    Dlq(dead_letters::DeadLettersCommand),
    /// Show events as they come in, with their outcomes.
    Tail(tail::TailArgs),
    /// Look into the spool, and at what was set aside as damaged.
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    /// List, check, compare, add and export the schemas of the events.
    #[command(subcommand)]
    Schemas(schemas::SchemasCommand),
    /// Make, list, rotate and revoke the keys of senders.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Print every error code with its meaning, as Markdown.
    Errors,
    /// Estimate what a load needs and costs: gateways, disks, shards, USD a month.
    Plan(plan::PlanArgs),
    /// Check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Where the configuration comes from: the defaults, then the file, then `LAKEGATE__SECTION__KEY`, then these options.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file (TOML) [default: the file that LAKEGATE_CONFIG names].
    ///
    /// `lakegate.example.toml` shows every key. LAKEGATE__HTTP__LISTEN overrides the key http.listen.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port for events [default: 127.0.0.1:8443].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address and port for metrics and health [default: 127.0.0.1:9090].
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Folder of everything that the gateway stores [default: ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Refuse to start on a data folder that no gateway used before.
    ///
    /// Such a folder is, for example, the empty mount point of a disk that is not mounted.
    #[arg(long)]
    require_existing_data: bool,
    /// Folder of the schema registry [default: ./schemas].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Serve HTTP without TLS, behind a load balancer that terminates TLS.
    #[arg(long)]
    plaintext: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a configuration file and the environment, and print the configuration in force.
    Check {
        /// Configuration file (TOML) [default: the file that LAKEGATE_CONFIG names].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Serve(args) => match serve_config(&args) {
            Ok(config) => match check_settings(&config).and_then(|()| app::check_data_folder(&config)) {
                Ok(()) => serve::serve(&config, move || serve_config(&args), serve::announce),
                Err(error) => return complain(&error, EXIT_CONFIG),
            },
            Err(error) => return complain(&error, EXIT_CONFIG),
        },
        Command::Dev(args) => dev::run(&args),
        Command::Health(args) => match load_and_tell(args.config.as_deref()) {
            Ok(config) => health::run(&args, &config),
            Err(error) => return complain(&error, EXIT_CONFIG),
        },
        Command::Find(args) => find::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Lake(command) => lake::run(&command),
        Command::DeadLetters(command) => dead_letters::run(&command),
        Command::Dlq(command) => {
            notice("`lakegate dlq` is now called `lakegate dead-letters`; the old name works for now");
            dead_letters::run(&command)
        }
        Command::Tail(args) => tail::run(&args),
        Command::Spool(command) => spool::run(&command),
        Command::Schemas(command) => schemas::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Errors => errors::run(),
        Command::Plan(args) => plan::run(&args),
        Command::Config(ConfigCommand::Check { config }) => match load_and_tell(config.as_deref()) {
            Ok(config) => match check_settings(&config) {
                Ok(()) => check(&config),
                Err(error) => return complain(&error, EXIT_CONFIG),
            },
            Err(error) => return complain(&error, EXIT_CONFIG),
        },
    };
    match result {
        Ok(code) => code,
        // The reader of the pipe has closed it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

/// What the settings must fulfil together before a gateway starts. Reads no files.
fn check_settings(config: &Config) -> anyhow::Result<()> {
    app::check_listener(config)?;
    app::check_typed_tables(config)
}

fn check(config: &Config) -> anyhow::Result<ExitCode> {
    print(toml::to_string(config)?)?;
    Ok(ExitCode::SUCCESS)
}

fn serve_config(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut config = load(args.config.as_deref())?;
    if let Some(listen) = args.listen {
        config.http.listen = listen;
    }
    if let Some(admin) = args.admin {
        config.admin.listen = admin;
    }
    if let Some(data_dir) = &args.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if let Some(schemas) = &args.schemas {
        config.schemas.dir.clone_from(schemas);
    }
    config.http.plaintext |= args.plaintext;
    config.require_existing_data |= args.require_existing_data;
    Ok(config)
}
