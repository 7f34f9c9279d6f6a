//! `lakegate dead-letters …`: the dead letters, with or without a running gateway on the data folder.
//!
//! Read commands read the files, which is safe at any time. Changes are made by the gateway that holds the lock of the data
//! folder; without a gateway this process takes the lock and makes them.

pub(super) mod print;

use std::{
    io::{self, BufWriter, Read, Write},
    net::SocketAddr,
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    admin_client,
    configuration::{PlaceArgs, open_offline},
    failure::notice,
    health::reachable,
    output_format::Format,
};
use crate::{
    app::{admin_address, gateway_id, is_running},
    config::{Config, DeadLettersKind},
    dead_letters::{Archive, Filter, Grouped, folder_to_read, old_folder_notice},
    event::unix_millis,
    json::{Patch, Visible},
    limits::GIVEN_LETTERS_BYTES,
    repair::{Dropped, Letters, Replay, ReplayReport, visit_shown},
};

const CONDITIONS: &str = "\
Conditions: FIELD=PATTERN or FIELD!=PATTERN; all of them must match.
  Patterns:  * is any text, ? is any character, a|b is either.
  Fields:    code, event_name, event_uuid, source, pointer, detail, schema (menu:item:viewed/2), version, letter.
  Time:      since=TIME and until=TIME; a TIME is 2026-11-20, 2026-11-20T18:00:00Z, or 90s, 30m, 12h, 7d (ago).
  State:     state=open (the default), state=repaired, state=any.

If no gateway runs, replay and drop write to the data folder: run them as the user of the gateway.";

