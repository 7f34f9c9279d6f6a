//! `lakegate schemas new`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, bail};
use clap::Args;

use super::registry_args::{RegistryArgs, find};
use crate::{
    event::{EventName, unix_millis},
    schema::{self, Draft, PIECES, Registry, Version},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// Name of the event, such as menu:item:viewed.
    #[arg(value_name = "NAME")]
    name: String,
    /// Schema to start from [default: the newest version of the same event].
    #[arg(long, value_name = "NAME[/VERSION]")]
    from: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &NewArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    EventName::parse(&args.name).map_err(|error| anyhow::anyhow!("the name {error}"))?;
    let folder = args.registry.folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let registry = schema::load(&folder)?;
    let written = write(&folder, files(&folder, &registry, args)?)?;
    // The registry was valid before: if it is not now, the new files are the cause.
    if let Err(error) = schema::load(&folder) {
        for file in written.iter().rev() {
            let _ = fs::remove_file(file);
        }
        return Err(error).context("what was written does not load, and is removed again");
    }
    for file in written {
        writeln!(out, "{}", file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files to write, and their texts.
fn files(folder: &Path, registry: &Registry, args: &NewArgs) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let versions = registry.iter().find(|(name, _)| *name == args.name).map(|(_, versions)| versions);
    let newest = versions.and_then(<[_]>::last);
    let number = newest.map_or(1, |newest| newest.version + 1);
    let from = match &args.from {
        Some(label) => Some(find(registry, label)?),
        None => newest,
    };
    let mut files = Vec::new();
    let draft = match from {
        Some(from) => {
            let from = Version { event_name: &from.event_name, number: from.version };
            let [schema, examples] = paths(folder, from);
            let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
            // An examples file is optional, because a schema has examples of its own.
            let examples = if examples.exists() { read(&examples)? } else { "{ \"good\": [], \"bad\": [] }\n".to_owned() };
            Draft::next(&read(&schema)?, &examples, from, Version { event_name: &args.name, number })?
        }
        None => {
            let missing = PIECES.iter().filter(|(piece, _)| !folder.join(piece).exists());
            files.extend(missing.map(|(piece, text)| (folder.join(piece), (*text).to_owned())));
            Draft::first(&args.name, unix_millis(SystemTime::now()) / 1000)
        }
    };
    let [schema, examples] = paths(folder, Version { event_name: &args.name, number });
    files.extend([(schema, draft.schema), (examples, draft.examples)]);
    Ok(files)
}

fn paths(folder: &Path, version: Version<'_>) -> [PathBuf; 2] {
    let inside = version.event_name.split(':').fold(folder.to_owned(), |path, part| path.join(part));
    [inside.join(format!("{}.json", version.number)), inside.join(format!("{}.examples.json", version.number))]
}

/// Writes all of `files`, or none: existing files are never overwritten.
fn write(folder: &Path, files: Vec<(PathBuf, String)>) -> anyhow::Result<Vec<PathBuf>> {
    if let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
        bail!("{} is there already", there.display());
    }
    let mut written = Vec::new();
    for (path, text) in files {
        let put = || -> io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            File::create_new(&path)?.write_all(text.as_bytes())
        };
        if let Err(error) = put() {
            for file in &written {
                let _ = fs::remove_file(file);
            }
            return Err(error).with_context(|| format!("{} cannot be written", path.display()));
        }
        written.push(path);
    }
    Ok(written)
}
