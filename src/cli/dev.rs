//! `lakegate dev`: a gateway for a developer's machine, and for the tests of an application.
//!
//! The same gateway as `lakegate serve`, with what a test needs: every event at hand (`/dev/events`, `/dev/wait`), faults on request
//! (`/dev/faults`), HTTP and HTTPS on one port, every local web page, each rejection printed. It listens on loopback only.
//! With a command behind `--` it is there while that runs.

mod command;

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use tempfile::TempDir;

use self::command::Beside;
use super::{configuration::load, serve};
use crate::{
    app::App,
    auth::{DEV_KEY, secret_sha256, takes_dev_key},
    config::{Config, KeyConfig, KeyKind},
    json::Visible,
    limits::DEV_MEMORY_FREE_MIN,
    live_events::RecordedEvent,
};

/// The key of browsers, if no key is configured.
const BROWSER_KEY: &str = "dev-browser";

/// Every web page of this machine.
const LOCAL_PAGES: [&str; 8] = [
    "http://localhost",
    "https://localhost",
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1",
    "https://127.0.0.1",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
];

/// How soon events are in the lake, milliseconds.
const FLUSH_AGE_MS: u64 = 200;

/// What runs, and where.
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Address and port for events, HTTP and HTTPS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address and port of the console, and of what tests ask.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Folder of the schema registry [default: ./schemas, or that of the configuration].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Keep everything in this folder [default: in memory, and gone at the end].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Take the keys, the schemas and the limits of this configuration, and nothing else.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not open the console in a browser.
    #[arg(long)]
    no_open: bool,
    /// Run this command as soon as the rig is ready, and end with its exit code. It finds the rig by its environment: LAKEGATE_DEV,
    /// LAKEGATE_URL and LAKEGATE_KEY.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Prints a line.
type Say = fn(&str);

/// Runs the command.
pub(super) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    for (name, address) in [("--listen", args.listen), ("--admin", args.admin)] {
        ensure!(
            address.ip().to_canonical().is_loopback(),
            "{name}: `lakegate dev` listens on this machine only, such as on 127.0.0.1; `lakegate serve` is for others"
        );
    }
    let memory = match args.data_dir {
        Some(_) => None,
        None => Some(memory_folder().context("no folder for the data of this run")?),
    };
    // The output of a command is its own.
    let say: Say = if args.command.is_empty() { say_here } else { say_beside };
    let folder = args.data_dir.as_deref().or(memory.as_ref().map(TempDir::path)).unwrap_or(Path::new("data"));
    say(&format!("data      {}{}", folder.display(), if memory.is_some() { " (gone at the end)" } else { "" }));
    let config = config(args, folder)?;
    let again = config.clone();
    let is_watched = !args.no_open && args.command.is_empty() && io::stdout().is_terminal();
    let mut beside = None;
    let code = serve::serve(
        &config,
        move || Ok(again.clone()),
        |app, config| {
            announce(app, config, say);
            if is_watched {
                open(&console_of(app));
            }
            if !args.command.is_empty() {
                beside = Some(start_command(args, app, config));
            }
        },
    )?;
    drop(memory);
    Ok(match beside {
        None => code,
        Some(Ok(beside)) => beside.end(),
        Some(Err(code)) => code,
    })
}

/// Starts the command that was given. One that cannot be started is told, and stops the rig.
fn start_command(args: &DevArgs, app: &App, config: &Config) -> Result<Beside, ExitCode> {
    // Of other keys only hashes are known.
    let key = takes_dev_key(&config.keys).then_some(DEV_KEY);
    Beside::start(&args.command, app.admin_address, app.address.port(), key).map_err(|error| {
        say_beside(&format!("lakegate: cannot start {}: {error}", args.command.join(" ")));
        command::not_started()
    })
}

/// A folder that is gone at the end: in memory, if the system has a file system there with some room.
fn memory_folder() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    let prefix = tempfile::Builder::new().prefix("lakegate-dev-").to_owned();
    if free >= DEV_MEMORY_FREE_MIN
        && let Ok(folder) = prefix.tempdir_in(memory)
    {
        return Ok(folder);
    }
    prefix.tempdir()
}

