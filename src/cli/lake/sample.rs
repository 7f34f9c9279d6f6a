//! `lakegate lake sample`: random events.

use std::io::Write;

use clap::{Args, value_parser};

use super::{
    args::{QueryArgs, report},
    export::write_event,
};
use crate::limits::LAKE_SAMPLE_ROWS_MAX;

#[derive(Debug, Args)]
pub(in crate::cli) struct SampleArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// How many events.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u64).range(1..=LAKE_SAMPLE_ROWS_MAX))]
    n: u64,
    /// The same number over the same files gives the same events [default: others each time].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

pub(super) fn sample(args: &SampleArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut line = Vec::new();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let wanted = usize::try_from(args.n)?;
    let sample = args.query.open()?.sample(&args.query.filters(), wanted, seed, &mut |row| {
        write_event(row, &mut line)?;
        out.write_all(&line)
    })?;
    Ok(report(&sample.left_out))
}
