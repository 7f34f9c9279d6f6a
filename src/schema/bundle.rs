//! A standalone schema: every `$ref` into the folder becomes a `$ref` within the document, so that clients can use the document
//! without the folder.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use serde_json::{Map, Value};

use super::flatten::DATA;

/// `document`, located at `file` below the folder, with all referenced files copied into its `$defs`.
///
/// # Errors
/// If `read` cannot return a referenced file.
pub(super) fn bundle(mut document: Value, file: &Path, read: &dyn Fn(&Path) -> Result<Value, String>) -> Result<Value, String> {
    let mut bundler = Bundler { definitions: BTreeMap::new(), waiting: Vec::new() };
    bundler.rewrite(&mut document, file, "#");
    while let Some(file) = bundler.waiting.pop() {
        let mut piece = read(&file)?;
        let place = format!("#/$defs/{}", name_of(&file));
        bundler.rewrite(&mut piece, &file, &place);
        if let Value::Object(members) = &mut piece {
            members.remove("$schema");
        }
        bundler.definitions.insert(name_of(&file), piece);
    }
    if let (Value::Object(members), false) = (&mut document, bundler.definitions.is_empty()) {
        let definitions = members.entry("$defs").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(definitions) = definitions {
            definitions.extend(bundler.definitions);
        }
    }
    Ok(document)
}

struct Bundler {
    definitions: BTreeMap<String, Value>,
    waiting: Vec<PathBuf>,
}

impl Bundler {
    /// Rewrites the references of a schema from `file` that will be at `place`.
    fn rewrite(&mut self, schema: &mut Value, file: &Path, place: &str) {
        match schema {
            Value::Array(items) => items.iter_mut().for_each(|item| self.rewrite(item, file, place)),
            Value::Object(members) => {
                for (keyword, value) in members {
                    match value {
                        Value::String(reference) if keyword == "$ref" => *reference = self.reference(reference, file, place),
                        _ if DATA.contains(&keyword.as_str()) => {}
                        value => self.rewrite(value, file, place),
                    }
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, reference: &str, file: &Path, place: &str) -> String {
        let (target, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if target.is_empty() {
            return format!("{place}{fragment}");
        }
        let target = normalised(&file.parent().unwrap_or(Path::new("")).join(target));
        let name = name_of(&target);
        if !self.definitions.contains_key(&name) && !self.waiting.contains(&target) {
            // Marks the piece as seen; the piece itself follows.
            self.definitions.insert(name.clone(), Value::Bool(true));
            self.waiting.push(target);
        }
        format!("#/$defs/{name}{fragment}")
    }
}

/// `common/menu.json` becomes `common.menu`.
fn name_of(file: &Path) -> String {
    let stem = file.with_extension("");
    stem.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join(".")
}

/// A path below the folder, without a leading `/`, `.` and `..`.
fn normalised(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(part) => out.push(part),
            Component::RootDir => out = PathBuf::new(),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_are_copied_in_once_with_their_own_references() {
        let read = |file: &Path| match file.to_str() {
            Some("common/a.json") => Ok(json!({"$schema": "x", "$defs": {"n": {"$ref": "#/$defs/m"}, "m": {"$ref": "b.json"}}})),
            Some("common/b.json") => Ok(json!({"type": "string", "const": {"$ref": "/kept"}})),
            other => Err(format!("{other:?}")),
        };
        let document = json!({"allOf": [{"$ref": "/common/a.json#/$defs/n"}, {"$ref": "../common/a.json"}, {"$ref": "#/$defs/own"}], "$defs": {"own": {}}});
        let bundled = bundle(document, Path::new("menu/1.json"), &read).unwrap();
        let expected = json!({
            "allOf": [{"$ref": "#/$defs/common.a/$defs/n"}, {"$ref": "#/$defs/common.a"}, {"$ref": "#/$defs/own"}],
            "$defs": {
                "own": {},
                "common.a": {"$defs": {"n": {"$ref": "#/$defs/common.a/$defs/m"}, "m": {"$ref": "#/$defs/common.b"}}},
                "common.b": {"type": "string", "const": {"$ref": "/kept"}},
            },
        });
        assert_eq!(bundled, expected);
    }
}
