//! `lakegate serve`.

use std::{panic, process::ExitCode, sync::Arc, thread};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::failure::in_full;
use crate::{
    app::{App, Failure, Stop, location_of},
    config::{Config, Sink, SinkSettings},
    telemetry,
};

/// Exit code of a failed start.
pub(super) const EXIT_NOT_STARTED: u8 = 1;
/// Exit code after a disk failure that needs a restart (sysexits' `EX_IOERR`).
pub(super) const EXIT_DISK_FAILED: u8 = 74;
/// Exit code after the death of a part of the program, which is a bug (sysexits' `EX_SOFTWARE`).
pub(super) const EXIT_INTERNAL: u8 = 70;
/// Exit code after a second signal that asks to stop at once: as of a shell command that SIGINT ended.
pub(super) const EXIT_AT_ONCE: u8 = 130;

/// Runs the gateway until a stop is requested. SIGHUP applies the result of `read`. `announce` says that it runs, in its runtime.
pub(super) fn serve(
    config: &Config,
    read: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
    announce: impl FnOnce(&App, &Config),
) -> anyhow::Result<ExitCode> {
    let log = telemetry::start_logging(&config.telemetry).map_err(anyhow::Error::msg)?;
    end_by_panic_here();
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let code = run(config, read, announce).unwrap_or_else(|error| {
        // Standard error may have no reader, so the log's own thread writes this too.
        log.say(&format!("lakegate: {}", in_full(&error)));
        EXIT_NOT_STARTED
    });
    Ok(ExitCode::from(code))
}

/// A panic of the main thread ends the program at once: unwinding would wait for the runtime's threads, some of which may not
/// have started. Panics of other threads are handled there, and by [`App::run`].
fn end_by_panic_here() {
    let here = thread::current().id();
    let log_it = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        log_it(panic);
        if thread::current().id() == here {
            telemetry::flush_log();
            std::process::exit(EXIT_INTERNAL.into());
        }
    }));
}

fn exit_code(failure: Option<&Failure>) -> u8 {
    match failure {
        None => 0,
        Some(Failure::Disk) => EXIT_DISK_FAILED,
        Some(Failure::Part(_)) => EXIT_INTERNAL,
    }
}

fn run(
    config: &Config,
    read: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
    announce: impl FnOnce(&App, &Config),
) -> anyhow::Result<u8> {
    make_room_for_connections(config.http.connections_max);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(async {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Registered before anything else, because the signal's default action ends the process.
        let mut hangup = signal(SignalKind::hangup())?;
        let app = App::start(config).await?;
        let (reloader, read) = (app.reloader.clone(), Arc::new(read));
        let reload = async move {
            while hangup.recv().await.is_some() {
                let (reloader, read) = (reloader.clone(), read.clone());
                // Blocking: compiles schemas and reads files.
                let _ = tokio::task::spawn_blocking(move || reloader.reload(|| read())).await;
            }
        };
        tokio::spawn(app.conditions().vital("reloader").forever(reload));
        announce(&app, config);
        // Two, so that no signal is missed while the first is taken.
        let (stops, asked) = mpsc::channel(2);
        tokio::spawn(pass_on(terminate, interrupt, stops));
        anyhow::Ok(app.run(asked).await)
    })?;
    let code = exit_code(ended.failure.as_ref());
    if ended.undelivered_events.is_none() {
        tracing::error!("something did not end in time; what was acknowledged is on disk");
        telemetry::flush_log();
        // A normal exit would wait for stuck threads.
        std::process::exit(code.into());
    }
    // Work that is still on a blocking thread is a delivery that will be repeated.
    runtime.shutdown_background();
    Ok(code)
}

/// Passes requests to stop on. One that nobody takes any more means: do not wait for the drain; everything acknowledged is on disk
/// anyway. It works while the rest of the program is stuck.
async fn pass_on(mut terminate: Signal, mut interrupt: Signal, stops: mpsc::Sender<Stop>) {
    loop {
        let stop = tokio::select! {
            _ = terminate.recv() => Stop::Gracefully,
            _ = interrupt.recv() => Stop::Soon,
        };
        if stops.send(stop).await.is_err() {
            tracing::warn!("stopped at once");
            telemetry::flush_log();
            std::process::exit(EXIT_AT_ONCE.into());
        }
    }
}

/// Raises the soft limit of descriptors to the hard limit, as servers do: many shells set 1,024.
fn make_room_for_connections(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    let descriptors = getrlimit(Resource::Nofile).current;
    if descriptors.is_some_and(|descriptors| descriptors < connections_max as u64) {
        tracing::warn!(descriptors, connections_max, "the system allows fewer open files than http.connections_max connections");
    }
}

/// Says where to send events, and how.
pub(super) fn announce(app: &App, config: &Config) {
    let scheme = if config.http.plaintext { "http" } else { "https" };
    let port = app.address.port();
    tracing::info!("events: POST {scheme}://{}/v1/events", app.address);
    tracing::info!("metrics: http://{}/metrics", app.admin_address);
    if app.admin_address.ip().to_canonical().is_loopback() {
        tracing::info!("console: http://localhost:{}/", app.admin_address.port());
    }
    for Sink { name, settings, .. } in config.all_sinks().unwrap_or_default() {
        match settings {
            SinkSettings::Lake(lake) => tracing::info!("sink {name}: Parquet files in {}", location_of(&lake, config).root),
            SinkSettings::Kinesis(kinesis) => tracing::info!("sink {name}: the stream {} of Kinesis", kinesis.stream),
            SinkSettings::Firehose(firehose) => {
                tracing::info!("sink {name}: the delivery stream {} of Firehose", firehose.stream);
            }
            SinkSettings::Kafka(kafka) => {
                tracing::info!("sink {name}: the topic {} of Kafka at {}", kafka.topic, kafka.bootstrap_servers);
            }
        }
    }
    if let Some(certificate) = &app.self_signed {
        let certificate = certificate.display();
        tracing::info!(
            "the certificate is self-signed; to trust it: curl --cacert {certificate} {scheme}://localhost:{port}/healthz"
        );
    }
    if config.keys.is_empty() {
        tracing::info!("no [[keys]] are configured: the key \"dev\" works, on this machine only");
    }
    tracing::info!("ready");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_ended_is_told_by_the_exit_code() {
        assert_eq!(exit_code(None), 0);
        assert_eq!(exit_code(Some(&Failure::Disk)), 74);
        assert_eq!(exit_code(Some(&Failure::Part("deliverer: it panicked".into()))), 70);
    }
}
