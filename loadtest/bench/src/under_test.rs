//! The servers under test: how each is started, when it has done all its work, and whether it did it right.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    events::{Event, Shapes},
    process::{Process, Talks},
    reference::LISTENING,
    registry,
    stub::{Contents, Stub},
    wire::{Expected, SECRET_SHA256, get, stream},
};

/// Time in which what was accepted has to be delivered once no more comes.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Reference: axum reads the body.
    Bare,
    /// Reference: axum and `serde_json::Value`.
    Parse,
    /// The same without the feature `preserve_order`, which the gateway needs and others may not: `--parse-plain`.
    ParsePlain,
    /// The gateway, one record for each event.
    Kinesis,
    /// The same of another build: `--before`.
    #[value(skip)]
    Before,
    /// The gateway, KPL aggregation.
    Kpl,
    /// The gateway, one record of a delivery stream for each event.
    Firehose,
    /// The gateway, lines packed into records of a delivery stream.
    FirehoseNdjson,
    /// The gateway, batches for a topic of Kafka.
    Kafka,
    /// The gateway, Parquet files.
    Lake,
}

impl Kind {
    /// As the table calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Bare => "`bare`",
            Self::Parse => "`parse`",
            Self::ParsePlain => "`parse`, members sorted",
            Self::Kinesis => "**lakegate** → Kinesis",
            Self::Before => "lakegate before → Kinesis",
            Self::Kpl => "lakegate → Kinesis, KPL",
            Self::Firehose => "lakegate → Firehose",
            Self::FirehoseNdjson => "lakegate → Firehose, lines packed",
            Self::Kafka => "lakegate → Kafka",
            Self::Lake => "lakegate → Parquet",
        }
    }

    /// Whether it is the gateway.
    pub(crate) fn is_gateway(self) -> bool {
        !matches!(self, Self::Bare | Self::Parse | Self::ParsePlain)
    }

    /// What it has to answer.
    pub(crate) fn expected(self) -> Expected {
        if self.is_gateway() { Expected::AllAccepted } else { Expected::NoContent }
    }
}

/// The gateway, and what it is given.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GatewayArgs {
    /// The gateway's program.
    #[arg(long, default_value = "target/release/lakegate")]
    gateway: PathBuf,
    /// The registry that the 100 types are made of.
    #[arg(long, default_value = "schemas")]
    schemas: PathBuf,
    /// Folder below which the gateways keep their data while they run; on a disk, or their fsyncs cost nothing.
    #[arg(long, default_value = "target")]
    data: PathBuf,
    /// Brokers for the server `kafka`, which make topics on demand: `tests/acceptance/kafka_brokers.py FILE` starts some, and
    /// writes their addresses into FILE.
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Event types of the registry.
    #[arg(long, default_value_t = registry::TYPES)]
    types: usize,
    /// Events of so many bytes each, in place of a mixture of 230 to 4,000.
    #[arg(long, value_name = "BYTES")]
    event_bytes: Option<usize>,
    /// The program of the server `parse-plain`: loadtest/parse-plain.
    #[arg(long, value_name = "PROGRAM")]
    parse_plain: Option<PathBuf>,
}

impl GatewayArgs {
    /// What servers are started with by these arguments. The registry of 100 types is written below `folder`.
    pub(crate) fn setup(&self, folder: &Path) -> anyhow::Result<Setup> {
        let schemas = folder.join("schemas");
        registry::write(&self.schemas, &schemas, self.types)?;
        let data = self.data.canonicalize().with_context(|| format!("{} cannot be used", self.data.display()))?;
        let lake_flush_age = Duration::from_secs(2);
        let (gateway, kafka, parse_plain) = (self.gateway.clone(), self.kafka.clone(), self.parse_plain.clone());
        Ok(Setup { gateway, before: None, under: Vec::new(), schemas, data, kafka, parse_plain, lake_flush_age })
    }

    /// The events that are sent, before they get their identities.
    pub(crate) fn events(&self, setup: &Setup, count: usize) -> anyhow::Result<Vec<Event>> {
        let shapes = Shapes::of_registry(&setup.schemas)?;
        let event = || self.event_bytes.map_or_else(|| shapes.random(), |bytes| shapes.sized(bytes));
        Ok((0..count).map(|_| event()).collect())
    }

    /// The event types of the registry.
    pub(crate) fn types(&self) -> usize {
        self.types
    }
}

/// What servers are started with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The gateway's program.
    pub(crate) gateway: PathBuf,
    /// Another build of it, to compare with.
    pub(crate) before: Option<PathBuf>,
    /// A program, with its arguments, that runs the servers; none: they run by themselves.
    pub(crate) under: Vec<OsString>,
    /// The registry of 100 types.
    pub(crate) schemas: PathBuf,
    /// Where the gateways keep their data: on a disk, or the fsyncs cost nothing.
    pub(crate) data: PathBuf,
    /// Brokers of Kafka.
    pub(crate) kafka: Option<String>,
    /// The server [`Kind::ParsePlain`].
    pub(crate) parse_plain: Option<PathBuf>,
    /// Age at which the lake's files are written.
    pub(crate) lake_flush_age: Duration,
}

