//! `lakegate schemas export`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::registry_args::RegistryArgs;
use crate::{
    cli::{day::day, view_schemas::view_schemas},
    event::{Date, unix_millis},
    limits::CREATED_DATE_DAYS_BACK_MAX,
    schema::{Registry, catalogue, python, typescript},
    sink::lake::{Dialect, GlueTable, ViewRequest, glue_tables, views},
};

/// The default lake of `lakegate serve`.
const FOLDER: &str = "data/lake";

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// What to write.
    #[arg(long, value_enum)]
    format: ExportForm,
    /// File to write, or for glue the folder for one file per table [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write nothing; fail if the file is out of date.
    #[arg(long, requires = "out")]
    check: bool,
    /// Root of the lake, for duckdb [default: data/lake], athena and glue: s3://bucket/prefix.
    #[arg(long, value_name = "ROOT")]
    lake: Option<String>,
    /// First day that has events, for athena and glue [default: a year and a day ago].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    first_date: Option<Date>,
    /// Database that the tables will be in, for glue.
    #[arg(long, value_name = "NAME", default_value = "default")]
    database: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportForm {
    /// The type map `Events` of the browser library.
    Typescript,
    /// A module of types for the Python package, with a typed `track`.
    Python,
    /// Views for DuckDB, one with typed columns for each event.
    Duckdb,
    /// Tables and views for Amazon Athena.
    Athena,
    /// The same as JSON for `aws glue create-table --table-input`.
    Glue,
    /// A catalogue of the events.
    Markdown,
}

pub(super) fn run(args: &ExportArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let registry = args.registry.load()?;
    let files = match (args.format, &args.out) {
        (ExportForm::Glue, Some(folder)) => {
            let tables = glue(args, &registry)?.into_iter();
            let files = tables.map(|table| Ok((folder.join(format!("{}.json", table.name)), pretty(&table.input)?)));
            files.collect::<anyhow::Result<Vec<_>>>()?
        }
        (_, Some(file)) => vec![(file.clone(), text(args, &registry)?)],
        (_, None) => {
            out.write_all(text(args, &registry)?.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    for (file, text) in files {
        if args.check {
            check(&file, &text)?;
        } else {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(&file, text))
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails if the file is out of date.
fn check(file: &Path, text: &str) -> anyhow::Result<()> {
    let there = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    if there != text {
        bail!("{} is stale: write it again, with the same command but without --check", file.display());
    }
    Ok(())
}

fn text(args: &ExportArgs, registry: &Registry) -> anyhow::Result<String> {
    match args.format {
        ExportForm::Typescript => Ok(typescript(registry, "lakegate schemas export --format typescript")),
        ExportForm::Python => Ok(python(registry, "lakegate schemas export --format python")),
        ExportForm::Markdown => Ok(catalogue(registry, "lakegate schemas export --format markdown")),
        ExportForm::Duckdb => sql(args, registry, Dialect::Duckdb),
        ExportForm::Athena => sql(args, registry, Dialect::Athena),
        ExportForm::Glue => {
            let tables = glue(args, registry)?.into_iter().map(|table| table.input);
            pretty(&tables.collect())
        }
    }
}

fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn sql(args: &ExportArgs, registry: &Registry, dialect: Dialect) -> anyhow::Result<String> {
    let schemas = view_schemas(registry)?;
    let root = match dialect {
        Dialect::Duckdb => args.lake.as_deref().unwrap_or(FOLDER),
        Dialect::Athena => bucket(args)?,
    };
    let has_addresses = args.registry.configured()?.privacy.keeps_addresses();
    let first_date = first_date(args);
    // The export does not depend on the contents of a lake; `lake views` does.
    Ok(views(&ViewRequest {
        dialect,
        root,
        first_date,
        schemas: &schemas,
        has_addresses,
        is_table: false,
        has_late_folders: false,
    })?)
}

fn glue(args: &ExportArgs, registry: &Registry) -> anyhow::Result<Vec<GlueTable>> {
    let schemas = view_schemas(registry)?;
    let (dialect, root, first_date) = (Dialect::Athena, bucket(args)?, first_date(args));
    let has_addresses = args.registry.configured()?.privacy.keeps_addresses();
    let request =
        ViewRequest { dialect, root, first_date, schemas: &schemas, has_addresses, is_table: false, has_late_folders: false };
    Ok(glue_tables(&request, &args.database)?)
}

fn bucket(args: &ExportArgs) -> anyhow::Result<&str> {
    args.lake.as_deref().context("--lake s3://bucket/prefix is needed: tables name where their files are")
}

/// A later day would hide events: the default is the earliest day that a partition may have now.
fn first_date(args: &ExportArgs) -> Date {
    args.first_date.unwrap_or_else(|| {
        let today = i32::try_from(unix_millis(SystemTime::now()) / 86_400_000).unwrap_or_default();
        Date { days: today - i32::from(CREATED_DATE_DAYS_BACK_MAX) }
    })
}
