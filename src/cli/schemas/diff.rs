//! `lakegate schemas diff`.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::registry_args::{RegistryArgs, find, parse_label};
use crate::{
    cli::output_format::Format,
    schema::{ChangeKind, Registry, Schema, differences},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The older one: NAME/VERSION; or NAME, for its two newest versions.
    #[arg(value_name = "NAME[/VERSION]")]
    from: String,
    /// The newer one [default: the newest of the same name].
    #[arg(value_name = "NAME/VERSION")]
    to: Option<String>,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &DiffArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let registry = args.registry.load()?;
    let (from, to) = pair(&registry, args)?;
    let changes = differences(from, to);
    if args.format == Format::Json {
        let shown = json!({ "from": from.label(), "to": to.label(), "changes": changes });
        writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
    } else {
        writeln!(out, "{} → {}", from.label(), to.label())?;
        let named = |field: &str| if field.is_empty() { "(the event)".to_owned() } else { field.to_owned() };
        let width = changes.iter().map(|change| named(&change.field).chars().count()).max().unwrap_or_default();
        for change in &changes {
            let sign = match change.kind {
                ChangeKind::Added => '+',
                ChangeKind::Removed => '-',
                _ => '~',
            };
            writeln!(out, "{sign} {:<width$}  {}  ({})", named(&change.field), change.detail, change.pointer)?;
        }
        if changes.is_empty() {
            writeln!(out, "nothing is another")?;
        }
    }
    Ok(ExitCode::from(u8::from(!changes.is_empty())))
}

fn pair<'a>(registry: &'a Registry, args: &DiffArgs) -> anyhow::Result<(&'a Schema, &'a Schema)> {
    let (name, version) = parse_label(&args.from)?;
    match (version, &args.to) {
        (_, Some(to)) => Ok((find(registry, &args.from)?, find(registry, to)?)),
        (Some(_), None) => Ok((find(registry, &args.from)?, find(registry, name)?)),
        (None, None) => {
            let newest = find(registry, name)?;
            let versions = registry.iter().find(|(known, _)| *known == name).map(|(_, versions)| versions);
            match versions.context("it was just found")? {
                [.., before, newest] => Ok((before, newest)),
                _ => bail!("{name} has one version only, {}", newest.version),
            }
        }
    }
}