impl Setup {
    /// The same under valgrind, which writes what it counted to `profile`.
    pub(crate) fn under_callgrind(self, profile: &Path) -> Self {
        let mut out = OsString::from("--callgrind-out-file=");
        out.push(profile);
        let under = ["valgrind", "--quiet", "--tool=callgrind", "--fair-sched=yes"].into_iter().map(OsString::from);
        Self { under: under.chain([out]).collect(), ..self }
    }

    fn command(&self, program: &Path) -> Command {
        let Some((under, arguments)) = self.under.split_first() else { return Command::new(program) };
        let mut command = Command::new(under);
        command.args(arguments).arg(program);
        command
    }
}

/// A running server under test.
#[derive(Debug)]
pub(crate) struct UnderTest {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    /// Where events go.
    pub(crate) address: SocketAddr,
    /// What it is trusted by, where it speaks TLS.
    pub(crate) certificate: Option<PathBuf>,
    admin: Option<SocketAddr>,
    stub: Option<Stub>,
    /// Events it has answered as accepted.
    pub(crate) accepted: u64,
    _folder: TempDir,
}

impl UnderTest {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(kind: Kind, tls: bool, setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&setup.data)?;
        let certificate = tls.then(|| folder.path().join("tls/cert.pem"));
        let stub = match kind {
            Kind::Kinesis | Kind::Before | Kind::Firehose => Some(Stub::start(Contents::OneEvent)?),
            Kind::Kpl | Kind::FirehoseNdjson => Some(Stub::start(Contents::Packed)?),
            Kind::Bare | Kind::Parse | Kind::ParsePlain | Kind::Kafka | Kind::Lake => None,
        };
        ensure!(kind != Kind::Kafka || setup.kafka.is_some(), "--kafka names no brokers");
        let (process, address, admin) = if kind.is_gateway() {
            let config = folder.path().join("lakegate.toml");
            let other = setup.before.as_ref().filter(|_| kind == Kind::Before);
            let program = other.unwrap_or(&setup.gateway);
            std::fs::write(&config, configuration(kind, tls, setup, folder.path(), stub.as_ref()))?;
            start_gateway(setup.command(program), &config).await?
        } else {
            start_reference(kind, setup, tls.then(|| folder.path().join("tls"))).await?
        };
        Ok(Self { kind, process, address, certificate, admin, stub, accepted: 0, _folder: folder })
    }

    /// Waits until all that was accepted is delivered: delivering is part of what an event costs.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.kind.is_gateway() {
            let (delivered, pause) = match &self.stub {
                Some(stub) => (stub.received.events.load(Ordering::Acquire), Duration::from_millis(2)),
                // Asking costs the gateway something.
                None => (self.metric("lakegate_delivered_events_total").await? as u64, Duration::from_millis(100)),
            };
            if delivered == self.accepted {
                break;
            }
            let accepted = self.accepted;
            ensure!(delivered < accepted, "{delivered} events were delivered, and {accepted} were sent");
            ensure!(since.elapsed() < DELIVERY_TIMEOUT, "of {accepted} events {delivered} were delivered in time");
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Watches all its events, until it ends, and is shown so many a second. The result is the bytes that were shown.
    pub(crate) async fn watch(&self, rate: u32) -> anyhow::Result<JoinHandle<anyhow::Result<u64>>> {
        let admin = self.admin.context("a reference server shows nothing")?;
        let mut events = stream(admin, &format!("/admin/tail?rate={rate}")).await?;
        Ok(tokio::spawn(async move {
            let mut bytes = 0;
            while let Some(frame) = events.frame().await {
                bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
            }
            Ok(bytes)
        }))
    }

    /// Asks for the overview so many times, as an open page of the console does: once a second.
    pub(crate) async fn poll_overview(&self, times: u32) -> anyhow::Result<()> {
        let admin = self.admin.context("a reference server has no console")?;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..times {
            second.tick().await;
            get(admin, "/admin/overview").await?;
        }
        Ok(())
    }

    /// A number that the gateway tells of itself; of a reference server none.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let Some(admin) = self.admin else { return Ok(0.0) };
        let text = get(admin, "/metrics").await?;
        // Metrics of the delivery have the label of the only sink; those of an older gateway have none.
        let value_of = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name)?;
            let value = rest.strip_prefix("{sink=\"").and_then(|rest| rest.split_once("\"}")).map_or(rest, |(_, value)| value);
            value.strip_prefix(' ')?.parse().ok()
        };
        text.lines().find_map(value_of).with_context(|| format!("/metrics does not have {name}"))
    }

    /// Whether the gateway's own books agree with the client's and the stream's.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        if !self.kind.is_gateway() {
            return Ok(());
        }
        let same = [
            "lakegate_events_received_total",
            "lakegate_events_total{source=\"bench\",outcome=\"accepted\"}",
            "lakegate_spool_appended_events_total",
            "lakegate_delivered_events_total",
            "lakegate_dedup_identities",
        ];
        // The stream has the events a moment before the gateway has its answer.
        let since = Instant::now();
        while self.metric("lakegate_delivered_events_total").await? as u64 != self.accepted && since.elapsed() < DELIVERY_TIMEOUT
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for name in same {
            let found = self.metric(name).await? as u64;
            ensure!(found == self.accepted, "{name} is {found}, and {} were sent", self.accepted);
        }
        for name in ["lakegate_refused_events_total", "lakegate_maybe_duplicate_events_total", "lakegate_panics_total"] {
            ensure!(self.metric(name).await? == 0.0, "{name} is not 0");
        }
        let received = self.stub.as_ref().map_or(self.accepted, |stub| stub.received.events.load(Ordering::Acquire));
        ensure!(received == self.accepted, "the stream has {received} events, and {} were sent", self.accepted);
        Ok(())
    }

    /// Records in each PutRecords call, where there are any.
    pub(crate) fn records_per_call(&self) -> Option<f64> {
        let received = &self.stub.as_ref()?.received;
        Some(received.records.load(Ordering::Acquire) as f64 / received.calls.load(Ordering::Acquire).max(1) as f64)
    }
}

