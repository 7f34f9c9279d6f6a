//! A registry of 100 event types, made of the repository's own: each of its schemas under a dozen names, with one more
//! optional field, `context`, that holds what browsers and services commonly send along.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Event types that are made, as a rule.
pub const TYPES: usize = 100;

/// Characters of a note. Why: payloads of 64 KiB are measured too.
const NOTE_CHARS_MAX: usize = 65_536;

/// Folder of pieces that schemas refer to.
const COMMON: &str = "common";

/// Folder of what the browser library reports of itself: too rare and too small to be a twelfth of the load.
const CLIENT: &str = "client";

/// Writes a registry of so many types below `folder`, which must not exist, after the pattern of the one in `schemas`.
pub fn write(schemas: &Path, folder: &Path, count: usize) -> anyhow::Result<()> {
    ensure!(!folder.exists(), "{} exists already", folder.display());
    let mut files = Vec::new();
    collect(schemas, &mut files).with_context(|| format!("{} cannot be read", schemas.display()))?;
    files.sort();
    files.retain(|file| !file.starts_with(schemas.join(CLIENT)));
    let (common, own): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.starts_with(schemas.join(COMMON)));
    for file in common {
        let copy = folder.join(file.strip_prefix(schemas)?);
        fs::create_dir_all(copy.parent().unwrap_or(folder))?;
        fs::copy(&file, copy)?;
    }
    let mut types: Vec<PathBuf> = own.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect();
    types.dedup();
    ensure!(!types.is_empty(), "{} holds no schema", schemas.display());
    for number in 0..count {
        let from = &types[number % types.len()];
        for file in own.iter().filter(|file| file.parent() == Some(from)) {
            let name = variant(&from.strip_prefix(schemas)?.display().to_string(), number / types.len());
            let copy = folder.join(name).join(file.file_name().unwrap_or_default());
            fs::create_dir_all(copy.parent().unwrap_or(folder))?;
            fs::write(copy, with_context(&fs::read_to_string(file)?, number / types.len())?)?;
        }
    }
    Ok(())
}

/// `menu/item/viewed`, `menu/item/viewed-1`, …
fn variant(name: &str, number: usize) -> String {
    if number == 0 { name.to_owned() } else { format!("{name}-{number}") }
}

/// The schema with the field `context`, and its examples under its new name.
fn with_context(schema: &str, number: usize) -> anyhow::Result<String> {
    let mut schema: Value = serde_json::from_str(schema)?;
    schema["properties"]["context"] = json!({
        "description": "Where it happened, as far as the sender knows.",
        "type": "object",
        "properties": {
            "user_agent": { "type": "string", "maxLength": 512 },
            "referrer": { "type": "string", "maxLength": 2048 },
            "campaign": { "type": "string", "maxLength": 200 },
            "experiments": { "type": "array", "items": { "type": "string", "maxLength": 64 }, "maxItems": 50 },
            "note": { "type": "string", "maxLength": NOTE_CHARS_MAX }
        },
        "additionalProperties": false
    });
    for example in schema["examples"].as_array_mut().into_iter().flatten() {
        let name = example["event_name"].as_str().context("an example has no event_name")?.to_owned();
        example["event_name"] = variant(&name, number).into();
    }
    Ok(schema.to_string())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            collect(&path, files)?;
        } else if name.ends_with(".json") && !name.ends_with(".examples.json") {
            files.push(path);
        }
    }
    Ok(())
}
