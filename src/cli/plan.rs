//! `lakegate plan`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;

use super::output_format::print;
use crate::plan::{Facts, Load, Plan};

/// What a load needs and costs.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Events in an average hour.
    #[arg(long, value_name = "N", value_parser = positive)]
    events_per_hour: f64,
    /// Bytes of an average event, as its client sends it.
    #[arg(long, value_name = "B", default_value = "500", value_parser = positive)]
    bytes: f64,
    /// The busiest hour, as a multiple of the average one.
    #[arg(long, value_name = "FACTOR", default_value = "3", value_parser = positive)]
    peak: f64,
    /// Hours for which the stream may be unavailable.
    #[arg(long, value_name = "HOURS", default_value = "4", value_parser = positive)]
    outage_hours: f64,
    /// Days for which duplicates are recognised.
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = positive)]
    window_days: f64,
    /// Number of event types.
    #[arg(long, value_name = "N", default_value = "100", value_parser = positive)]
    event_types: f64,
    /// TOML file with prices and measured figures to use instead of the built-in ones.
    ///
    /// It has the form of src/plan/facts.toml.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.replace('_', "").parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 is allowed".into()),
    }
}

/// Prints the plan.
pub(super) fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let facts = match &args.facts {
        None => Facts::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            Facts::overridden_by(&text).with_context(|| file.display().to_string())?
        }
    };
    let load = Load {
        events_per_hour: args.events_per_hour,
        event_bytes: args.bytes,
        peak: args.peak,
        outage_hours: args.outage_hours,
        window_days: args.window_days,
        event_types: args.event_types,
    };
    let (plan, prices) = (Plan::new(load, &facts), &facts.prices);
    print(format_args!("{plan}\nprices of {}, {}; --facts FILE overrides any figure\n", prices.date, prices.source))?;
    Ok(ExitCode::SUCCESS)
}
