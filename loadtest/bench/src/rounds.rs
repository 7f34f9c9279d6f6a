//! Who is measured when. All servers of one protocol and batch size run at the same time, and in every round each of them
//! is measured in turn, the others idle: what disturbs a round (another program, a slower clock) disturbs them all.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use tempfile::TempDir;

use crate::{
    corpus::{Corpus, Sizes},
    drive::{Client, Run},
    gauges::{InstructionCounter, Memory, Usage},
    machine,
    report::Report,
    row::{Latency, Row, Rows, Sample},
    say,
    under_test::{GatewayArgs, Kind, Setup, UnderTest},
    wire::{Http, Target},
};

/// Before every measurement the same load runs for this share of its time.
const WARM_UP_SHARE: f64 = 0.1;

/// What is measured, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Another build of it, measured in the same rounds: what a change does.
    #[arg(long)]
    before: Option<PathBuf>,
    /// File for the table, beside standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Protocols.
    #[arg(long, value_delimiter = ',', default_value = "h1,h2")]
    http: Vec<Http>,
    /// Only without TLS (false) or only with it (true).
    #[arg(long)]
    tls: Option<bool>,
    /// Events in each request.
    #[arg(long, value_delimiter = ',', default_value = "1,100")]
    batches: Vec<usize>,
    /// Servers. KPL and Parquet run over plain h1 only, `parse-plain` without TLS.
    #[arg(long, value_delimiter = ',', default_value = "bare,parse,kinesis,kpl,lake")]
    servers: Vec<Kind>,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Rounds; the table has their medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load before the first round.
    #[arg(long, default_value_t = 1.5)]
    warm_up: f64,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Events that are made before the clock starts; each is sent many times under new identities.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// A few tenths of a second of everything, h1 plain and h2 with TLS: only whether all of it is right, no figures.
    #[arg(long)]
    smoke: bool,
}

impl RunArgs {
    fn settled(mut self) -> Self {
        if self.smoke {
            (self.seconds, self.rounds, self.warm_up, self.events) = (0.15, 1, 0.05, 2000);
        }
        self
    }

    /// The servers that run together: with and without TLS.
    fn contestants(&self, http: Http, batch: usize) -> Vec<(Kind, bool)> {
        let tls = match (self.tls, self.smoke) {
            (Some(tls), _) => vec![tls],
            (None, true) => vec![http == Http::H2],
            (None, false) => vec![false, true],
        };
        let before = self.before.as_ref().map(|_| Kind::Before);
        let all = tls.into_iter().flat_map(|tls| self.servers.iter().copied().chain(before).map(move |kind| (kind, tls)));
        let is_plain_h1 = |tls: bool| http == Http::H1 && !tls && (batch > 1 || !self.smoke);
        all.filter(|(kind, tls)| match kind {
            Kind::Bare | Kind::Parse | Kind::Kinesis | Kind::Before => true,
            Kind::ParsePlain => !tls,
            Kind::Kpl | Kind::Lake | Kind::Firehose | Kind::FirehoseNdjson | Kind::Kafka => is_plain_h1(*tls),
        })
        .collect()
    }
}

/// Measures, writes the table, and says whether every figure counts.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let args = args.clone().settled();
    // One thread drives the load, so that the server has the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(&args) => report,
            // Dropping what is measured ends the servers.
            stopped = stopped() => Err(stopped),
        }
    })?;
    let (rows, text) = (report.rows.0.len(), report.to_text());
    if !args.smoke {
        io::stdout().write_all(text.as_bytes())?;
    }
    if let Some(out) = &args.out {
        std::fs::write(out, text).with_context(|| format!("{} cannot be written", out.display()))?;
    }
    let void = report.rows.0.iter().filter(|row| row.void.is_some()).count();
    if void > 0 {
        bail!("{void} of {rows} rows are void");
    }
    say(format_args!("{rows} rows: every answer and every count is right"));
    Ok(ExitCode::SUCCESS)
}

async fn stopped() -> anyhow::Error {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return anyhow::anyhow!("signals cannot be heard") };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    anyhow::anyhow!("stopped")
}

async fn measure(args: &RunArgs) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let setup = Setup {
        before: args.before.clone(),
        lake_flush_age: Duration::from_millis(if args.smoke { 200 } else { 2000 }),
        ..args.gateway.setup(folder.path())?
    };
    let events = args.gateway.events(&setup, args.events)?;
    let sizes = Sizes::of(&events);
    say(format_args!("events of {} types: {sizes}", args.gateway.types()));
    let machine = machine::describe(&setup.data)?;
    let counter = InstructionCounter::detect();
    let mut rows = Rows::default();
    for &http in &args.http {
        for &batch in &args.batches {
            let corpus = Arc::new(Corpus::new(&events, batch));
            let case = Case { args, setup: &setup, http, corpus, counter };
            rows.0.extend(case.measure().await?);
        }
    }
    Ok(Report {
        machine,
        types: args.gateway.types(),
        sizes,
        rows,
        seconds: args.seconds,
        rounds: args.rounds,
        connections: args.connections,
    })
}

