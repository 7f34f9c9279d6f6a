//! `lakegate schemas check`: whether a registry may be published. Exit code 0: yes; 1: it has errors; 78: the check cannot run.

mod compatibility;
mod examples;
mod finding;
mod github;
mod human;
mod published;
mod recorded;
mod sarif;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::{
    cli::failure::{EXIT_CONFIG, complain},
    schema::{self, Manifest, compat::Policy},
};
use finding::{Code, Finding, Report};

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// Folder of the schema registry.
    #[arg(long = "schemas", alias = "dir", value_name = "DIR", default_value = "schemas")]
    dir: PathBuf,
    /// Compare with a git revision too: the schemas in it are published and must not have changed.
    #[arg(long, value_name = "REV")]
    against_git: Option<String>,
    /// Hashes of the published schemas [default: manifest.toml in the folder, where there is one].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Add new versions to the manifest if nothing else is wrong; existing lines are never changed.
    #[arg(long)]
    update_manifest: bool,
    /// Validate recorded events too: a folder of .ndjson or .jsonl files, one event per line.
    #[arg(long, value_name = "DIR")]
    recorded: Option<PathBuf>,
    /// Report an error, not a warning, where compatibility cannot be decided.
    #[arg(long)]
    strict: bool,
    /// Format of the report.
    ///
    /// sarif (2.1.0) is for code scanning, github for annotations in a pull request.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Human,
    Json,
    Sarif,
    Github,
}

/// Runs the check.
pub(super) fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let report = match check(args) {
        Ok(report) => report,
        Err(error) => return Ok(complain(&error, EXIT_CONFIG)),
    };
    let text = match args.format {
        Format::Human => human::text(&report),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Sarif => serde_json::to_string_pretty(&sarif::log(&report))? + "\n",
        Format::Github => github::annotations(&report),
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(report.errors() > 0)))
}

fn check(args: &CheckArgs) -> anyhow::Result<Report> {
    let dir = &args.dir;
    let policy = Policy::load(dir)?;
    let inspected = schema::inspect(dir).with_context(|| format!("the schema folder {}", dir.display()))?;
    let mut report = Report::new(dir, &inspected);
    for fault in &inspected.faults {
        report.add(Finding::new(Code::of(fault.rule), &fault.file, fault.reason.clone()).at(&fault.pointer));
    }
    let names: Vec<(&str, u32)> = inspected.versions.keys().map(|(name, version)| (name.as_str(), *version)).collect();
    for key in policy.unused(&names) {
        report.add(Finding::new(Code::PolicyUnused, Path::new(Policy::FILE), format!("{key} fits nothing in the registry")));
    }
    let manifest_file = args.manifest.clone().unwrap_or_else(|| dir.join(Manifest::FILE));
    let manifest = Manifest::load(&manifest_file)?;
    let is_wanted = args.manifest.is_some() || args.update_manifest;
    anyhow::ensure!(
        manifest.is_some() || args.manifest.is_none() || args.update_manifest,
        "{}: no such file; --update-manifest makes it",
        manifest_file.display()
    );
    if let Some(revision) = &args.against_git {
        published::against_git(dir, revision, &inspected, &mut report)?;
    }
    let unlisted = match &manifest {
        None if args.against_git.is_some() && !is_wanted => Default::default(),
        manifest => published::against_manifest(dir, manifest.as_ref(), args.update_manifest, &inspected, &mut report)?,
    };
    match schema::load(dir) {
        Ok(registry) => {
            examples::check(dir, &registry, &mut report);
            let mut comparisons = compatibility::compare(&registry, &policy)?;
            if let Some(recorded) = &args.recorded {
                recorded::try_all(recorded, &mut comparisons, &mut report)?;
            }
            compatibility::report(comparisons, args.strict, &mut report);
        }
        Err(error) if inspected.faults.is_empty() => {
            report.add(Finding::new(Code::NotUsable, Path::new(""), error.to_string()));
        }
        // The faults of the files are in the report; examples and compatibility are checked once these are fixed.
        Err(_) => report.is_complete = false,
    }
    if args.update_manifest && report.errors() == 0 && !unlisted.is_empty() {
        let text = manifest.unwrap_or_default().with(&unlisted);
        std::fs::write(&manifest_file, text).with_context(|| manifest_file.display().to_string())?;
        report.added_to_manifest = unlisted.len();
    }
    report.sort();
    Ok(report)
}
