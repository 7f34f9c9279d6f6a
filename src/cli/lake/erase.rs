//! `lakegate lake erase`: erases the events of a person, wherever the gateway has them.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    app::gateway_id,
    cli::{
        admin_client,
        configuration::{PlaceArgs, open_offline},
        dead_letters::{AdminArgs, Place, place, runtime},
    },
    erasure::{ClauseText, Criterion, CriterionText, Report},
};

pub(in crate::cli) const CONDITIONS: &str = "\
Conditions: FIELD=VALUE; all of them must hold. FIELD is a member of the payload (session_id), a JSON pointer into it
  (/guest/id), event_uuid or client_address. VALUE is compared with texts and numbers: 1 is 1.0 and \"1\", and abc is
  \"\\u0061bc\". Values differ by case.
With many values: --where FIELD --where-file FILE, one value on each line.

The report is printed, and stored without the values in DATA_DIR/erasures. If the command is interrupted, repeat it; a
gateway continues by itself. The exit code is 1 if something may be left.";

#[derive(Debug, Args)]
pub(in crate::cli) struct EraseArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Whose events: FIELD=VALUE; several must all hold. FIELD alone takes its values from --where-file.
    #[arg(long = "where", value_name = "CONDITION", required = true)]
    conditions: Vec<String>,
    /// File with values of the FIELD that has none, one on each line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    where_file: Option<PathBuf>,
    /// Only events whose name matches, such as menu:*; any of several.
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,
    /// Erase dead letters too whose event is no JSON or not whole, if they contain a value as text.
    #[arg(long)]
    unreadable_too: bool,
    /// Report what would be erased, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    admin: AdminArgs,
    /// Format of the report.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The request to a running gateway.
#[derive(Serialize)]
struct Question<'a> {
    gateway: Option<Uuid>,
    #[serde(flatten)]
    criterion: &'a CriterionText,
    dry_run: bool,
}

/// Erases, and prints the report. Returns whether nothing is left.
pub(super) fn erase(args: &EraseArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let criterion = criterion(&args.conditions, args.where_file.as_deref(), &args.events, args.unreadable_too)?;
    // Validated first, so that errors are the same with a gateway and without one.
    Criterion::parse(criterion.clone())?;
    let config = args.place.config()?;
    let place = place(&config, &args.admin)?;
    let report: anyhow::Result<Report> = runtime()?.block_on(async {
        match place {
            Place::Running(address) => {
                let question = Question { gateway: gateway_id(&config.data_dir), criterion: &criterion, dry_run: args.dry_run };
                admin_client::post(address, "/admin/erasures", &question).await
            }
            Place::Offline => {
                let offline = open_offline(&config).await?;
                let report = offline.erasure.erase(criterion, args.dry_run, &offline.repair).await;
                offline.close().await;
                Ok(report?)
            }
            Place::Nowhere => bail!("{}: there is no such data folder", config.data_dir.display()),
        }
    });
    let report = report?;
    match args.format {
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        ReportFormat::Text => print(&report, out)?,
    }
    Ok(report.is_complete())
}

fn criterion(
    conditions: &[String],
    where_file: Option<&Path>,
    events: &[String],
    unreadable_too: bool,
) -> anyhow::Result<CriterionText> {
    let mut clauses: Vec<ClauseText> = Vec::new();
    let mut of_file = None;
    for condition in conditions {
        match condition.split_once('=') {
            Some((field, value)) => {
                clauses.push(ClauseText { field: field.to_owned(), values: vec![value.to_owned()] });
            }
            None if of_file.is_some() => bail!("only one --where may take its values from --where-file"),
            None => of_file = Some(condition),
        }
    }
    match (of_file, where_file) {
        (Some(field), Some(file)) => clauses.push(ClauseText { field: field.clone(), values: values_of(file)? }),
        (Some(field), None) => {
            bail!("--where {field} has no value: write {field}=VALUE, or give --where-file FILE with one value on each line")
        }
        (None, Some(_)) => bail!("--where-file needs a --where that names the field alone, such as --where session_id"),
        (None, None) => {}
    }
    Ok(CriterionText { clauses, events: events.to_vec(), unreadable_too })
}

