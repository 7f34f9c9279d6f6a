//! `lakegate ledger`: what happened to every event, by minute of receipt; and whether the lake, or the stream, has all of it.

mod check;
mod stream;
mod stream_report;
mod table;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{
    admin_client,
    configuration::open_offline,
    dead_letters::runtime,
    gateways::{Asked, GatewayArgs},
    output_format::Format,
};
use crate::{
    config::Config,
    event::{iso_millis, unix_millis},
    json::Visible,
    ledger::{Detail, LedgerRows, MinuteRow, TIMES, minute_of, minute_start, time_of},
};

#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(flatten)]
    gateways: GatewayArgs,
    /// From this time on: 90s, 30m, 12h, 7d (ago), 2026-11-20 or 2026-11-20T18:00:00Z.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: String,
    /// Until this time [default: now].
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Also by key, or by event name; at most a day.
    #[arg(long, value_enum)]
    by: Vec<By>,
    /// Compare with what is there, minute by minute.
    #[arg(long, value_enum, value_name = "WHAT")]
    check: Option<Check>,
    /// With --check: compare this sink only [default: each lake, or each stream].
    #[arg(long, value_name = "NAME", requires = "check")]
    sink: Option<String>,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Key,
    EventName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The rows of the lake.
    Lake,
    /// The events of the stream of Kinesis, which is read back: it needs kinesis:DescribeStreamSummary, ListShards,
    /// GetShardIterator and GetRecords. It takes a second for each MiB of a shard.
    Stream,
}

/// Runs the command. The exit code is 1 if the ledger does not balance, or if what is there does not fit.
pub(super) fn run(args: &LedgerArgs) -> anyhow::Result<ExitCode> {
    let now = unix_millis(SystemTime::now());
    let time = |text: &str| time_of(text, now).with_context(|| format!("{text:?} is no time; {TIMES}"));
    let (since, until) = (time(&args.since)?, args.until.as_deref().map_or(Ok(now), time)?);
    // A comparison is of whole minutes.
    let since = if args.check.is_some() { minute_start(minute_of(since)) } else { since };
    let question = Question { since, until, by: &args.by };
    let asked = args.gateways.asked()?;
    let runtime = runtime()?;
    let read = || runtime.block_on(question.ask(&asked));
    let out = &mut Visible::new(io::stdout().lock());
    let is_well = match args.check {
        Some(Check::Lake) => {
            check::lake(&args.gateways.place.config()?, args.sink.as_deref(), since..until, read, args.format, out)?
        }
        Some(Check::Stream) => {
            let config = args.gateways.place.config()?;
            let comparisons = stream::compare_all(&config, args.sink.as_deref(), since..until, &runtime, read)?;
            stream_report::print(&comparisons, args.format, out)?;
            comparisons.iter().all(stream::Comparison::is_well)
        }
        None => {
            let ledger = read()?;
            match args.format {
                Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&ledger)?)?,
                Format::Table => table::print(&ledger, &args.by.iter().map(|by| *by == By::Key).collect::<Vec<_>>(), out)?,
            }
            ledger.imbalance == 0
        }
    };
    out.flush()?;
    Ok(ExitCode::from(u8::from(!is_well)))
}

/// What is asked of each gateway.
struct Question<'a> {
    since: i64,
    until: i64,
    by: &'a [By],
}

impl Question<'_> {
    /// The sum of all gateways.
    async fn ask(&self, asked: &Asked) -> anyhow::Result<LedgerRows> {
        match asked {
            Asked::Running(gateways) => {
                let mut sum: Option<LedgerRows> = None;
                for gateway in gateways {
                    let rows = self.ask_gateway(*gateway).await?;
                    sum = Some(sum.map_or(rows.clone(), |sum| add(sum, rows)));
                }
                sum.context("no gateway is named")
            }
            Asked::Offline(config) => self.read_offline(config).await,
        }
    }

    async fn ask_gateway(&self, gateway: SocketAddr) -> anyhow::Result<LedgerRows> {
        let text = |millis| iso_millis(millis).as_str().to_owned();
        let mut path = format!("/admin/ledger?since={}&until={}", text(self.since), text(self.until));
        for by in self.by {
            path.push_str(match by {
                By::Key => "&by=key",
                By::EventName => "&by=event_name",
            });
        }
        admin_client::get_json(gateway, &path).await
    }

    async fn read_offline(&self, config: &Config) -> anyhow::Result<LedgerRows> {
        let offline = open_offline(config).await?;
        let detail = Detail { by_key: self.by.contains(&By::Key), by_event_name: self.by.contains(&By::EventName) };
        let rows = tokio::task::block_in_place(|| offline.ledger().rows(self.since..self.until, detail));
        offline.close().await;
        Ok(rows?)
    }
}

/// The rows of two gateways together.
fn add(one: LedgerRows, other: LedgerRows) -> LedgerRows {
    let mut minutes: BTreeMap<String, MinuteRow> = one.minutes.into_iter().map(|row| (row.minute.clone(), row)).collect();
    for row in other.minutes {
        match minutes.get_mut(&row.minute) {
            Some(known) => known.add(&row),
            None => _ = minutes.insert(row.minute.clone(), row),
        }
    }
    LedgerRows {
        // All of them know the minutes from here on.
        since: one.since.max(other.since),
        imbalance: one.imbalance + other.imbalance,
        minutes: minutes.into_values().collect(),
    }
}
