//! `lakegate lake backup`: copies one version of the lake.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::args::LakeArgs;
use crate::{
    cli::output_format::Format,
    sink::lake::{BackedUp, LakeConfig, back_up},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct BackupArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Folder for the copy, or s3://bucket/prefix in the same store: empty, or a backup of the same lake, which is brought up to
    /// date.
    #[arg(long, value_name = "ROOT")]
    to: String,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn backup(args: &BackupArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let from = args.lake.location()?;
    let to = LakeConfig { root: args.to.clone(), ..from.clone() };
    let done = back_up(&from, &to)?;
    let BackedUp { version, files, bytes, copied_files, copied_bytes, removed_files } = done;
    match args.format {
        Format::Table => writeln!(
            out,
            "version {version}: {files} files, {bytes} bytes; {copied_files} files copied, {copied_bytes} bytes; {removed_files} old files removed"
        )?,
        Format::Json => {
            let done = json!({
                "version": version, "files": files, "bytes": bytes,
                "copied_files": copied_files, "copied_bytes": copied_bytes, "removed_files": removed_files,
            });
            writeln!(out, "{done:#}")?;
        }
    }
    Ok(true)
}