#[derive(Debug, Subcommand)]
pub(super) enum DeadLettersCommand {
    /// Count the dead letters by event name, schema version, code, pointer and source.
    #[command(after_help = CONDITIONS)]
    List {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        meant: MeantArgs,
        /// Format of the output.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Print dead letters whole, with what was done about them.
    #[command(after_help = CONDITIONS)]
    Show {
        /// An event_uuid, or the name of a dead letter [default: the first ones that match --where].
        which: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        meant: MeantArgs,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 1)]
        limit: usize,
    },
    /// Send the events of dead letters through the gateway again, as they were or patched. Can be repeated.
    #[command(after_help = CONDITIONS)]
    Replay {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        meant: MeantArgs,
        /// JSON Patch (RFC 6902) for each event; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        patch: Option<PathBuf>,
        /// Print what would happen, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Dead letters from a file, one per line, as their stream has them; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        #[command(flatten)]
        admin: AdminArgs,
        /// Format of the output.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Delete dead letters.
    #[command(after_help = CONDITIONS)]
    Drop {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        meant: MeantArgs,
        /// Delete all open letters, where --where is not given.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        admin: AdminArgs,
        /// Format of the output.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct MeantArgs {
    /// Only dead letters that match, such as code=schema_violation or event_name=menu:*; see below.
    #[arg(long = "where", value_name = "CONDITION", num_args = 1..)]
    conditions: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AdminArgs {
    /// Address of the running gateway for operators [default: the one noted in the data folder].
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
}

impl MeantArgs {
    fn filter(&self) -> anyhow::Result<Filter> {
        Ok(Filter::parse(&self.conditions, unix_millis(SystemTime::now()))?)
    }
}

/// Runs the command. The exit code is 1 if there was nothing to show, or if not all selected letters are repaired.
pub(super) fn run(command: &DeadLettersCommand) -> anyhow::Result<ExitCode> {
    let out = &mut Visible::new(BufWriter::new(io::stdout().lock()));
    let result = match command {
        DeadLettersCommand::List { place, meant, format } => list(&place.config()?, &meant.filter()?, *format, out),
        DeadLettersCommand::Show { which, place, meant, limit } => {
            show_some(&place.config()?, which.as_deref(), meant, *limit, out)
        }
        DeadLettersCommand::Replay { place, meant, patch, dry_run, from, admin, format } => {
            let request = ReplayRequest {
                conditions: &meant.conditions,
                patch: patch.as_deref().map(read_text).transpose()?,
                dry_run: *dry_run,
                letters: from.as_deref().map(read_text).transpose()?,
            };
            replay(&place.config()?, admin, &request, *format, out)
        }
        DeadLettersCommand::Drop { place, meant, yes, admin, format } => {
            drop_some(&place.config()?, admin, &DropRequest { conditions: &meant.conditions, all: *yes }, *format, out)
        }
    };
    let well = result.and_then(|well| Ok(out.flush().map(|()| well)?))?;
    Ok(ExitCode::from(u8::from(!well)))
}

fn read_text(file: &std::path::Path) -> anyhow::Result<String> {
    if file == std::path::Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).context("standard input cannot be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The letters in files. Prints a notice if there are letters elsewhere.
pub(in crate::cli) fn archive(config: &Config) -> Archive {
    if config.dead_letters.kind != DeadLettersKind::Files {
        let stream = &config.dead_letters.stream;
        notice(&format!("dead letters go to the stream {stream}; these are only those that lie in files (replay has --from)"));
    }
    old_folder_notice(&config.data_dir).iter().for_each(|text| notice(text));
    Archive::new(folder_to_read(&config.data_dir))
}

#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
fn complain_of(unreadable_lines: u64) {
    if unreadable_lines > 0 {
        eprintln!("lakegate: {unreadable_lines} lines are no dead letters and were passed over");
    }
}

fn list(config: &Config, filter: &Filter, format: Format, out: &mut impl Write) -> anyhow::Result<bool> {
    let (groups, survey) = archive(config).groups(filter).context("the dead letters cannot be read")?;
    print::groups(&groups.finish(), format, out)?;
    complain_of(survey.unreadable_lines);
    Ok(survey.unreadable_lines == 0)
}

fn show_some(
    config: &Config,
    which: Option<&str>,
    meant: &MeantArgs,
    limit: usize,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let archive = archive(config);
    let mut conditions = meant.conditions.clone();
    // A named letter is shown in any state.
    conditions.extend(which.map(|_| "state=any".to_owned()));
    let filter = |name: &str| {
        let mut conditions = conditions.clone();
        conditions.extend(which.map(|which| format!("{name}={which}")));
        Filter::parse(&conditions, unix_millis(SystemTime::now()))
    };
    // Printed while reading, because some letters are long.
    let mut show = |filter: &Filter| {
        let (mut count, mut printed) = (0, Ok(()));
        visit_shown(&archive, filter, limit, &mut |letter| {
            count += 1;
            printed = print::letter(&letter, out);
            if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        printed.map(|()| count > 0)
    };
    let is_found = show(&filter("event_uuid")?)?;
    let Some(which) = which.filter(|_| !is_found) else { return Ok(is_found) };
    let is_found = show(&filter("letter")?)?;
    if !is_found {
        notice(&format!("no dead letter here has the event_uuid or the name {which}"));
    }
    Ok(is_found)
}

/// The request to a running gateway; without one, this process runs it.
#[derive(Serialize)]
struct ReplayRequest<'a> {
    #[serde(rename = "where")]
    conditions: &'a [String],
    #[serde(skip)]
    patch: Option<String>,
    dry_run: bool,
    #[serde(skip)]
    letters: Option<String>,
}

#[derive(Serialize)]
struct ReplayQuestion<'a> {
    gateway: Option<Uuid>,
    #[serde(flatten)]
    request: &'a ReplayRequest<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    letters: Option<&'a str>,
}

#[derive(Serialize)]
struct DropQuestion<'a> {
    gateway: Option<Uuid>,
    #[serde(flatten)]
    request: &'a DropRequest<'a>,
}

#[derive(Serialize)]
struct DropRequest<'a> {
    #[serde(rename = "where")]
    conditions: &'a [String],
    all: bool,
}

impl ReplayRequest<'_> {
    fn patch(&self) -> anyhow::Result<Option<Patch>> {
        Ok(self.patch.as_deref().map(Patch::parse).transpose()?)
    }

    /// The given letters, in portions within the limit of a request; a single `None` if no letters are given.
    fn portions(&self) -> Vec<Option<&str>> {
        let Some(letters) = &self.letters else { return vec![None] };
        let mut portions = Vec::new();
        let mut rest = letters.as_str();
        while !rest.is_empty() {
            let end = rest.floor_char_boundary(GIVEN_LETTERS_BYTES.min(rest.len()));
            let at = match rest[..end].rfind('\n') {
                _ if end == rest.len() => end,
                Some(at) => at + 1,
                // One letter is longer than a portion.
                None => rest.find('\n').map_or(rest.len(), |at| at + 1),
            };
            portions.push(Some(&rest[..at]));
            rest = &rest[at..];
        }
        portions
    }
}

