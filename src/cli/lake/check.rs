//! `lakegate lake check`: compares the lake with its table's log.

use std::{io::Write, time::SystemTime};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::LakeArgs;
use crate::{
    event::{iso_millis, unix_millis},
    json::Visible,
    limits::LAKE_CHECK_SHOWN_MAX,
    sink::lake::{CheckReport, Finding, FindingCode, Severity},
    telemetry::{LakeCheckNumbers, lake_check_exposition},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Decode every row too: finds damaged pages, rows in the wrong partition, and events that are there more than once.
    #[arg(long)]
    deep: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For the textfile collector of Prometheus' node exporter.
    Metrics,
}

/// Returns whether there is no problem.
pub(super) fn check(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let now = unix_millis(SystemTime::now());
    let report = args.lake.open()?.check(args.deep, now)?;
    match args.format {
        CheckFormat::Text => print_text(&report, &mut Visible::new(out))?,
        CheckFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&CheckJson::of(&report, now))?)?,
        CheckFormat::Metrics => write!(out, "{}", lake_check_exposition(&numbers(&report, now)))?,
    }
    Ok(!report.has_problems())
}

fn print_text(report: &CheckReport, out: &mut impl Write) -> std::io::Result<()> {
    let CheckReport { files, rows, bytes, partitions, .. } = report;
    let table = match report.version {
        Some(version) => format!("the table, version {version}"),
        None => "the folders (there is no table's log)".to_owned(),
    };
    writeln!(out, "{table}: {files} files, {rows} rows, {bytes} bytes in {partitions} partitions")?;
    for &code in FindingCode::ALL {
        let found: Vec<&Finding> = report.findings.iter().filter(|finding| finding.code == code).collect();
        if found.is_empty() {
            continue;
        }
        writeln!(out, "\n{} {} ({}): {}.", found.len(), code.as_str(), severity(code), code.meaning())?;
        for finding in found.iter().take(LAKE_CHECK_SHOWN_MAX) {
            writeln!(out, "  {}: {}", finding.path, finding.detail)?;
        }
        if found.len() > LAKE_CHECK_SHOWN_MAX {
            writeln!(out, "  and {} more: `--format json` has all", found.len() - LAKE_CHECK_SHOWN_MAX)?;
        }
    }
    let verdict = if report.has_problems() { "There are problems." } else { "No problem was found." };
    let depth = if report.is_deep { "" } else { " Rows were not decoded: `--deep` does." };
    writeln!(out, "\n{verdict}{depth}")
}

fn severity(code: FindingCode) -> &'static str {
    match code.severity() {
        Severity::Problem => "problem",
        Severity::Notice => "notice",
    }
}

/// The report for programs. Fields are only added.
#[derive(Serialize)]
struct CheckJson<'a> {
    format: u32,
    checked_at: String,
    version: Option<u64>,
    deep: bool,
    partitions: u64,
    files: u64,
    rows: u64,
    bytes: u64,
    problems: usize,
    findings: Vec<FindingJson<'a>>,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    code: &'static str,
    severity: &'static str,
    path: &'a str,
    detail: &'a str,
}

impl<'a> CheckJson<'a> {
    fn of(report: &'a CheckReport, now_millis: i64) -> Self {
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|Finding { code, path, detail }| FindingJson { code: code.as_str(), severity: severity(*code), path, detail })
            .collect();
        Self {
            format: 1,
            checked_at: iso_millis(now_millis).as_str().to_owned(),
            version: report.version,
            deep: report.is_deep,
            partitions: report.partitions,
            files: report.files,
            rows: report.rows,
            bytes: report.bytes,
            problems: report.findings.iter().filter(|finding| finding.code.severity() == Severity::Problem).count(),
            findings,
        }
    }
}

fn numbers(report: &CheckReport, now_millis: i64) -> LakeCheckNumbers {
    let findings = FindingCode::ALL.iter().map(|&code| (code.as_str(), severity(code), report.count(code) as u64));
    LakeCheckNumbers {
        files: report.files,
        rows: report.rows,
        bytes: report.bytes,
        checked_seconds: now_millis / 1_000,
        findings: findings.collect(),
    }
}
