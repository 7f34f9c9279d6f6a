//! `lakegate dev`: a gateway for a developer's machine, and for the tests of an application.
//!
//! The same gateway as `lakegate serve`, with what a test needs: every event at hand (`/dev/events`, `/dev/wait`), faults on request
//! (`/dev/faults`), HTTP and HTTPS on one port, every local web page, each rejection printed. It listens on loopback only.

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

use super::{configuration::load, serve};
use crate::{
    app::App,
    auth::{DEV_KEY, secret_sha256},
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
}

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
    let folder = args.data_dir.as_deref().or(memory.as_ref().map(TempDir::path)).unwrap_or(Path::new("data"));
    say(&format!("data      {}{}", folder.display(), if memory.is_some() { " (gone at the end)" } else { "" }));
    let config = config(args, folder)?;
    let again = config.clone();
    let announce = if args.no_open || !io::stdout().is_terminal() { announce } else { announce_and_open };
    let code = serve::serve(&config, move || Ok(again.clone()), announce);
    drop(memory);
    code
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

fn announce_and_open(app: &App, config: &Config) {
    announce(app, config);
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet =
        Command::new(opener).arg(console_of(app)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    // Its address was printed: a machine without a browser lacks nothing.
    drop(quiet);
}

fn console_of(app: &App) -> String {
    format!("http://localhost:{}/", app.admin_address.port())
}

/// Says where it is, and from now on prints each rejection.
fn announce(app: &App, config: &Config) {
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

/// Prints a line. Nobody may read it.
fn say(line: &str) {
    let mut out = Visible::new(io::stdout().lock());
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    let _ = out.into_inner().write_all(b"\n");
}
