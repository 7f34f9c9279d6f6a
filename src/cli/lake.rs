//! `lakegate lake …`: reads the lake without a query engine.

mod adopt;
mod args;
mod backup;
mod build;
mod check;
mod compact;
mod count;
mod erase;
mod expire;
mod export;
mod history;
mod sample;
mod tables;
mod upkeep_args;
mod vacuum;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::view_schemas::view_schemas;
use crate::{
    event::{Date, iso_millis, unix_millis},
    json::Visible,
    limits::CREATED_DATE_DAYS_BACK_MAX,
    schema,
    sink::lake::{Dialect, Found, LakeRow, ViewRequest, views},
};
use args::{LakeArgs, QueryArgs, report};

#[derive(Debug, Subcommand)]
pub(super) enum LakeCommand {
    /// List the partitions: number of files, rows and bytes, time of the first and the last event.
    Ls(QueryArgs),
    /// Count the events by type and day, or by minute of receipt.
    Count(count::CountArgs),
    /// Find an event by its event_uuid, and print it with its file, row and row group.
    Find {
        /// The event_uuid.
        event_uuid: Uuid,
        #[command(flatten)]
        query: QueryArgs,
    },
    /// Print events as JSON, one per line: each as its client wrote it, with the added fields.
    Export {
        #[command(flatten)]
        query: QueryArgs,
        /// Print each event once, where it was delivered several times: the row that was received first.
        #[arg(long)]
        distinct: bool,
    },
    /// Print random events as JSON, one per line: each row is as likely as any other.
    Sample(sample::SampleArgs),
    /// List the versions of the lake's table: when, what was done, files and rows.
    History(history::HistoryArgs),
    /// Compare the lake with its table's log, and report what does not fit.
    Check(check::CheckArgs),
    /// Copy one version of the lake to another folder or bucket, while gateways write.
    Backup(backup::BackupArgs),
    /// Print SQL for the table, its deduplicated view and a typed view per event name.
    Views {
        #[command(flatten)]
        place: LakeArgs,
        /// The query engine that the SQL is for.
        #[arg(long, value_enum)]
        dialect: DialectArg,
        /// DuckDB: read the files in the folders rather than the lake's table, which needs DuckDB's extension `delta`.
        #[arg(long)]
        files: bool,
        /// Folder of the schema registry [default: as configured, ./schemas].
        #[arg(long, value_name = "DIR")]
        schemas: Option<PathBuf>,
    },
    /// Erase the events of a person from the lake, the spool, the dead letters and the quarantine.
    #[command(after_help = erase::CONDITIONS)]
    Erase(erase::EraseArgs),
    /// Print the database, tables and views with their columns, for Terraform (`--format json`) or for people.
    Tables(tables::TablesArgs),
    /// Merge small files into large, sorted ones that have each event once. A gateway does it by itself, bit by bit.
    Compact(compact::CompactArgs),
    /// Build the typed tables: for each event name a table with a column for each field of its schemas, each event once. A gateway
    /// does it by itself for a local lake.
    Build(build::BuildArgs),
    /// Make a table of a lake whose files no log knows, or add the files that another writer (Firehose) added meanwhile.
    Adopt(adopt::AdoptArgs),
    /// Remove events that are older than [lake.retention] allows. A gateway does it by itself.
    Expire(expire::ExpireArgs),
    /// Remove files that the table does not have any more, and old files of its log. A gateway does it by itself.
    Vacuum(vacuum::VacuumArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DialectArg {
    Duckdb,
    Athena,
}

/// Runs the command. The exit code is 1 if nothing was found, or if files were left out.
pub(super) fn run(command: &LakeCommand) -> anyhow::Result<ExitCode> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let out = &mut Visible::new(&mut stdout);
    let result = match command {
        LakeCommand::Ls(query) => ls(query, out),
        LakeCommand::Count(args) => count::count(args, out),
        LakeCommand::Find { event_uuid, query } => find(query, *event_uuid, out),
        LakeCommand::Export { query, distinct } => export::export(query, *distinct, out),
        LakeCommand::Sample(args) => sample::sample(args, out),
        LakeCommand::History(args) => history::history(args, &mut stdout),
        LakeCommand::Check(args) => check::check(args, &mut stdout),
        LakeCommand::Backup(args) => backup::backup(args, &mut stdout),
        // The output has only text of operators, and names that must stay unchanged.
        LakeCommand::Views { place, dialect, files, schemas } => {
            print_views(place, *dialect, *files, schemas.as_ref(), &mut stdout)
        }
        LakeCommand::Erase(args) => erase::erase(args, out),
        LakeCommand::Tables(args) => tables::tables(args, &mut stdout),
        LakeCommand::Compact(args) => compact::compact(args, out),
        LakeCommand::Build(args) => build::build(args, out),
        LakeCommand::Adopt(args) => adopt::adopt(args, out),
        LakeCommand::Expire(args) => expire::expire(args, out),
        LakeCommand::Vacuum(args) => vacuum::vacuum(args, out),
    };
    let complete = result.and_then(|complete| Ok(stdout.flush().map(|()| complete)?))?;
    Ok(ExitCode::from(u8::from(!complete)))
}

fn ls(query: &QueryArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let listing = query.open()?.ls(&query.filters())?;
    writeln!(
        out,
        "{:<24} {:<12} {:>6} {:>10} {:>12}  {:<24}  newest",
        "event_type", "created_date", "files", "rows", "bytes", "oldest"
    )?;
    for partition in listing.partitions {
        let time = |millis: Option<i64>| millis.map_or_else(|| "-".into(), |millis| iso_millis(millis).as_str().to_owned());
        writeln!(
            out,
            "{:<24} {:<12} {:>6} {:>10} {:>12}  {:<24}  {}",
            partition.partition.event_type,
            partition.partition.created_date,
            partition.files,
            partition.rows,
            partition.bytes,
            time(partition.oldest_millis),
            time(partition.newest_millis),
        )?;
    }
    Ok(report(&listing.left_out))
}

fn find(query: &QueryArgs, event_uuid: Uuid, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut found = 0;
    let left_out = query.open()?.find(event_uuid, &query.filters(), &mut |place: &Found, row| {
        found += 1;
        writeln!(out, "{}", serde_json::to_string_pretty(&FoundEvent::new(place, row)?)?)
    })?;
    Ok(report(&left_out) && found > 0)
}

/// The output of `find`; the payload is unchanged.
#[derive(Serialize)]
struct FoundEvent<'a> {
    file: &'a str,
    row: u64,
    row_group: u64,
    event_uuid: &'a str,
    event_name: &'a str,
    event_type: &'a str,
    event_subtype: Option<&'a str>,
    source: &'a str,
    schema_version: Option<i32>,
    created_datetime: String,
    received_datetime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_scope: Option<&'a str>,
    payload: &'a RawValue,
}