/// One protocol and batch size.
struct Case<'a> {
    args: &'a RunArgs,
    setup: &'a Setup,
    http: Http,
    corpus: Arc<Corpus>,
    counter: InstructionCounter,
}

/// A server, how it is reached, and its row.
struct Contestant {
    server: UnderTest,
    target: Target,
    connections: usize,
    corpus: Arc<Corpus>,
    warm_up_share: f64,
    row: Row,
}

impl Case<'_> {
    async fn measure(&self) -> anyhow::Result<Vec<Row>> {
        let mut contestants = Vec::new();
        for (kind, tls) in self.args.contestants(self.http, self.corpus.batch) {
            contestants.push(self.start(kind, tls).await.with_context(|| format!("{} does not start", kind.label()))?);
        }
        let (seconds, warm_up) = (Duration::from_secs_f64(self.args.seconds), Duration::from_secs_f64(self.args.warm_up));
        for contestant in &mut contestants {
            let warmed = contestant.warm_up(warm_up).await;
            contestant.note(warmed.map(drop));
        }
        for round in 0..self.args.rounds {
            for contestant in contestants.iter_mut().filter(|contestant| contestant.row.void.is_none()) {
                let sampled = contestant.sample(round, seconds, self.counter).await;
                contestant.note(sampled);
            }
            for contestant in contestants.iter_mut().filter(|contestant| contestant.row.void.is_none()) {
                let timed = contestant.latency(seconds / 2).await;
                contestant.note(timed);
            }
        }
        let mut rows = Vec::new();
        for mut contestant in contestants {
            if contestant.row.void.is_none() {
                let ended = contestant.end().await;
                contestant.note(ended);
            }
            let Contestant { server, row, .. } = contestant;
            say(row.progress());
            // A reference server has nothing to bring to an end.
            if row.kind.is_gateway() {
                server.process.stop().await?;
            }
            rows.push(row);
        }
        Ok(rows)
    }

    async fn start(&self, kind: Kind, tls: bool) -> anyhow::Result<Contestant> {
        let server = UnderTest::start(kind, tls, self.setup).await?;
        let batch = self.corpus.batch;
        let target = Target::new(server.address, server.certificate.as_deref(), self.http, kind.expected(), batch)?;
        let (connections, corpus) = (self.args.connections, self.corpus.clone());
        let warm_up_share = if self.args.smoke { 0.0 } else { WARM_UP_SHARE };
        Ok(Contestant { server, target, connections, corpus, warm_up_share, row: Row::new(self.http, tls, batch, kind) })
    }
}

impl Contestant {
    /// An error makes the row void.
    fn note(&mut self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.row.void = Some(format!("{error:#}"));
        }
    }

    fn count(&mut self, run: &Run) {
        self.server.accepted += run.events;
    }

    /// Load that is not measured, over connections that are open from then on: a server closes those that are idle while
    /// the others are measured.
    async fn warm_up(&mut self, duration: Duration) -> anyhow::Result<Client> {
        let mut client = Client::connect(&self.target, self.connections, self.corpus.clone()).await?;
        let run = client.closed(duration).await?;
        self.count(&run);
        self.server.settle().await?;
        Ok(client)
    }

    async fn sample(&mut self, round: usize, duration: Duration, counter: InstructionCounter) -> anyhow::Result<()> {
        const SYNCS: &str = "lakegate_spool_syncs";
        let is_gateway = self.server.kind.is_gateway();
        let mut client = self.warm_up(duration.mul_f64(self.warm_up_share)).await?;
        let id = self.server.process.id();
        let syncs_before = if is_gateway { self.server.metric(SYNCS).await? } else { 0.0 };
        let counting = counter.start(id);
        let (before, begun) = (Usage::of(id)?, Instant::now());
        let run = client.closed(duration).await?;
        self.count(&run);
        self.server.settle().await?;
        let (usage, elapsed) = (Usage::of(id)?.since(&before), begun.elapsed());
        let instructions = counting.end();
        let syncs_after = if is_gateway { self.server.metric(SYNCS).await? } else { 0.0 };
        self.row.samples.push(Sample {
            round,
            events: run.events,
            requests_per_second: run.requests_per_second(),
            events_per_second: run.events_per_second(),
            seconds: elapsed.as_secs_f64(),
            usage,
            syncs: syncs_after - syncs_before,
            instructions,
        });
        Ok(())
    }

    /// At half of the rate that the server had in this round's sample.
    async fn latency(&mut self, duration: Duration) -> anyhow::Result<()> {
        let Some(sample) = self.row.samples.last() else { return Ok(()) };
        let rate = sample.requests_per_second / 2.0;
        let run = self.warm_up(duration.mul_f64(self.warm_up_share)).await?.open(duration, rate).await?;
        self.count(&run);
        let (p50, p99, p999) = (run.latency_ms(0.5), run.latency_ms(0.99), run.latency_ms(0.999));
        self.row.latencies.push(Latency { rate, p50, p99, p999 });
        self.server.settle().await
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        self.row.memory = Memory::of(self.server.process.id())?;
        self.row.identities = if self.server.kind.is_gateway() { self.server.accepted } else { 0 };
        self.row.records_per_call = self.server.records_per_call();
        self.server.check().await
    }
}