fn config(args: &DevArgs, folder: &Path) -> anyhow::Result<Config> {
    let Config { keys, schemas, rate_limit, browser, privacy, .. } = match &args.config {
        Some(file) => load(Some(file))?,
        None => Config::default(),
    };
    let mut config = Config { keys, schemas, rate_limit, browser, privacy, is_rig: true, ..Config::default() };
    config.data_dir = folder.to_owned();
    (config.http.listen, config.admin.listen) = (args.listen, args.admin);
    if let Some(schemas) = &args.schemas {
        config.schemas.dir.clone_from(schemas);
    }
    config.schemas.watch = true;
    config.lake.flush_age_ms = FLUSH_AGE_MS;
    (config.admin.allow_changes, config.admin.tail_payloads) = (true, true);
    // What a developer must see is printed; the rest is for operators.
    "warn,lakegate::app::schemas=info".clone_into(&mut config.telemetry.log_filter);
    if config.keys.is_empty() {
        let mut browser = KeyConfig::new(BROWSER_KEY, secret_sha256(BROWSER_KEY));
        browser.kind = KeyKind::Browser;
        config.keys = vec![KeyConfig::new(DEV_KEY, secret_sha256(DEV_KEY)), browser];
    }
    for key in config.keys.iter_mut().filter(|key| key.kind == KeyKind::Browser) {
        key.allowed_origins.extend(LOCAL_PAGES.map(str::to_owned));
    }
    Ok(config)
}

/// Opens a page in this machine's browser.
fn open(url: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = Command::new(opener).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    // The address was printed: a machine without a browser lacks nothing.
    drop(quiet);
}

fn console_of(app: &App) -> String {
    format!("http://localhost:{}/", app.admin_address.port())
}

/// Says where it is, and from now on prints each rejection.
fn announce(app: &App, config: &Config, say: Say) {
    let port = app.address.port();
    let keys: Vec<&str> = config.keys.iter().map(|key| &*key.name).collect();
    say(&format!("events    http://localhost:{port}/v1/events and https://localhost:{port}/v1/events"));
    say(&format!("keys      {}", keys.join(", ")));
    say(&format!("console   {}", console_of(app)));
    say(&format!("schemas   {} (changes are in force at once)", config.schemas.dir.display()));
    say("ready");
    let Some(rig) = app.rig() else { return };
    let recorder = rig.recorder.clone();
    tokio::spawn(async move {
        let mut next = 0;
        loop {
            for event in recorder.after(next).await {
                next = event.number + 1;
                if event.is_rejected() {
                    say(&rejection(&event));
                }
            }
        }
    });
}

/// What is printed of a rejected event.
#[derive(Deserialize)]
struct Rejected<'a> {
    #[serde(borrow)]
    received_datetime: std::borrow::Cow<'a, str>,
    key: String,
    event_name: Option<String>,
    code: Option<String>,
    pointer: Option<String>,
    detail: Option<String>,
}

fn rejection(event: &RecordedEvent) -> String {
    let Ok(Rejected { received_datetime, key, event_name, code, pointer, detail }) = serde_json::from_str(&event.line) else {
        return format!("rejected  {}", event.line);
    };
    let time = received_datetime.get(11..19).unwrap_or_default().to_owned();
    let (name, code) = (event_name.unwrap_or_else(|| "no name".to_owned()), code.unwrap_or_default());
    let place = pointer.map(|pointer| format!(" at {pointer}")).unwrap_or_default();
    format!("{time}  rejected  {name}  key {key}  {code}{place}: {}", detail.unwrap_or_default())
}

/// Prints a line on standard output.
fn say_here(line: &str) {
    say_to(io::stdout().lock(), line);
}

/// Prints a line on standard error.
fn say_beside(line: &str) {
    say_to(io::stderr().lock(), line);
}

/// Nobody may read it.
fn say_to(out: impl Write, line: &str) {
    let mut out = Visible::new(out);
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    let _ = out.into_inner().write_all(b"\n");
}
