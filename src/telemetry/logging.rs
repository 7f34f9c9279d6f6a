//! The program's own log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

/// Starts logging to standard error. Payloads, keys and addresses of clients are never logged.
///
/// # Errors
/// Where the filter is malformed, or logging was started before.
pub fn start_logging(config: &TelemetryConfig) -> Result<(), String> {
    // The SDK warns at every try of every provider of credentials; what they come to is reported once, by the deliverer.
    let filter = EnvFilter::try_new(format!("aws_config=error,{}", config.log_filter))
        .map_err(|error| format!("telemetry.log_filter: {error}"))?;
    let pretty = match config.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if pretty {
        registry.with(layer.compact()).try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
    started.map_err(|error| error.to_string())
}
