//! `lakegate lake build`: builds the typed tables, and the daily tables of queries over them.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{
    args::LakeArgs,
    upkeep_args::{scratch_of, tell_failed, tell_left_out},
};
use crate::{
    app::{typed_location_of, upkeep_settings},
    cli::output_format::Format,
    config::Config,
    schema::{self, event_columns},
    sink::lake::{
        BuildReport, BuildRequest, DailyQuery, DailyReport, DailyRequest, DailyTableReport, DuckDb, LakeConfig, LeftOut, Pace,
        StopSignal, TypedLake, build_daily, daily_location,
    },
};

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    #[command(flatten)]
    place: LakeArgs,
    /// Folder of the schema registry [default: as configured, ./schemas].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Only the table of this event name, such as menu:item:viewed; may be repeated.
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Build everything anew, not only what changed.
    #[arg(long)]
    rebuild: bool,
    /// Also make the daily tables of queries: those in DIR, or the questions of a restaurant. Needs DuckDB.
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    queries: Option<Option<PathBuf>>,
    /// Where the daily tables are [default: the lake's folder with -daily].
    #[arg(long, value_name = "ROOT", requires = "queries")]
    daily: Option<String>,
    /// The program of DuckDB.
    #[arg(long, value_name = "PROGRAM", default_value = "duckdb", requires = "queries")]
    duckdb: PathBuf,
    /// How to print what was done.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Builds to the end. Returns whether everything was built.
pub(super) fn build(args: &BuildArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let config = args.place.place.config()?;
    let location = args.place.location_by(&config);
    let registry = schema::load(args.schemas.as_ref().unwrap_or(&config.schemas.dir))?;
    let definitions = event_columns(&registry);
    if let Some(unknown) = args.events.iter().find(|name| !definitions.iter().any(|known| known.event_name == **name)) {
        anyhow::bail!("{unknown} has no schema, so it has no columns");
    }
    let adopt = || format!("{} is no table, as its log is missing: `lakegate lake adopt` makes it one", location.root);
    let typed = typed_location_of(&config.lake, &location)?.with_context(adopt)?;
    let mut lake = TypedLake::open(&location, &typed, scratch_of(&config))?.with_context(adopt)?;
    let admits = |name: &str| args.events.is_empty() || args.events.iter().any(|wanted| wanted == name);
    let request = BuildRequest {
        definitions: &definitions,
        admits: &admits,
        rebuild: args.rebuild,
        files_max: upkeep_settings(&config.lake).files_max,
    };
    let pace = Pace::full(StopSignal::default());
    let report = lake.pass(&request, &pace)?;
    let daily =
        args.queries.as_ref().map(|folder| build_daily_tables(args, folder.as_deref(), &config, &typed, &pace)).transpose()?;
    match args.format {
        Format::Json => {
            let mut all = as_json(&report, &typed.root);
            if let Some(daily) = &daily {
                all["daily"] = daily.as_json();
            }
            writeln!(out, "{all:#}")?;
        }
        Format::Table => {
            print_table(&report, &typed.root, out)?;
            daily.as_ref().map_or(Ok(()), |daily| daily.print(out))?;
        }
    }
    let not_built = || report.not_built().chain(daily.iter().flat_map(|daily| &daily.report.failed));
    not_built().for_each(|failed| tell_failed(&format!("{}: {}", failed.file, failed.reason)));
    // Of the shipped queries those of other event names are nobody's fault.
    let is_misnamed = matches!(args.queries, Some(Some(_))) && daily.iter().any(|daily| !daily.report.without_inputs.is_empty());
    Ok(tell_left_out(&report.left_out) && not_built().next().is_none() && report.overtaken == 0 && !is_misnamed)
}

