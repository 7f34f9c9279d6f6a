//! `lakegate serve`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::{app::App, config::Config, telemetry};

/// Exit code when the disk failed and a restart is needed (sysexits' `EX_IOERR`).
const EXIT_DISK_FAILED: u8 = 74;

/// Runs the gateway until it is told to stop. SIGHUP puts in force what `read` gives.
pub(super) fn serve(
    config: &Config,
    read: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
) -> anyhow::Result<ExitCode> {
    telemetry::start_logging(&config.telemetry).map_err(anyhow::Error::msg)?;
    make_room_for_connections(config.http.connections_max);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Before anything else is up, since its default is to end the process.
        let mut hangup = signal(SignalKind::hangup())?;
        let app = App::start(config).await?;
        let (reloader, read) = (app.reloader.clone(), Arc::new(read));
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                let (reloader, read) = (reloader.clone(), read.clone());
                // Schemas are compiled, and files are read.
                let _ = tokio::task::spawn_blocking(move || reloader.reload(|| read())).await;
            }
        });
        announce(&app, config);
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Whoever asks a second time does not want to wait for the drain; everything acknowledged is on disk anyway.
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::warn!("stopped at once");
                std::process::exit(130);
            });
        };
        anyhow::Ok(app.run(stop).await)
    })?;
    // Work that is still on a blocking thread is a delivery that will be repeated.
    runtime.shutdown_background();
    Ok(if ended.spool_failed { ExitCode::from(EXIT_DISK_FAILED) } else { ExitCode::SUCCESS })
}

/// Raises the soft limit of descriptors to the hard one, as servers do: many shells give 1,024.
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
fn announce(app: &App, config: &Config) {
    let scheme = if config.http.plaintext { "http" } else { "https" };
    let port = app.address.port();
    tracing::info!("events: POST {scheme}://{}/v1/events", app.address);
    tracing::info!("metrics: http://{}/metrics", app.admin_address);
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