/// Where changes are made.
pub(in crate::cli) enum Place {
    /// By the gateway at this address.
    Running(SocketAddr),
    /// By this process.
    Offline,
    /// Nowhere: there is no data folder.
    Nowhere,
}

/// Where a change of this data folder is made.
pub(in crate::cli) fn place(config: &Config, admin: &AdminArgs) -> anyhow::Result<Place> {
    if is_running(&config.data_dir)? {
        let configured = (config.admin.listen.port() != 0).then_some(config.admin.listen);
        return match admin.admin.or_else(|| admin_address(&config.data_dir)).or(configured) {
            Some(address) => Ok(Place::Running(reachable(address))),
            None => bail!("a gateway runs on {}; name its address for operators with --admin", config.data_dir.display()),
        };
    }
    Ok(if config.data_dir.is_dir() { Place::Offline } else { Place::Nowhere })
}

/// A runtime for a command that changes data.
pub(in crate::cli) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")
}

fn replay(
    config: &Config,
    admin: &AdminArgs,
    request: &ReplayRequest<'_>,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    // Validated first, so that errors are the same in both places, and before anything is opened.
    let filter = Filter::parse(request.conditions, unix_millis(SystemTime::now()))?;
    request.patch()?;
    let mut whole: Option<ReplayReport> = None;
    let place = place(config, admin)?;
    let runtime = runtime()?;
    let reports = runtime.block_on(async {
        let offline = match place {
            Place::Offline => Some(open_offline(config).await?),
            _ => None,
        };
        for letters in request.portions() {
            let report = match (&place, &offline) {
                (Place::Running(address), _) => {
                    let patch = request.patch.as_ref().map(|patch| RawValue::from_string(patch.trim().to_owned())).transpose()?;
                    let gateway = gateway_id(&config.data_dir);
                    let question = ReplayQuestion { gateway, request, patch: patch.as_deref(), letters };
                    admin_client::post(*address, "/admin/dead-letters/replay", &question).await?
                }
                (_, Some(offline)) => {
                    let letters = letters.map_or(Letters::Kept, |lines| Letters::Given(lines.as_bytes().to_vec()));
                    let replay = Replay { filter: filter.clone(), patch: request.patch()?, dry_run: request.dry_run, letters };
                    offline.repair.replay(replay, &offline.senders).await?
                }
                _ if letters.is_some() => bail!("{}: there is no such data folder", config.data_dir.display()),
                _ => ReplayReport::default(),
            };
            let is_stopped = report.stopped.is_some();
            match &mut whole {
                None => whole = Some(report),
                Some(whole) => whole.add(report),
            }
            if is_stopped {
                break;
            }
        }
        if let Some(offline) = offline {
            offline.close().await;
        }
        anyhow::Ok(whole.unwrap_or_default())
    });
    let report = reports?;
    print::replayed(&report, matches!(place, Place::Offline), format, out)?;
    complain_of(report.unreadable_lines);
    Ok(report.is_complete())
}

fn drop_some(
    config: &Config,
    admin: &AdminArgs,
    request: &DropRequest<'_>,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let filter = Filter::parse(request.conditions, unix_millis(SystemTime::now()))?;
    if filter.is_empty() && !request.all {
        bail!("nothing says which dead letters are to be dropped: give --where, or --yes for all that are open");
    }
    let place = place(config, admin)?;
    let dropped: anyhow::Result<Dropped> = runtime()?.block_on(async {
        match place {
            Place::Running(address) => {
                let question = DropQuestion { gateway: gateway_id(&config.data_dir), request };
                admin_client::post(address, "/admin/dead-letters/drop", &question).await
            }
            Place::Offline => {
                let offline = open_offline(config).await?;
                let dropped = offline.repair.drop_letters(&filter).await?;
                offline.close().await;
                Ok(dropped)
            }
            Place::Nowhere => Ok(Dropped { run: String::new(), bytes: 0, removed: Grouped::default() }),
        }
    });
    print::dropped(&dropped?, format, out)?;
    Ok(true)
}