fn build_daily_tables(
    args: &BuildArgs,
    folder: Option<&Path>,
    config: &Config,
    typed: &LakeConfig,
    pace: &Pace,
) -> anyhow::Result<DailyTables> {
    let queries = folder.map_or_else(|| Ok(DailyQuery::shipped()), DailyQuery::of_folder)?;
    let daily = daily_location(&args.place.location_by(config), args.daily.as_deref())?;
    let settings = upkeep_settings(&config.lake);
    let engine = DuckDb { program: args.duckdb.clone() };
    let request = DailyRequest {
        typed,
        daily: &daily,
        queries: &queries,
        rebuild: args.rebuild,
        scratch: scratch_of(config),
        engine: &engine,
        settings: &settings,
    };
    Ok(DailyTables { report: build_daily(&request, pace)?, root: daily.root })
}

/// What was done to the daily tables.
struct DailyTables {
    report: DailyReport,
    root: String,
}

impl DailyTables {
    fn as_json(&self) -> serde_json::Value {
        let table = |table: &DailyTableReport| {
            json!({
                "table": table.name,
                "rows": table.rows,
                "files": table.files,
                "days_made": table.days_made,
                "seconds": table.time.as_secs_f64(),
            })
        };
        let failed = |failed: &LeftOut| json!({"query": failed.file, "reason": failed.reason});
        json!({
            "root": self.root,
            "tables": self.report.tables.iter().map(table).collect::<Vec<_>>(),
            "without_inputs": self.report.without_inputs,
            "failed": self.report.failed.iter().map(failed).collect::<Vec<_>>(),
        })
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "\n{:<40} {:>10} {:>6} {:>9} {:>8}", "daily table", "rows", "files", "days made", "seconds")?;
        for DailyTableReport { name, rows, files, days_made, time } in &self.report.tables {
            writeln!(out, "{name:<40} {rows:>10} {files:>6} {days_made:>9} {:>8.2}", time.as_secs_f64())?;
        }
        writeln!(out, "{} daily tables in {}", self.report.tables.len(), self.root)?;
        for name in &self.report.without_inputs {
            writeln!(out, "{name} is left out: this lake has no table that it reads")?;
        }
        Ok(())
    }
}

fn as_json(report: &BuildReport, root: &str) -> serde_json::Value {
    let tables: Vec<_> = report
        .tables
        .iter()
        .map(|table| {
            json!({
                "event_name": table.event_name,
                "table": table.table,
                "rows": table.rows,
                "files": table.files,
                "appended_partitions": table.appended,
                "rebuilt_partitions": table.rebuilt,
                "rows_written": table.rows_written,
                "rows_removed": table.rows_removed,
                "unconverted": table.unconverted,
                "seconds": table.time.as_secs_f64(),
            })
        })
        .collect();
    let left_out: Vec<_> = report.left_out.iter().map(|file| json!({"file": file.file, "reason": file.reason})).collect();
    let failed: Vec<_> = report.failed.iter().map(|it| json!({"partition": it.file, "reason": it.reason})).collect();
    let damaged: Vec<_> = report.damaged.iter().map(|it| json!({"table": it.file, "reason": it.reason})).collect();
    json!({
        "root": root,
        "raw_version": report.raw_version,
        "tables": tables,
        "rows_without_table": report.without_table,
        "left_out": left_out,
        "failed": failed,
        "damaged": damaged,
        "overtaken_partitions": report.overtaken,
    })
}

fn print_table(report: &BuildReport, root: &str, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<40} {:>10} {:>6} {:>9} {:>8} {:>10} {:>12} {:>8}",
        "table", "rows", "files", "appended", "rebuilt", "written", "unconverted", "seconds"
    )?;
    for table in &report.tables {
        writeln!(
            out,
            "{:<40} {:>10} {:>6} {:>9} {:>8} {:>10} {:>12} {:>8.2}",
            table.table,
            table.rows,
            table.files,
            table.appended,
            table.rebuilt,
            table.rows_written,
            table.unconverted,
            table.time.as_secs_f64()
        )?;
    }
    writeln!(out, "{} tables in {root} are built up to version {} of the lake", report.tables.len(), report.raw_version)?;
    if report.overtaken > 0 {
        writeln!(out, "{} partitions were changed by another builder at the same time; repeat the command", report.overtaken)?;
    }
    for (name, rows) in &report.without_table {
        writeln!(out, "{rows} rows of {name} have no table, because it has no schema")?;
    }
    Ok(())
}
