//! `lakegate lake tables`: the database, tables and views of the lake as data, for Terraform.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;

use crate::{
    cli::{configuration::PlaceArgs, day::day, output_format::Format, view_schemas::view_schemas},
    event::Date,
    limits::CATALOGUE_FIRST_DATE_DAYS,
    schema,
    sink::lake::{Catalogue, CatalogueColumn, Dialect, ViewRequest, catalogue},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct TablesArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Folder of the schema registry [default: as configured, ./schemas].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Name of the database.
    #[arg(long, value_name = "NAME", default_value = "lakegate")]
    database: String,
    /// First day that has events [default: 2025-11-01, no gateway is older].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    first_date: Option<Date>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn tables(args: &TablesArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let configured = args.place.config()?;
    let registry = schema::load(args.schemas.as_ref().unwrap_or(&configured.schemas.dir))?;
    let schemas = view_schemas(&registry).context("the schemas cannot be read")?;
    let catalogue = catalogue(
        &ViewRequest {
            dialect: Dialect::Athena,
            // The catalogue is relative to the root.
            root: "",
            first_date: args.first_date.unwrap_or(Date { days: CATALOGUE_FIRST_DATE_DAYS }),
            schemas: &schemas,
            has_addresses: configured.privacy.keeps_addresses(),
            is_table: false,
            has_late_folders: false,
        },
        &args.database,
    );
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&catalogue)?)?,
        Format::Table => print_table(&catalogue, out)?,
    }
    Ok(true)
}

fn print_table(catalogue: &Catalogue, out: &mut impl Write) -> std::io::Result<()> {
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
    catalogue.views.iter().try_for_each(|view| rows(&view.name, &view.columns))
}
