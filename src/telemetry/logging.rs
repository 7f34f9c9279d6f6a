//! The program's own log, on standard error.
//!
//! One log for the process, like standard error. A separate thread writes it ([`LineWriter`]), so that no caller waits for a
//! slow reader.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    sync::{LazyLock, OnceLock},
    thread,
};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use super::line_writer::{LineWriter, own_output};
use crate::{
    config::{LogFormat, TelemetryConfig},
    limits::TELEMETRY_CLOSE_TIMEOUT,
};

static LINES: OnceLock<LineWriter> = OnceLock::new();
static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// The log of this process, after it was started. Dropping it waits a limited time until all lines are written.
#[derive(Debug)]
pub struct Log(());

/// Starts logging to standard error. Payloads, keys and client addresses are never logged. From now on a panic is a line of
/// the log.
///
/// # Errors
/// If the filter is malformed, or logging was started before.
pub fn start_logging(config: &TelemetryConfig) -> Result<Log, String> {
    // The SDK warns at every attempt of every credentials provider. The deliverer reports the result once.
    let filter = EnvFilter::try_new(format!("aws_config=error,{}", config.log_filter))
        .map_err(|error| format!("telemetry.log_filter: {error}"))?;
    let pretty = match config.log_format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let started = own_output(io::stderr()).and_then(|output| LineWriter::start("log", output, DROPPED.clone()));
    let lines = started.map_err(|error| format!("the log cannot be started: {error}"))?;
    LINES.set(lines).map_err(|_| "the log was started before".to_owned())?;
    let layer = tracing_subscriber::fmt::layer().with_writer(ToLines).with_target(true);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if pretty {
        registry.with(layer.compact()).try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
    started.map_err(|error| error.to_string())?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log(()))
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let said = panic.payload_as_str().unwrap_or("without a text");
    let location = panic.location().map(ToString::to_string);
    let thread = thread::current();
    // Only if `RUST_BACKTRACE` asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(panic = said, location, thread = thread.name(), backtrace, "a panic: this is a bug");
}

impl Log {
    /// Adds a line without changes.
    pub fn say(&self, line: &str) {
        if let Some(lines) = LINES.get() {
            lines.add(format!("{line}\n").into_bytes());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        flush_log();
    }
}

/// Waits until all lines are written, within [`TELEMETRY_CLOSE_TIMEOUT`]. Blocks.
pub fn flush_log() {
    // A failed flush of the log cannot be logged.
    let _ = LINES.get().map(|lines| lines.flush(TELEMETRY_CLOSE_TIMEOUT));
}

/// Why the log's lines are not written at the moment, if they are not.
#[must_use]
pub fn log_stalled() -> Option<String> {
    LINES.get().and_then(LineWriter::stalled)
}

/// Whether the thread that writes the log has ended.
#[must_use]
pub fn log_has_ended() -> bool {
    LINES.get().is_some_and(LineWriter::has_ended)
}

/// Counts the lines of the log that were dropped.
pub(super) fn log_dropped_lines() -> Counter {
    DROPPED.clone()
}

/// Each write of the layer is a whole line.
struct ToLines;

impl<'a> MakeWriter<'a> for ToLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for ToLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(lines) = LINES.get() {
            lines.add(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
