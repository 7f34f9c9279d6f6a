//! A registry as large as a large company's: the repository's own schemas under as many names as are wanted, each with some
//! fields more, and every tenth with a second version.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// The repository's own registry.
pub fn shipped() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/schemas").into()
}

/// Writes `count` schemas, those of the repository first, below `folder`.
pub fn write(folder: &Path, count: usize) {
    let mut own = Vec::new();
    collect(&shipped(), Path::new(""), &mut own);
    let (common, own): (Vec<_>, Vec<_>) = own.into_iter().partition(|file| file.starts_with("common"));
    for file in &common {
        put(&folder.join(file), &fs::read_to_string(shipped().join(file)).expect("a file"));
    }
    let newest = own.iter().filter(|file| !own.contains(&next(file)));
    let newest: Vec<&PathBuf> = newest.collect();
    let (mut written, mut round) = (0, 0);
    while written < count {
        for file in &newest {
            let name = if round == 0 { file.parent().expect("a folder").display().to_string() } else { variant(file, round) };
            let schema = with_fields(&fs::read_to_string(shipped().join(file)).expect("a file"), round);
            for version in 1..=if round % 10 == 9 { 2 } else { 1 } {
                if written < count {
                    let version = if round == 0 { number(file) } else { version };
                    put(&folder.join(&name).join(format!("{version}.json")), &schema);
                    written += 1;
                }
            }
        }
        round += 1;
    }
}

/// `menu/item/viewed/2.json` is `menu/item/viewed-7` in the seventh round.
fn variant(file: &Path, round: usize) -> String {
    format!("{}-{round}", file.parent().expect("a folder").display())
}

fn number(file: &Path) -> u32 {
    file.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a version")
}

fn next(file: &Path) -> PathBuf {
    file.with_file_name(format!("{}.json", number(file) + 1))
}

/// The schema with what teams add to theirs: their own bounds, patterns and lists.
fn with_fields(schema: &str, round: usize) -> String {
    let mut schema: Value = serde_json::from_str(schema).expect("JSON");
    if round == 0 {
        return schema.to_string();
    }
    schema["title"] = format!("{} {round}", schema["title"].as_str().expect("a title")).into();
    schema["properties"][format!("campaign_{round}")] = json!({
        "description": "Which campaign brought the visitor.", "type": "string", "pattern": format!("^c{round}-[a-z0-9]{{1,40}}$"),
    });
    schema["properties"]["context"] = json!({
        "description": "Where it happened, as far as the sender knows.",
        "type": "object",
        "properties": {
            "user_agent": { "description": "As sent.", "type": "string", "maxLength": 512 },
            "experiments": { "description": "Those that were on.", "type": "array", "items": { "$ref": "/common/id.json" }, "maxItems": round },
            "kind": { "description": "Which.", "enum": ["a", "b", format!("c{round}")] }
        },
        "additionalProperties": false
    });
    schema.to_string()
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn collect(root: &Path, inside: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(root.join(inside)).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = inside.join(entry.file_name());
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else if name.ends_with(".json") && !name.ends_with(".examples.json") {
            files.push(path);
        }
    }
}
