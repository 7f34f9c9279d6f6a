//! The command line.

mod dlq;
mod errors;
mod health;
mod keys;
mod lake;
mod operator;
mod plan;
mod schemas;
mod serve;
mod spool;
mod view_schemas;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app,
    config::{self, Config},
    sink::lake::LakeError,
};

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
    /// Ask the gateway on this machine whether it is ready: exit code 0 if it is, 1 if not.
    Health(health::HealthArgs),
    /// List, count, find and export the events in the lake.
    #[command(subcommand)]
    Lake(lake::LakeCommand),
    /// Find, repair, replay and drop dead letters.
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Inspect the spool (accepted events that are not delivered yet) and its damaged files.
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    /// List, check, compare, add and export the schemas of the events.
    #[command(subcommand)]
    Schemas(schemas::SchemasCommand),
    /// Make API keys for senders.
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

/// Where the data folder of a gateway is.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the gateway [default: as configured, ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl PlaceArgs {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = load(self.config.as_deref())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        Ok(config)
    }
}

/// Exit code for a wrong configuration or command line (sysexits' `EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Serve(args) => match serve_config(&args) {
            Ok(config) => match app::check_data_folder(&config) {
                Ok(()) => serve::serve(&config, move || serve_config(&args)),
                Err(error) => return complain(&error, EXIT_CONFIG),
            },
            Err(error) => return complain(&error, EXIT_CONFIG),
        },
        Command::Health(args) => match load(args.config.as_deref()) {
            Ok(config) => health::run(&args, &config),
            Err(error) => return complain(&error, EXIT_CONFIG),
        },
        Command::Lake(command) => lake::run(&command),
        Command::Dlq(command) => dlq::run(&command),
        Command::Spool(command) => spool::run(&command),
        Command::Schemas(command) => schemas::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Errors => errors::run(),
        Command::Plan(args) => plan::run(&args),
        Command::Config(ConfigCommand::Check { config }) => match load(config.as_deref()) {
            Ok(config) => check(&config),
            Err(error) => return complain(&error, EXIT_CONFIG),
        },
    };
    result.unwrap_or_else(|error| complain(&error, 1))
}

#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("lakegate: {}", in_full(error));
    ExitCode::from(code)
}

/// Whether the reader of a pipe has gone.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(LakeError::Output(error)) => is_broken(error),
        _ => cause.downcast_ref().is_some_and(is_broken),
    })
}

/// An error with its causes, leaving out those that it names itself.
fn in_full(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.contains(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

#[allow(clippy::print_stdout, reason = "this is what standard output is for")]
fn check(config: &Config) -> anyhow::Result<ExitCode> {
    print!("{}", toml::to_string(config)?);
    Ok(ExitCode::SUCCESS)
}

/// Names the configuration file where no option does, so that a container's gateway and its health check read the same one.
const CONFIG_VARIABLE: &str = "LAKEGATE_CONFIG";

fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    let named = std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
    Ok(config::load(file.or(named.as_deref()), std::env::vars())?)
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn an_error_names_each_cause_once() {
        let cause = std::io::Error::other("no such folder");
        let error = anyhow::Error::new(cause).context("data: no such folder").context("nothing was started");
        assert_eq!(in_full(&error), "nothing was started: data: no such folder");
    }

    /// Every command, with its full name and its help, short and long.
    fn collect_helps(command: &mut clap::Command, name: &str, helps: &mut Vec<(String, String)>) {
        helps.push((name.to_owned(), command.render_help().to_string()));
        helps.push((name.to_owned(), command.render_long_help().to_string()));
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let name = format!("{name} {}", sub.get_name());
            collect_helps(sub, &name, helps);
        }
    }

    #[test]
    fn the_lines_of_every_help_fit_in_120_columns_and_options_have_one_name_everywhere() {
        let mut command = CommandLine::command();
        command.build();
        let mut found = Vec::new();
        collect_helps(&mut command, "lakegate", &mut found);
        assert!(found.len() > 40);
        let long = |(name, help): &(String, String)| {
            let line = help.lines().find(|line| line.chars().count() > 120)?;
            Some(format!("{name} --help: {line}"))
        };
        assert_eq!(found.iter().filter_map(long).collect::<Vec<_>>(), Vec::<String>::new());
        for (name, help) in found {
            for old in ["--dir ", "--json"] {
                assert!(!help.contains(old), "{name} --help shows the old spelling {old}");
            }
        }
    }

    #[test]
    fn old_spellings_of_options_are_still_understood() {
        for words in [
            &["lakegate", "schemas", "check", "--dir", "x"][..],
            &["lakegate", "spool", "inspect", "--json"],
            &["lakegate", "spool", "quarantine", "list", "--json"],
        ] {
            CommandLine::try_parse_from(words).unwrap();
        }
    }
}
