//! `lakegate top`: what running gateways do at the moment, in the terminal or for a script.
//!
//! It polls `/metrics` and `/readyz` of the listener for operators. Rates are the differences between two polls. So a gateway
//! that nobody watches does nothing for it, and one that is watched answers a scrape a second.

mod draw;
mod page;
mod poll;
mod terminal;
mod text;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::{configuration::PlaceArgs, output_format::print};
use crate::{
    limits::{TOP_INTERVAL, TOP_INTERVAL_MAX, TOP_INTERVAL_MIN},
    overview::Report,
};
use poll::{Fleet, Target};

const KEYS: &str = "\
Keys:  q, Esc, Ctrl-C end it;  p or Space pauses;  k and s change the order of the keys and of the shards.

If the output is no terminal, or with --json, a report is printed after each interval, until the command is ended.";

/// Options of `lakegate top`.
#[derive(Debug, Args)]
#[command(after_help = KEYS)]
pub(super) struct TopArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Address of the running gateway for operators [default: the one noted in the data folder, then admin.listen].
    #[arg(long, value_name = "ADDR", conflicts_with = "gateways")]
    admin: Option<SocketAddr>,
    /// Address or name, and port, of a gateway's listener for operators. Can be repeated: the sum is shown, and a row for each.
    #[arg(long = "gateway", value_name = "ADDR")]
    gateways: Vec<String>,
    /// Time between two polls, such as 500ms, 2s or 1m.
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = TOP_INTERVAL)]
    interval: Duration,
    /// Poll twice, print one report, and end: exit code 1 if a gateway does not answer.
    #[arg(long)]
    once: bool,
    /// Print JSON: a document on one line for each report.
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err("a time such as 500ms, 2s or 1m is expected".into()),
    };
    let number: f64 = number.parse().map_err(|_| "a time such as 500ms, 2s or 1m is expected".to_owned())?;
    let allowed = TOP_INTERVAL_MIN.as_secs_f64()..=TOP_INTERVAL_MAX.as_secs_f64();
    if !allowed.contains(&(number * seconds)) {
        return Err(format!("{} ms to {} s are allowed", TOP_INTERVAL_MIN.as_millis(), TOP_INTERVAL_MAX.as_secs()));
    }
    Ok(Duration::from_secs_f64(number * seconds))
}

impl TopArgs {
    fn targets(&self) -> anyhow::Result<Vec<Target>> {
        if !self.gateways.is_empty() {
            return Ok(self.gateways.iter().cloned().map(Target::Named).collect());
        }
        if let Some(admin) = self.admin {
            return Ok(vec![Target::Named(super::health::reachable(admin).to_string())]);
        }
        let config = self.place.config()?;
        Ok(vec![Target::OfFolder { data_dir: config.data_dir, configured: config.admin.listen }])
    }
}

fn show(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string(report)? + "\n" } else { text::text(report) };
    Ok(print(text)?)
}

/// Shows the gateways.
pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let fleet = Fleet::new(args.targets()?);
    if !args.once && !args.json && io::stdout().is_terminal() {
        terminal::run(fleet, args.interval)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    if args.once {
        return runtime.block_on(once(fleet, args));
    }
    runtime.block_on(again_and_again(fleet, args))
}

async fn once(mut fleet: Fleet, args: &TopArgs) -> anyhow::Result<ExitCode> {
    fleet.poll().await;
    tokio::time::sleep(args.interval).await;
    fleet.poll().await;
    show(&Report::of(&fleet.watched), args.json)?;
    Ok(if fleet.have_all_answered() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Until the output is closed.
async fn again_and_again(fleet: Fleet, args: &TopArgs) -> anyhow::Result<ExitCode> {
    // The first poll has no rates.
    let polls = Cell::new(0_u32);
    let failed = Cell::new(None);
    let watch = fleet.watch(args.interval, |fleet| {
        if polls.replace(polls.get().saturating_add(1)) == 0 {
            return true;
        }
        let gap = if polls.get() > 2 && !args.json { print('\n') } else { Ok(()) };
        let shown = gap.map_err(anyhow::Error::from).and_then(|()| show(&Report::of(&fleet.watched), args.json));
        let goes_on = shown.is_ok();
        failed.set(shown.err());
        goes_on
    });
    watch.await;
    failed.take().map_or(Ok(ExitCode::SUCCESS), Err)
}