/// Everything is on, as it is by default; only the rate limit is out of the way, and the answer of the disk is waited for.
fn configuration(kind: Kind, tls: bool, setup: &Setup, folder: &Path, stub: Option<&Stub>) -> String {
    let (sink, aggregation) = match kind {
        Kind::Lake => ("lake", "none"),
        Kind::Kafka => ("kafka", "none"),
        Kind::Kpl => ("kinesis", "kpl"),
        Kind::Firehose => ("firehose", "none"),
        Kind::FirehoseNdjson => ("firehose", "ndjson"),
        Kind::Bare | Kind::Parse | Kind::ParsePlain | Kind::Kinesis | Kind::Before => ("kinesis", "none"),
    };
    // Another build knows no section but its own.
    let section = if sink == "firehose" { "firehose" } else { "kinesis" };
    let kafka = setup.kafka.as_ref().filter(|_| kind == Kind::Kafka);
    let kafka = kafka.map_or(String::new(), |servers| {
        format!("[kafka]\nbootstrap_servers = \"{servers}\"\ntopic = \"bench\"\ncreate_topics = true\n")
    });
    let endpoint = stub.map_or(String::new(), |stub| format!("http://{}", stub.address));
    let data_dir = toml_text(folder);
    let schemas = toml_text(&setup.schemas);
    let flush_age_ms = setup.lake_flush_age.as_millis();
    format!(
        r#"data_dir = {data_dir}
[http]
listen = "127.0.0.1:0"
plaintext = {plaintext}
[admin]
listen = "127.0.0.1:0"
[[keys]]
name = "bench"
secret_sha256 = "{SECRET_SHA256}"
[rate_limit]
events_per_second = 4000000000
events_burst = 4000000000
[schemas]
dir = {schemas}
[sink]
kind = "{sink}"
[lake]
flush_age_ms = {flush_age_ms}
[{section}]
stream = "bench"
region = "eu-west-1"
endpoint = "{endpoint}"
aggregation = "{aggregation}"
{kafka}[telemetry]
log_format = "json"
"#,
        plaintext = !tls
    )
}

fn toml_text(path: &Path) -> String {
    // A JSON string is a TOML one.
    serde_json::Value::from(path.display().to_string()).to_string()
}

type Started = (Process, SocketAddr, Option<SocketAddr>);

async fn start_gateway(mut command: Command, config: &Path) -> anyhow::Result<Started> {
    command.arg("serve").arg("--config").arg(config);
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE") || name.starts_with("AWS_")) {
        command.env_remove(variable);
    }
    command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench").env("AWS_EC2_METADATA_DISABLED", "true");
    let mut process = Process::start(command, Talks::OnStderr)?;
    let message = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        line["message"].as_str().unwrap_or_default().to_owned()
    };
    let events =
        |line: &str| message(line).strip_prefix("events: POST ")?.split("://").nth(1)?.strip_suffix("/v1/events")?.parse().ok();
    let admin = |line: &str| message(line).strip_prefix("metrics: http://")?.strip_suffix("/metrics")?.parse().ok();
    let address = process.wait_for(events).await?;
    let admin = process.wait_for(admin).await?;
    process.wait_for(|line| (message(line) == "ready").then_some(())).await?;
    Ok((process, address, Some(admin)))
}

async fn start_reference(kind: Kind, setup: &Setup, tls: Option<PathBuf>) -> anyhow::Result<Started> {
    let own = |name: &str| -> anyhow::Result<Command> {
        let mut command = setup.command(&std::env::current_exe()?);
        command.args(["serve", name]);
        Ok(command)
    };
    let mut command = match kind {
        Kind::Bare => own("bare")?,
        Kind::Parse => own("parse")?,
        Kind::ParsePlain => setup.command(setup.parse_plain.as_ref().context("--parse-plain names no program")?),
        _ => bail!("this is no reference server"),
    };
    if let Some(folder) = tls {
        command.arg("--tls").arg(folder);
    }
    let mut process = Process::start(command, Talks::OnStdout)?;
    let address = process.wait_for(|line| line.strip_prefix(LISTENING)?.parse().ok()).await?;
    Ok((process, address, None))
}
