//! Load for Lakegate, and what it costs. See `loadtest/README.md`.
//!
//! ```text
//! corpus ─▶ drive ─▶ server under test ─▶ stub      gauges: what the server used, from /proc
//! events    client   bare, parse, lakegate          rounds: who is measured when
//! registry           each its own process           report: the table and the verdict
//! ```

mod callgrind;
mod count;
mod drive;
mod figures;
mod gauges;
mod lake;
mod machine;
mod process;
mod reference;
mod report;
mod rounds;
mod row;
mod stub;
mod under_test;
mod verdict;
mod wire;

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use lakegate_bench::{corpus, events, registry};

use crate::{corpus::Sizes, count::CountArgs, reference::ReferenceKind, rounds::RunArgs};

/// Load for Lakegate, and what it costs.
#[derive(Debug, Parser)]
#[command(name = "lakegate-bench")]
enum Command {
    /// Print valid events, one per line: `lakegate-bench events 1000 | curl --data-binary @- …`.
    Events {
        /// How many.
        count: usize,
        /// The registry whose examples they follow.
        #[arg(default_value = "schemas")]
        schemas: PathBuf,
    },
    /// Write a registry of 100 event types below a folder, and print the sizes of events of them.
    Registry {
        /// The folder, which must not exist.
        folder: PathBuf,
        /// The registry that is copied.
        #[arg(default_value = "schemas")]
        schemas: PathBuf,
    },
    /// Measure: the reference servers and the gateway in turn, and write the table.
    Run(RunArgs),
    /// Count: instructions and allocations of an event, by valgrind.
    Count(CountArgs),
    /// Write a lake of past days into a new folder: `loadtest/lake.py` measures with it.
    Lake(lake::LakeArgs),
    /// A reference server on a free port of loopback, until standard input ends. `run` starts it.
    #[command(subcommand)]
    Serve(ServeCommand),
}

#[derive(Debug, Subcommand)]
enum ServeCommand {
    /// Reads the body; 204.
    Bare(reference::ReferenceArgs),
    /// Reads the body into a `serde_json::Value`; 204.
    Parse(reference::ReferenceArgs),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Events { count, schemas } => print_events(count, &schemas),
        Command::Registry { folder, schemas } => write_registry(&folder, &schemas),
        Command::Run(args) => return rounds::run(&args).unwrap_or_else(|error| complain(&error)),
        Command::Count(args) => count::run(&args),
        Command::Lake(args) => lake::run(&args),
        Command::Serve(ServeCommand::Bare(args)) => reference::serve(ReferenceKind::Bare, &args),
        Command::Serve(ServeCommand::Parse(args)) => reference::serve(ReferenceKind::Parse, &args),
    };
    result.map_or_else(|error| complain(&error), |()| ExitCode::SUCCESS)
}

#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("lakegate-bench: {error:#}");
    ExitCode::FAILURE
}

/// One line of progress, on standard error.
#[allow(clippy::print_stderr, reason = "standard output may be a table")]
fn say(line: impl std::fmt::Display) {
    eprintln!("{line}");
}

fn print_events(count: usize, schemas: &Path) -> anyhow::Result<()> {
    let shapes = events::Shapes::of_registry(schemas)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for index in 0..count {
        out.write_all(&shapes.example(index).bytes)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn write_registry(folder: &Path, schemas: &Path) -> anyhow::Result<()> {
    registry::write(schemas, folder, registry::TYPES)?;
    let shapes = events::Shapes::of_registry(folder)?;
    let events: Vec<_> = (0..20_000).map(|_| shapes.random()).collect();
    writeln!(io::stdout(), "{}", Sizes::of(&events)).context("standard output is closed")
}
