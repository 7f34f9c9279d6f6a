//! `lakegate keys rotate` and `lakegate keys revoke`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    config_file::{ConfigFile, find},
    secrets::{as_toml, make_secret, rotated, without_secret},
};
use crate::{
    app::gateway_process,
    auth::secret_sha256,
    cli::{configuration::load_and_tell, failure::notice, output_format::print},
    clock::{coarse_unix_seconds, unit_seconds},
    config::{Config, NotAfter, secret_id},
    limits::SECRET_OVERLAP_MAX,
};

#[derive(Debug, Args)]
struct FileArgs {
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the gateway, to find its process [default: as configured, ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Ask the running gateway on the data folder to read its configuration again (SIGHUP).
    #[arg(long)]
    reload: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// Name of the key.
    name: String,
    /// Time for which the old secrets stay good: a number with s, m, h or d. 0s ends them at once.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = overlap)]
    overlap: Duration,
    /// Change no file; only print the new secret and the lines of the key.
    #[arg(long, conflicts_with = "reload")]
    print: bool,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    /// Name of the key.
    name: String,
    /// First eight or more digits of the hash of the secret to remove, as `lakegate keys list` shows them [default: switch off
    /// the whole key].
    #[arg(long, value_name = "DIGITS")]
    secret: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

fn overlap(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = unit_seconds(&text[digits.len()..]);
    let seconds = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit.into()));
    let time = seconds.map(Duration::from_secs).ok_or("a number with s, m, h or d is allowed, such as 12h")?;
    match time <= SECRET_OVERLAP_MAX {
        true => Ok(time),
        false => Err(format!("at most {} d is allowed", SECRET_OVERLAP_MAX.as_secs() / 86_400)),
    }
}

pub(super) fn rotate(args: &RotateArgs) -> anyhow::Result<()> {
    let secret = make_secret()?;
    let sha256 = secret_sha256(&secret);
    let now = coarse_unix_seconds();
    let until = NotAfter::at(now.saturating_add(args.overlap.as_secs() as i64)).context("the wall clock is wrong")?;
    let told = format!("# The secret, for the sender; it is shown this once and stored nowhere: {secret}\n");
    if args.print {
        let config = load_and_tell(args.file.config.as_deref())?;
        let lines = as_toml(rotated(find(&config, &args.name)?, &sha256, until, now)?)?;
        print(format_args!("{told}{lines}"))?;
        return Ok(());
    }
    let file = ConfigFile::open(args.file.config.as_deref())?;
    let before = file.key(&args.name)?;
    let after = rotated(before, &sha256, until, now)?;
    file.change(before, &after)?;
    // Only now, because a secret that is in no configuration is of no use.
    print(told)?;
    let old: Vec<String> = before.all_secrets().map(|secret| secret_id(&secret.sha256)).collect();
    notice(&format!(
        "{}: the key {} has the new secret {}; {} until {until} at the latest",
        file.path().display(),
        args.name,
        secret_id(&sha256),
        if old.len() == 1 { format!("{} is good", old[0]) } else { format!("{} are good", old.join(", ")) },
    ));
    if !after.enabled {
        notice(&format!("the key {} is switched off: `enabled = false`", args.name));
    }
    put_in_force(&args.file, &file.config)
}

pub(super) fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let file = ConfigFile::open(args.file.config.as_deref())?;
    let before = file.key(&args.name)?;
    let mut after = before.clone();
    let done = match &args.secret {
        Some(id) => {
            after = without_secret(before, id)?;
            format!("the secret {} of the key {} is removed", id.to_ascii_lowercase(), args.name)
        }
        None if !before.enabled => bail!("the key {} is switched off already", args.name),
        None => {
            after.enabled = false;
            format!("the key {} is switched off", args.name)
        }
    };
    file.change(before, &after)?;
    notice(&format!("{}: {done}", file.path().display()));
    put_in_force(&args.file, &file.config)
}

/// Asks the running gateway to read its configuration again, or says how.
fn put_in_force(args: &FileArgs, config: &Config) -> anyhow::Result<()> {
    let data_dir = args.data_dir.as_ref().unwrap_or(&config.data_dir);
    let process = gateway_process(data_dir);
    match (args.reload, process) {
        (true, Some(id)) => {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("no process id")?;
            kill_process(pid, Signal::HUP).with_context(|| format!("the gateway (process {id}) cannot be asked"))?;
            notice(&format!("the gateway (process {id}) reads its configuration again; its log says whether it could"));
        }
        (true, None) => bail!(
            "the file is changed, but no gateway of this machine is found on the data folder {}: --data-dir names another one",
            data_dir.display()
        ),
        (false, Some(id)) => notice(&format!("it is in force once the gateway reads the file again: kill -HUP {id}")),
        (false, None) => {
            notice(
                "it is in force once the gateway reads the file again: send it SIGHUP (systemctl reload lakegate), or restart it",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_a_number_with_its_unit_and_has_a_limit() {
        let seconds = |text| overlap(text).map(|time| time.as_secs());
        assert_eq!(["0s", "90m", "12h", "7d"].map(seconds), [Ok(0), Ok(5_400), Ok(43_200), Ok(604_800)]);
        for text in ["", "7", "d", "-1d", "1.5h", "7 d", "7w", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(seconds("367d").unwrap_err().contains("at most 366 d"));
    }
}
