//! `lakegate schemas simulate`: validates recorded events with a proposed registry. The exit code is 1 if it newly rejects some
//! of them.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    app::lake_location,
    cli::{
        configuration::load,
        dead_letters::{
            archive,
            print::{plain, table},
        },
        output_format::Format,
    },
    config::Config,
    dead_letters::Filter,
    json::Visible,
    repair::{Change, Simulated, Simulation},
    schema,
    sink::lake::{Filters, Lake, parse_date},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArgs {
    /// Which events: `lake`, `dead-letters`, or a file or folder of events, one per line.
    #[arg(long, value_name = "lake|dead-letters|DIR")]
    against: String,
    /// Folder of the proposed registry [default: as configured].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Folder of the registry to compare with [default: as configured, if --schemas names another one].
    ///
    /// Without one, events of the lake and of a folder count as accepted so far, and dead letters as rejected.
    #[arg(long, value_name = "DIR")]
    current: Option<PathBuf>,
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the gateway [default: as configured, ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only this event name, such as menu:item:viewed.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Of the lake, only events created on this day (UTC) or later.
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<String>,
    /// Of the lake, only events created on this day (UTC) or earlier.
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<String>,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let mut config = load(args.config.as_deref())?;
    if let Some(data_dir) = &args.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    let configured = &config.schemas.dir;
    let proposed = args.schemas.as_ref().unwrap_or(configured);
    let current = match &args.current {
        Some(current) => Some(current),
        None => (!is_same(proposed, configured)).then_some(configured),
    };
    let proposed = schema::load(proposed).context("the proposed registry")?;
    let current = current.map(|current| schema::load(current)).transpose().context("the current registry")?;
    let mut simulation = Simulation::new(&proposed, current.as_ref(), config.schemas.unknown_events);
    let left_out = match args.against.as_str() {
        "lake" => lake(args, &config, &mut simulation)?,
        "dead-letters" => dead_letters(args, &config, &mut simulation)?,
        folder => folder_of_events(args, Path::new(folder), &mut simulation)?,
    };
    let simulated = simulation.finish();
    let out = &mut Visible::new(io::stdout().lock());
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &simulated)?;
            writeln!(out)?;
        }
        Format::Table => print(&simulated, out)?,
    }
    report(&left_out);
    Ok(ExitCode::from(u8::from(simulated.newly_rejected > 0 || !left_out.is_empty())))
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
}

fn lake(args: &SimulateArgs, config: &Config, simulation: &mut Simulation<'_>) -> anyhow::Result<Vec<String>> {
    let day = |text: &Option<String>| match text.as_deref().map(|text| (parse_date(text), text)) {
        None => Ok(None),
        Some((Some(date), _)) => Ok(Some(date)),
        Some((None, text)) => bail!("{text:?}: a day such as 2026-11-20 is expected"),
    };
    let filters = Filters {
        event_type: None,
        event_name: args.name.clone(),
        from_inclusive: day(&args.from)?,
        to_inclusive: day(&args.to)?,
    };
    let lake = Lake::open_with(&lake_location(config))?;
    let export = lake.export(&filters, false, &mut |row| {
        simulation.good(row.payload.as_bytes(), Some(row.source));
        Ok(())
    })?;
    Ok(export.left_out.iter().map(|file| format!("{}: {}", file.file, file.reason)).collect())
}

fn dead_letters(args: &SimulateArgs, config: &Config, simulation: &mut Simulation<'_>) -> anyhow::Result<Vec<String>> {
    let conditions: Vec<String> = args.name.iter().map(|name| format!("event_name={name}")).collect();
    let filter = Filter::parse(&conditions, 0)?;
    let survey = archive(config).visit(&filter, &mut |found| {
        if let Some(raw) = found.letter.raw() {
            simulation.dead_letter(&found.letter, &raw);
        }
        ControlFlow::Continue(())
    })?;
    let unreadable = survey.unreadable_lines;
    Ok((unreadable > 0).then(|| format!("{unreadable} lines that are no dead letters")).into_iter().collect())
}

/// Every line of every `.ndjson`, `.jsonl` and `.json` file in a folder, or of a single file with any name.
fn folder_of_events(args: &SimulateArgs, folder: &Path, simulation: &mut Simulation<'_>) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    find(folder, true, &mut files).with_context(|| format!("{}: events cannot be read", folder.display()))?;
    if files.is_empty() {
        bail!("{} holds no .ndjson, .jsonl or .json file", folder.display());
    }
    files.sort();
    for path in files {
        let file = fs::File::open(&path).with_context(|| path.display().to_string())?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).with_context(|| path.display().to_string())? > 0 {
            let event = line.trim_ascii();
            let is_meant = || match &args.name {
                None => true,
                Some(name) => serde_json::from_slice::<Named<'_>>(event).is_ok_and(|event| event.event_name == *name),
            };
            if !event.is_empty() && is_meant() {
                simulation.good(event, None);
            }
            line.clear();
        }
    }
    Ok(Vec::new())
}

#[derive(serde::Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    event_name: std::borrow::Cow<'a, str>,
}

fn find(path: &Path, is_named: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            find(&entry?.path(), false, files)?;
        }
    } else {
        let is_events = path.extension().is_some_and(|found| ["ndjson", "jsonl", "json"].iter().any(|known| found == *known));
        if is_named && !path.exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        files.extend((is_named || is_events).then(|| path.to_owned()));
    }
    Ok(())
}

fn print(simulated: &Simulated, out: &mut impl Write) -> io::Result<()> {
    let Simulated { events, still_accepted, still_rejected, newly_rejected, rescued, .. } = simulated;
    writeln!(
        out,
        "{events} events: {newly_rejected} newly rejected, {rescued} rescued, {still_accepted} accepted as before, {still_rejected} rejected as before"
    )?;
    for (is_rescue, title) in [(false, "newly rejected"), (true, "rescued")] {
        let changes: Vec<&Change> = simulated.changes.iter().filter(|change| change.is_rescue == is_rescue).collect();
        if changes.is_empty() {
            continue;
        }
        let head = [title, "event_name", "version", "code", "pointer", "source", "for example", "why"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(changes.iter().map(|change| {
            vec![
                change.count.to_string(),
                plain(change.event_name.as_deref()),
                change.schema_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
                change.code.clone(),
                plain(Some(&change.pointer)),
                plain(change.source.as_deref()),
                plain(change.example_event_uuid.as_deref()),
                plain(Some(&change.example_detail)),
            ]
        }));
        table(&rows, out)?;
    }
    if simulated.ungrouped > 0 {
        writeln!(out, "{} more events are in further groups", simulated.ungrouped)?;
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
fn report(left_out: &[String]) {
    for what in left_out {
        eprintln!("lakegate: left out {what}");
    }
}
