//! `lakegate lake adopt`: makes a table of the files of a lake.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::{args::LakeArgs, upkeep_args::tell_left_out};
use crate::{cli::output_format::Format, sink::lake::adopt_lake};

#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArgs {
    #[command(flatten)]
    place: LakeArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    files: u64,
    rows: u64,
    bytes: u64,
    left_out: u64,
}

pub(super) fn adopt(args: &AdoptArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let adopted = adopt_lake(&args.place.location()?)?;
    let report =
        Report { files: adopted.files, rows: adopted.rows, bytes: adopted.bytes, left_out: adopted.left_out.len() as u64 };
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Table => {
            let Report { files, rows, bytes, .. } = report;
            writeln!(out, "{files} files with {rows} rows ({bytes} bytes) joined the table")?;
        }
    }
    Ok(tell_left_out(&adopted.left_out))
}
