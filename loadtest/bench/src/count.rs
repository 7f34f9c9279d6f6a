//! Instructions and allocations of an event, counted by valgrind: where the seconds of a busy machine differ from run to
//! run, these hardly do. Each server lives twice, once for longer; what the longer life has more, its events have cost.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use tempfile::TempDir;

use crate::{
    callgrind::{self, Counts},
    corpus::Corpus,
    drive::Client,
    events::Event,
    figures::short,
    say,
    under_test::{GatewayArgs, Kind, Setup, UnderTest},
    wire::{Http, Target},
};

/// How much longer the longer life is.
const LONGER: u32 = 4;
/// How often the overview is asked for, once a second.
const POLLS: u32 = 40;

/// What is counted.
#[derive(Debug, Clone, Args)]
pub(crate) struct CountArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Events in each request.
    #[arg(long, value_delimiter = ',', default_value = "1,100")]
    batches: Vec<usize>,
    /// Servers.
    #[arg(long, value_delimiter = ',', default_value = "bare,parse,kinesis")]
    servers: Vec<Kind>,
    /// Seconds of the shorter life, in which a server under valgrind takes some thousand events.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Count gateways a second time while somebody watches all events (`lakegate tail`), and is shown so many a second. A second
    /// has fifty times fewer events under valgrind: 1 stands for 50.
    #[arg(long, value_name = "RATE", num_args = 0..=1, default_missing_value = "1")]
    tail: Option<u32>,
    /// Count what the figures of an open page of the console cost, too: one poll a second.
    #[arg(long)]
    console: bool,
    /// Where callgrind's own files are kept, for `callgrind_annotate`.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Counts, and prints the table.
pub(crate) fn run(args: &CountArgs) -> anyhow::Result<()> {
    let found = Command::new("valgrind").arg("--version").output();
    ensure!(found.is_ok_and(|found| found.status.success()), "valgrind is not there: apt install valgrind");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = runtime.block_on(table(args))?;
    Ok(io::stdout().write_all(table.as_bytes())?)
}

async fn table(args: &CountArgs) -> anyhow::Result<String> {
    let folder = TempDir::new()?;
    let profiles = args.keep.clone().unwrap_or_else(|| folder.path().to_owned());
    std::fs::create_dir_all(&profiles)?;
    let setup = args.gateway.setup(folder.path())?;
    let events = args.gateway.events(&setup, 20_000)?;
    let mut table = String::from(
        "| batch | server | instructions per event | allocations per event | SHA-256 in software, left out |\n|---|---|---|---|---|\n",
    );
    for &batch in &args.batches {
        let corpus = Arc::new(Corpus::new(&events, batch));
        let watched = args.servers.iter().filter(|kind| args.tail.is_some() && kind.is_gateway());
        let servers: Vec<(Kind, Option<u32>)> =
            args.servers.iter().map(|kind| (*kind, None)).chain(watched.map(|kind| (*kind, args.tail))).collect();
        for (kind, tail) in servers {
            let life = async |times: u32| {
                let watched = if tail.is_some() { ".watched" } else { "" };
                let profile = profiles.join(format!("callgrind.{kind:?}.{batch}.{times}{watched}").to_lowercase());
                let life = Life {
                    setup: setup.clone().under_callgrind(&profile),
                    kind,
                    corpus: corpus.clone(),
                    connections: args.connections,
                    duration: Duration::from_secs_f64(args.seconds) * times,
                    tail,
                    rate: None,
                    polls: 0,
                    profile,
                };
                life.live().await.with_context(|| format!("{} × {batch}", kind.label()))
            };
            let (short_life, few) = life(1).await?;
            let (long_life, many) = life(LONGER).await?;
            let each = |count: fn(&Counts) -> u64| (count(&long_life) as f64 - count(&short_life) as f64) / (many - few) as f64;
            let figures = [each(|counts| counts.instructions), each(|counts| counts.allocations), each(|counts| counts.soft_sha)];
            let [instructions, allocations, soft_sha] = figures.map(short);
            let label = format!("{}{}", kind.label(), if tail.is_some() { ", watched" } else { "" });
            let line = format!("| {batch} | {label} | {instructions} | {allocations} | {soft_sha} |\n");
            say(format_args!("{batch} × {label}: {instructions} instructions an event"));
            table.push_str(&line);
        }
    }
    if args.console {
        table.push_str(&console(&setup, &profiles, &events).await?);
    }
    Ok(table)
}

/// What a poll of the overview costs a gateway that has seen every event type: a line for below the table.
async fn console(setup: &Setup, profiles: &Path, events: &[Event]) -> anyhow::Result<String> {
    let corpus = Arc::new(Corpus::new(events, 100));
    let polled = async |polls: u32| {
        let profile = profiles.join(format!("callgrind.console.{polls}"));
        let life = Life {
            setup: setup.clone().under_callgrind(&profile),
            kind: Kind::Kinesis,
            corpus: corpus.clone(),
            connections: 1,
            duration: Duration::from_secs(2),
            tail: None,
            // As many events in both lives.
            rate: Some(5.0),
            polls,
            profile,
        };
        anyhow::Ok(life.live().await?.0.instructions as f64)
    };
    let poll = (polled(POLLS).await? - polled(0).await?) / f64::from(POLLS);
    say(format_args!("a poll of the console: {} instructions", short(poll)));
    Ok(format!("\nAn open page of the console polls once a second: {} instructions.\n", short(poll)))
}

/// One life of a server.
struct Life {
    setup: Setup,
    kind: Kind,
    corpus: Arc<Corpus>,
    connections: usize,
    duration: Duration,
    /// Whether somebody watches its events, and at what rate.
    tail: Option<u32>,
    /// Requests a second; as many as it answers, if none.
    rate: Option<f64>,
    /// How often the console's figures are asked for, after the events.
    polls: u32,
    profile: PathBuf,
}

impl Life {
    /// What it counted, and its events.
    async fn live(&self) -> anyhow::Result<(Counts, u64)> {
        let mut server = UnderTest::start(self.kind, false, &self.setup).await?;
        let watching = match self.tail {
            Some(rate) => Some(server.watch(rate).await?),
            None => None,
        };
        let batch = self.corpus.batch;
        let target = Target::new(server.address, None, Http::H1, self.kind.expected(), batch)?;
        let mut client = Client::connect(&target, self.connections, self.corpus.clone()).await?;
        let run = match self.rate {
            Some(rate) => client.open(self.duration, rate).await?,
            None => client.closed(self.duration).await?,
        };
        drop(client);
        server.accepted = run.events;
        server.settle().await?;
        if self.polls > 0 {
            server.poll_overview(self.polls).await?;
        }
        if self.kind.is_gateway() {
            server.process.stop().await?;
        } else {
            server.process.end_of_input().await?;
        }
        if let Some(watching) = watching {
            ensure!(watching.await?? > 0, "who watched was shown nothing");
        }
        let profile = File::open(&self.profile).with_context(|| format!("callgrind left no {}", self.profile.display()))?;
        Ok((callgrind::read(BufReader::new(profile))?, run.events))
    }
}
