//! Checks every file of a registry's folder and lists all faults; loading would only refuse the whole folder.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{
    bundle::bundle,
    flatten::DATA,
    folder::{COMMON, Folder, is_event_schema},
    load::{build, name_and_version},
};
use crate::json::pointer_token;

/// A folder, checked file by file.
#[derive(Debug, Default)]
pub struct Inspected {
    /// The schemas with a usable file, by name and version.
    pub versions: BTreeMap<(String, u32), Written>,
    /// The faults.
    pub faults: Vec<FileFault>,
}

/// One version as written.
#[derive(Debug)]
pub struct Written {
    /// Its file, below the folder.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// The common pieces that it refers to, directly or indirectly.
    pub pieces: BTreeSet<PathBuf>,
}

/// A fault of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// The file, below the folder.
    pub file: PathBuf,
    /// Which rule it breaks.
    pub rule: Rule,
    /// JSON pointer to the fault.
    pub pointer: String,
    /// The finding.
    pub reason: String,
}

/// The requirements for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The path is an event name and a version.
    Name,
    /// Versions ascend from 1 without gaps.
    VersionGap,
    /// The file is a JSON object of allowed size, within the folder.
    Json,
    /// The schema is written for draft 2020-12.
    Dialect,
    /// The schema is valid under the metaschema.
    Metaschema,
    /// All references have a target.
    Reference,
    /// The gateway can compile it: formats are known, patterns run in linear time.
    Usable,
}

/// The only supported dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Checks every schema and common piece below `folder`.
///
/// # Errors
/// If the folder cannot be read.
pub fn inspect(folder: &Path) -> io::Result<Inspected> {
    let folder = Arc::new(Folder::open(folder)?);
    let mut inspected = Inspected::default();
    for file in &folder.files()? {
        let is_piece = file.starts_with(COMMON) && file.extension().is_some_and(|extension| extension == "json");
        if is_event_schema(file) || is_piece {
            inspected.file(&folder, file, is_piece);
        }
    }
    inspected.find_gaps();
    Ok(inspected)
}

impl Inspected {
    /// Whether a file name names a version, even if the file is missing or faulty.
    #[must_use]
    pub fn is_version(file: &Path) -> bool {
        is_event_schema(file) && name_and_version(file).is_ok()
    }

    fn file(&mut self, folder: &Arc<Folder>, file: &Path, is_piece: bool) {
        let before = self.faults.len();
        let mut fault = |rule, pointer: &str, reason: String| {
            self.faults.push(FileFault { file: file.to_owned(), rule, pointer: pointer.to_owned(), reason });
        };
        let name = if is_piece { None } else { Some(name_and_version(file)) };
        let name = match name.transpose() {
            Ok(name) => name,
            Err(reason) => return fault(Rule::Name, "", reason),
        };
        let text = match folder.read(file) {
            Ok(text) => text,
            Err(reason) => return fault(Rule::Json, "", reason),
        };
        let document: Value = match serde_json::from_str(&text) {
            Ok(document @ Value::Object(_)) => document,
            Ok(_) => return fault(Rule::Json, "", "is not a JSON object".into()),
            Err(error) => return fault(Rule::Json, "", format!("is not JSON: {error}")),
        };
        if let Some(dialect) = document.get("$schema").filter(|dialect| dialect.as_str() != Some(DIALECT)) {
            return fault(Rule::Dialect, "/$schema", format!("found {dialect}; allowed: \"{DIALECT}\""));
        }
        for error in jsonschema::draft202012::meta::validator().iter_errors(&document) {
            fault(Rule::Metaschema, &error.instance_path().to_string(), error.to_string());
        }
        let pieces = RefCell::new(BTreeSet::new());
        let bundled = bundle(document.clone(), file, &|piece| {
            pieces.borrow_mut().insert(piece.to_owned());
            folder.piece(piece).map(|piece| (*piece).clone())
        });
        match bundled {
            Err(reason) => fault(Rule::Reference, "", format!("refers to what is not there: {reason}")),
            Ok(bundled) => {
                let own = |pointer: &str| if document.pointer(pointer).is_some() { pointer.to_owned() } else { String::new() };
                for (pointer, reference) in dangling(&bundled) {
                    fault(Rule::Reference, &own(&pointer), format!("refers to {reference}, which is not there"));
                }
            }
        }
        if self.faults.len() == before
            && let Err(reason) = build(folder, file, &document)
        {
            self.faults.push(FileFault { file: file.to_owned(), rule: Rule::Usable, pointer: String::new(), reason });
        }
        if let (Some(name), true) = (name, self.faults.len() == before) {
            self.versions.insert(name, Written { file: file.to_owned(), text, pieces: pieces.into_inner() });
        }
    }