impl<'a> FoundEvent<'a> {
    fn new(place: &'a Found, row: &LakeRow<'a>) -> serde_json::Result<Self> {
        Ok(Self {
            file: &place.file,
            row: place.row,
            row_group: place.row_group,
            event_uuid: row.event_uuid,
            event_name: row.event_name,
            event_type: row.event_type,
            event_subtype: row.event_subtype,
            source: row.source,
            schema_version: row.schema_version,
            created_datetime: iso_millis(row.created_millis).as_str().to_owned(),
            received_datetime: iso_millis(row.received_millis).as_str().to_owned(),
            client_address: row.client_address,
            dedup_scope: row.dedup_scope,
            payload: serde_json::from_str(row.payload)?,
        })
    }
}

fn print_views(
    place: &LakeArgs,
    dialect: DialectArg,
    by_files: bool,
    schemas: Option<&PathBuf>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let configured = place.place.config()?;
    let registry = schema::load(schemas.unwrap_or(&configured.schemas.dir))?;
    let schemas = view_schemas(&registry).context("the schemas cannot be read")?;
    let today = Date { days: i32::try_from(unix_millis(std::time::SystemTime::now()) / 86_400_000).unwrap_or_default() };
    let dialect = match dialect {
        DialectArg::Duckdb => Dialect::Duckdb,
        DialectArg::Athena => Dialect::Athena,
    };
    let root = place.location()?.root;
    // A later day would hide events: if the lake cannot be read, use the earliest day that a partition may have now.
    let earliest = Date { days: today.days - i32::from(CREATED_DATE_DAYS_BACK_MAX) };
    let first_date = match dialect {
        Dialect::Athena => place.open().ok().and_then(|lake| lake.first_date().ok()).flatten().unwrap_or(earliest),
        Dialect::Duckdb => earliest,
    };
    let has_addresses = configured.privacy.keeps_addresses();
    let lake = (dialect == Dialect::Duckdb).then(|| place.open().ok()).flatten();
    let is_table = !by_files && lake.as_ref().is_some_and(|lake| lake.version().is_some());
    // Athena's views always include the old folders.
    let has_late_folders = lake.is_some_and(|lake| lake.has_late_folders().is_ok_and(|has_some| has_some));
    let request = ViewRequest { dialect, root: &root, first_date, schemas: &schemas, has_addresses, is_table, has_late_folders };
    write!(out, "{}", views(&request)?)?;
    Ok(true)
}
