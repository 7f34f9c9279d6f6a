//! `lakegate lake tables`: what the lake's tables are, for people, for Terraform, and for query engines.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{args::LakeArgs, upkeep_args::tell_left_out};
use crate::{
    app::typed_location_of,
    cli::{day::day, view_schemas::view_schemas},
    config::Config,
    event::{Date, iso_millis},
    limits::CATALOGUE_FIRST_DATE_DAYS,
    schema::{self, Registry, event_columns},
    sink::lake::{
        Catalogue, CatalogueColumn, DeclaredColumn, DeclaredTable, Dialect, Engine, LakeConfig, LeftOut, TypedStatus,
        ViewRequest, catalogue, declarations, typed_folder, typed_status,
    },
};

#[derive(Debug, Args)]
pub(in crate::cli) struct TablesArgs {
    #[command(flatten)]
    place: LakeArgs,
    /// Folder of the schema registry [default: as configured, ./schemas].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Only what the schemas say, and nothing of the lake as it is now.
    #[arg(long)]
    schemas_only: bool,
    /// Name of the database.
    #[arg(long, value_name = "NAME", default_value = "lakegate")]
    database: String,
    /// First day that has events [default: 2025-11-01, no gateway is older].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    first_date: Option<Date>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = TablesFormat::Table)]
    format: TablesFormat,
}

/// How the tables are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TablesFormat {
    /// For people.
    Table,
    /// For programs, Terraform among them.
    Json,
    /// Views over the typed tables, for DuckDB.
    Duckdb,
    /// Statements for Amazon Athena.
    Athena,
    /// Inputs of `aws glue create-table`, one on each line.
    Glue,
    /// Statements for Trino.
    Trino,
    /// Statements for Apache Spark.
    Spark,
    /// Statements for Snowflake.
    Snowflake,
    /// Statements for BigQuery.
    Bigquery,
}

impl TablesFormat {
    fn engine(self) -> Option<Engine> {
        Some(match self {
            Self::Table | Self::Json => return None,
            Self::Duckdb => Engine::Duckdb,
            Self::Athena => Engine::Athena,
            Self::Glue => Engine::Glue,
            Self::Trino => Engine::Trino,
            Self::Spark => Engine::Spark,
            Self::Snowflake => Engine::Snowflake,
            Self::Bigquery => Engine::Bigquery,
        })
    }
}

pub(super) fn tables(args: &TablesArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let config = args.place.place.config()?;
    let registry = schema::load(args.schemas.as_ref().unwrap_or(&config.schemas.dir))?;
    let (typed, damaged) = TypedTables::of(&config, &args.place.location_by(&config), &registry, args.schemas_only)?;
    if let Some(engine) = args.format.engine() {
        write!(out, "{}", declarations(engine, &typed.declared, &args.database)?)?;
        return Ok(tell_left_out(&damaged));
    }
    let catalogue = raw_catalogue(args, &config, &registry)?;
    match args.format {
        TablesFormat::Json => {
            let mut all = serde_json::to_value(&catalogue)?;
            if !typed.status.is_empty() {
                all["typed"] = typed.as_json();
            }
            writeln!(out, "{all:#}")?;
        }
        _ => print_table(&catalogue, &typed, out)?,
    }
    Ok(tell_left_out(&damaged))
}

fn raw_catalogue(args: &TablesArgs, config: &Config, registry: &Registry) -> anyhow::Result<Catalogue> {
    let schemas = view_schemas(registry).context("the schemas cannot be read")?;
    let request = ViewRequest {
        dialect: Dialect::Athena,
        // The catalogue is relative to the root.
        root: "",
        first_date: args.first_date.unwrap_or(Date { days: CATALOGUE_FIRST_DATE_DAYS }),
        schemas: &schemas,
        has_addresses: config.privacy.keeps_addresses(),
        is_table: false,
        has_late_folders: false,
    };
    Ok(catalogue(&request, &args.database))
}

/// The typed tables, those that are there and those that will be.
struct TypedTables {
    declared: Vec<DeclaredTable>,
    /// What is there, by name.
    status: Vec<TypedStatus>,
}

impl TypedTables {
    /// The tables, and those whose log is damaged.
    fn of(config: &Config, lake: &LakeConfig, registry: &Registry, schemas_only: bool) -> anyhow::Result<(Self, Vec<LeftOut>)> {
        let Some(location) = typed_location_of(&config.lake, lake)? else {
            return Ok((Self { declared: Vec::new(), status: Vec::new() }, Vec::new()));
        };
        let (status, damaged) = if schemas_only { (Vec::new(), Vec::new()) } else { typed_status(&location)? };
        let root = match location.root.contains("://") {
            true => location.root.clone(),
            false => std::path::absolute(&location.root)?.display().to_string(),
        };
        let there = status.iter().map(|table| DeclaredTable::of(&table.definition, &table.folder, &root));
        let mut declared: Vec<DeclaredTable> = there.collect();
        for definition in event_columns(registry) {
            let folder = typed_folder(&definition.event_name);
            let is_damaged = damaged.iter().any(|table| table.file == folder);
            if !is_damaged && !status.iter().any(|table| table.event_name == definition.event_name) {
                declared.push(DeclaredTable::of(&definition, &folder, &root));
            }
        }
        declared.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((Self { declared, status }, damaged))
    }

    fn status_of(&self, table: &DeclaredTable) -> Option<&TypedStatus> {
        self.status.iter().find(|status| status.folder == table.name)
    }

    fn as_json(&self) -> Value {
        let column = |column: &DeclaredColumn| json!({ "name": column.name, "type": column.hive, "comment": column.comment });
        let table = |table: &DeclaredTable| {
            let status = self.status_of(table);
            json!({
                "name": table.name,
                "comment": table.comment,
                "location": table.location,
                "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
                "columns_of_changed_fields": table.changed,
                "rows": status.map_or(0, |status| status.rows),
                "files": status.map_or(0, |status| status.files),
                "bytes": status.map_or(0, |status| status.bytes),
                "newest_received": status.and_then(|status| status.newest_received_millis).map(|millis| iso_millis(millis).as_str().to_owned()),
                "built_to_version": status.and_then(|status| status.raw_version),
            })
        };
        self.declared.iter().map(table).collect()
    }
}

fn print_table(catalogue: &Catalogue, typed: &TypedTables, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:<40} {:<28} {:<10} comment", "table or view", "column", "type")?;
    let mut rows = |name: &str, columns: &[CatalogueColumn]| {
        columns
            .iter()
            .try_for_each(|column| writeln!(out, "{name:<40} {:<28} {:<10} {}", column.name, column.hive, column.comment))
    };
    for table in &catalogue.tables {
        rows(&table.name, &table.partition_keys)?;
        rows(&table.name, &table.columns)?;
    }
    catalogue.views.iter().try_for_each(|view| rows(&view.name, &view.columns))?;
    writeln!(out, "\n{:<40} {:>12} {:>7} {:>14}  newest event received", "typed table", "rows", "files", "bytes")?;
    for table in &typed.declared {
        match typed.status_of(table) {
            None => writeln!(out, "{:<40} not built yet", table.name)?,
            Some(status) => {
                let newest =
                    status.newest_received_millis.map(|millis| iso_millis(millis).as_str().to_owned()).unwrap_or_default();
                writeln!(out, "{:<40} {:>12} {:>7} {:>14}  {newest}", table.name, status.rows, status.files, status.bytes)?;
            }
        }
    }
    Ok(())
}