    /// A version with another fault does not count as a gap.
    fn find_gaps(&mut self) {
        let mut numbers: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let named = self.faults.iter().filter_map(|fault| name_and_version(&fault.file).ok());
        for (name, version) in self.versions.keys().cloned().chain(named) {
            numbers.entry(name).or_default().insert(version);
        }
        for (name, versions) in numbers {
            let mut before = 0;
            for version in versions {
                if version != before + 1 {
                    let missing = before + 1;
                    let file = PathBuf::from(name.replace(':', "/")).join(format!("{version}.json"));
                    let reason = format!("version {missing} of {name} is missing before it; versions ascend from 1 without gaps");
                    self.faults.push(FileFault { file, rule: Rule::VersionGap, pointer: String::new(), reason });
                }
                before = version;
            }
        }
    }
}

/// References within a document without a target, with their places.
fn dangling(document: &Value) -> Vec<(String, String)> {
    fn walk(schema: &Value, place: &str, document: &Value, out: &mut Vec<(String, String)>) {
        match schema {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| walk(item, &format!("{place}/{index}"), document, out));
            }
            Value::Object(members) => {
                for (keyword, value) in members {
                    let place = format!("{place}/{}", pointer_token(keyword));
                    match value {
                        Value::String(reference) if keyword == "$ref" => {
                            let pointer = reference.strip_prefix('#').map(unescaped);
                            let is_pointer =
                                pointer.as_ref().is_some_and(|pointer| pointer.is_empty() || pointer.starts_with('/'));
                            if is_pointer && pointer.is_some_and(|pointer| document.pointer(&pointer).is_none()) {
                                out.push((place, reference.clone()));
                            }
                        }
                        _ if DATA.contains(&keyword.as_str()) => {}
                        value => walk(value, &place, document, out),
                    }
                }
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(document, "", document, &mut out);
    out
}

fn unescaped(pointer: &str) -> String {
    percent_encoding::percent_decode_str(pointer).decode_utf8_lossy().into_owned()
}

/// The bytes of a file below `folder`, for its hash.
///
/// # Errors
/// If the file cannot be read.
pub fn bytes_of(folder: &Path, file: &Path) -> io::Result<Vec<u8>> {
    fs::read(folder.join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_every_file_is_told_with_its_rule_and_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("a/1.json", "{}"),
            ("a/3.json", r#"{"$ref":"/common/id.json"}"#),
            ("b/v1.json", "{}"),
            ("c/1.json", "{"),
            ("d/1.json", r#"{"properties":{"x":{"type":"strin"},"y":{"minimum":"1"}}}"#),
            ("e/1.json", r##"{"properties":{"x":{"$ref":"#/$defs/absent"},"y":{"$ref":"/common/absent.json"}}}"##),
            ("f/1.json", r##"{"properties":{"x":{"$ref":"#/$defs/absent"},"z":{"$ref":"/common/id.json#/$defs/absent"}}}"##),
            ("g/1.json", r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#),
            ("h/1.json", r#"{"pattern":"(?=a)"}"#),
            ("i/2.json", "{}"),
            ("common/id.json", r#"{"type":"string"}"#),
            ("common/bad.json", r#"{"type":1}"#),
            ("registry.toml", ""),
            ("README.md", ""),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let inspected = inspect(folder.path()).unwrap();
        let found: Vec<(&str, Rule, &str)> =
            inspected.faults.iter().map(|fault| (fault.file.to_str().unwrap(), fault.rule, fault.pointer.as_str())).collect();
        let expected = [
            ("b/v1.json", Rule::Name, ""),
            ("c/1.json", Rule::Json, ""),
            ("common/bad.json", Rule::Metaschema, "/type"),
            ("d/1.json", Rule::Metaschema, "/properties/x/type"),
            ("d/1.json", Rule::Metaschema, "/properties/y/minimum"),
            ("e/1.json", Rule::Reference, ""),
            ("f/1.json", Rule::Reference, "/properties/x/$ref"),
            ("f/1.json", Rule::Reference, "/properties/z/$ref"),
            ("g/1.json", Rule::Dialect, "/$schema"),
            ("h/1.json", Rule::Usable, ""),
            ("a/3.json", Rule::VersionGap, ""),
            ("i/2.json", Rule::VersionGap, ""),
        ];
        assert_eq!(found, expected, "{:#?}", inspected.faults);
        let pieces: Vec<&PathBuf> = inspected.versions[&("a".to_owned(), 3)].pieces.iter().collect();
        assert_eq!(pieces, [Path::new("common/id.json")]);
    }
}