/// The values in a file: a line each, without its end. Empty lines are none.
fn values_of(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).context("standard input cannot be read")?;
        text
    } else {
        fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
    };
    let values: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if values.is_empty() {
        bail!("{} has no values", file.display());
    }
    Ok(values)
}

fn print(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let done = if report.dry_run { "would be erased" } else { "erased" };
    writeln!(out, "erasure      {}{}", report.id, if report.dry_run { " (dry run: nothing is changed)" } else { "" })?;
    writeln!(out, "searched for {} values of {}", report.values, report.fields.join(", "))?;
    if !report.events.is_empty() {
        writeln!(out, "event names  {}", report.events.join(", "))?;
    }
    writeln!(out, "covers       what was received before {}", report.requested_at)?;
    writeln!(out)?;
    writeln!(out, "{:<44} {:>12} {:>16}", "place", "searched", done)?;
    for spool in &report.spools {
        writeln!(out, "{:<44} {:>12} {:>16}", spool.spool, spool.searched, spool.erased)?;
    }
    writeln!(out, "{:<44} {:>12} {:>16}", "dead letters", report.dead_letters.searched, report.dead_letters.erased)?;
    for file in &report.quarantine {
        let name = format!("quarantine of {}/{}", file.spool, file.file);
        writeln!(out, "{name:<44} {:>12} {:>16}", file.searched, file.erased)?;
    }
    for lake in &report.lakes {
        writeln!(out, "{:<44} {:>12} {:>16}", format!("lake {}", lake.root), lake.searched, lake.erased)?;
        if let Some(typed) = &lake.typed_tables {
            writeln!(out, "{:<44} {:>12} {:>16}", format!("typed tables {}", typed.root), "", typed.erased)?;
        }
    }
    paragraph("Gone for good:", &report.gone_for_good, out)?;
    paragraph("Out of reach:", &report.out_of_reach, out)?;
    paragraph("May be left:", &report.incomplete, out)
}

fn paragraph(title: &str, lines: &[String], out: &mut impl Write) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    lines.iter().try_for_each(|line| writeln!(out, "- {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(conditions: &[&str], file: Option<&str>) -> Result<Vec<(String, Vec<String>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.txt");
        fs::write(&path, file.unwrap_or_default()).unwrap();
        let conditions: Vec<String> = conditions.iter().map(|condition| (*condition).to_owned()).collect();
        let read = criterion(&conditions, file.map(|_| path.as_path()), &[], false);
        let read = read.map_err(|error| error.to_string().replace(&*path.display().to_string(), "FILE"))?;
        Ok(read.clauses.into_iter().map(|clause| (clause.field, clause.values)).collect())
    }

    #[test]
    fn a_condition_has_a_value_or_takes_its_values_from_the_file() {
        let clause = |field: &str, values: &[&str]| (field.to_owned(), values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(
            read(&["session_id=a=b", "/guest/id=7"], None).unwrap(),
            [clause("session_id", &["a=b"]), clause("/guest/id", &["7"])]
        );
        let found = read(&["n=1", "session_id"], Some("a\r\n\n b \n")).unwrap();
        assert_eq!(found, [clause("n", &["1"]), clause("session_id", &["a", " b "])]);
    }

    #[test]
    fn flags_that_do_not_fit_together_are_explained() {
        let said = |conditions: &[&str], file| read(conditions, file).unwrap_err();
        assert!(said(&["session_id"], None).starts_with("--where session_id has no value: write session_id=VALUE"));
        assert!(said(&["session_id=a"], Some("b")).starts_with("--where-file needs a --where that names the field alone"));
        assert!(said(&["a", "b"], Some("c")).starts_with("only one --where"));
        assert_eq!(said(&["a"], Some("\n")), "FILE has no values");
    }
}
