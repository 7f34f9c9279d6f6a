//! Loads a registry from a folder.

use std::{
    collections::BTreeMap,
    fmt, io,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
};

use jsonschema::{Retrieve, Uri, Validator};
use serde_json::Value;

use super::{
    bundle::bundle,
    compiled::{CompiledSchema, Shared},
    flatten::flatten,
    folder::Folder,
    registry::{Registry, Schema},
};
use crate::{event::EventName, json::TapeJson, limits::SCHEMAS_MAX};

/// The base of every schema's own URI, so that `$ref: "/common/money.json"` names a file of the folder.
const BASE: &str = "lakegate:///";

/// Why a folder cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder cannot be read.
    #[error("the schema folder {0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// Some files are not valid schemas; all of them are listed.
    #[error("the schema folder {folder} has {} faulty file(s):{}", faults.len(), Listed(faults))]
    Faulty {
        /// The folder.
        folder: PathBuf,
        /// The fault of each file.
        faults: Vec<SchemaFault>,
    },
    /// More than [`SCHEMAS_MAX`].
    #[error("the schema folder {0} holds more than {SCHEMAS_MAX} schemas")]
    TooMany(PathBuf),
}

/// The fault of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// The file, below the folder.
    pub file: PathBuf,
    /// The fault.
    pub reason: String,
}

struct Listed<'a>(&'a [SchemaFault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.file.display(), fault.reason))
    }
}

/// Loads and compiles every schema below `folder`, on all processors.
///
/// # Errors
/// See [`LoadError`]; then nothing is loaded.
pub fn load(folder: &Path) -> Result<Registry, LoadError> {
    load_with(folder, thread::available_parallelism().map_or(1, usize::from))
}

/// Loads and compiles every schema below `folder` with `threads` threads, including the current one.
///
/// # Errors
/// See [`LoadError`]; then nothing is loaded.
pub fn load_with(folder: &Path, threads: usize) -> Result<Registry, LoadError> {
    let unreadable = |error| LoadError::Unreadable(folder.to_owned(), error);
    let folder = Folder::open(folder).map_err(unreadable)?;
    let files = folder.schemas().map_err(unreadable)?;
    if files.len() > SCHEMAS_MAX {
        return Err(LoadError::TooMany(folder.root));
    }
    let workshop = Workshop { folder: Arc::new(folder), shared: Shared::default() };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(workshop.compile(file).map_err(|reason| SchemaFault { file: file.clone(), reason }));
        }
        done
    };
    let compiled = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(files.len())).map(|_| scope.spawn(work)).collect();
        let mut compiled = work();
        for other in others {
            compiled.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        compiled
    });
    let mut names: BTreeMap<Arc<str>, Vec<Schema>> = BTreeMap::new();
    let mut faults = Vec::new();
    for schema in compiled {
        match schema {
            Ok(schema) => names.entry(schema.event_name.clone()).or_default().push(schema),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        faults.sort_by(|a, b| a.file.cmp(&b.file));
        return Err(LoadError::Faulty { folder: workshop.folder.root.clone(), faults });
    }
    for versions in names.values_mut() {
        versions.sort_by_key(|schema| schema.version);
    }
    Ok(Registry::new(names))
}

/// Shared state of compilations: parts that one schema needed are reused for the next.
struct Workshop {
    folder: Arc<Folder>,
    shared: Shared,
}

impl Workshop {
    fn compile(&self, file: &Path) -> Result<Schema, String> {
        let (event_name, version) = name_and_version(file)?;
        let text = self.folder.read(file)?;
        let document: Value = serde_json::from_str(&text).map_err(|error| format!("is not JSON: {error}"))?;
        if !document.is_object() {
            return Err("is not a JSON object".into());
        }
        let title = document["title"].as_str().unwrap_or_default().into();
        let validator = build(&self.folder, file, &document)?;
        let bundled = bundle(document, file, &|file| self.folder.piece(file).map(|piece| (*piece).clone()))?;
        let flat = flatten(&bundled);
        let compiled =
            flat.and_then(|flat| CompiledSchema::compile(&flat, &self.shared, &|part| build(&self.folder, file, part).ok()));
        Ok(Schema {
            event_name: event_name.into(),
            version,
            document: bundled.to_string().into(),
            title,
            validator,
            compiled,
            read: OnceLock::new(),
            etag: OnceLock::new(),
            fields: OnceLock::new(),
            name_number: AtomicU16::new(0),
        })
    }
}

/// The library's validator of the schema in `file`, or of a part of it.
pub(super) fn build(folder: &Arc<Folder>, file: &Path, document: &Value) -> Result<Validator<TapeJson>, String> {
    jsonschema::options_for::<TapeJson>()
        .with_base_uri(format!("{BASE}{}", file.display()))
        .with_retriever(FolderOnly(folder.clone()))
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        // The linear-time engine: a pattern must never make a client's event slow.
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .with_keyword("multipleOf", super::multiple_of::factory)
        .build(document)
        .map_err(|error| match error.instance_path().as_str() {
            "" => format!("is no usable schema: {error}"),
            place => format!("is no usable schema at {place}: {error}"),
        })
}

/// The validator of a standalone schema, built like every other.
pub(super) fn build_alone(document: &Value) -> Result<Validator<TapeJson>, String> {
    build(&Arc::new(Folder::none()), Path::new("alone.json"), document)
}

/// `menu/item/viewed/1.json` is version 1 of `menu:item:viewed`.
pub(super) fn name_and_version(file: &Path) -> Result<(String, u32), String> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let version: Option<u32> = stem.parse().ok().filter(|&version: &u32| version > 0 && stem == version.to_string());
    let version = version.ok_or("is not named after its version: 1.json, 2.json, …")?;
    let parts = file.parent().into_iter().flat_map(Path::components);
    let name = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join(":");
    EventName::parse(&name).map_err(|error| format!("its folder gives the event name {name:?}, which {error}"))?;
    Ok((name, version))
}

/// Resolves `$ref` to files of the folder; never over the network.
struct FolderOnly(Arc<Folder>);

impl Retrieve for FolderOnly {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let Some(file) = uri.as_str().strip_prefix(BASE) else {
            return Err(format!("{uri} is not a file of the schema folder; write $ref as \"/common/…\"").into());
        };
        Ok((*self.0.piece(Path::new(file))?).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::{super::Resolution, *};
    use crate::{
        decode::{BodyForm, for_each_element},
        json::{Parser, Tape},
        outcome::{RejectCode, Rejection},
    };

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn judge(registry: &Registry, name: &str, version: Option<u32>, event: &str) -> Result<u32, Rejection> {
        let Resolution::Known(schema) = registry.resolve(name, version) else { panic!("{name} is not known") };
        let mut verdict = Ok(());
        for_each_element(event.as_bytes(), BodyForm::Json, |element| verdict = schema.validate(element.event.unwrap())).unwrap();
        verdict.map(|()| schema.version)
    }

    fn reasons(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = folder(files);
        match load(folder.path()) {
            Err(LoadError::Faulty { faults, .. }) => {
                faults.into_iter().map(|fault| (fault.file.display().to_string(), fault.reason)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Every example of the repository's schemas, unchanged and with one change at a time.
    #[test]
    fn the_quick_form_accepts_exactly_what_the_written_one_accepts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let registry = load(&root).unwrap();
        let odd = [
            json!(null),
            json!(-1),
            json!(1.5),
            json!(1e30),
            json!(""),
            json!("x"),
            json!("x".repeat(5000)),
            json!([]),
            json!({}),
            json!(true),
        ];
        let (mut judged, mut valid) = (0, 0);
        for schema in registry.iter().flat_map(|(_, versions)| versions) {
            let document: Value = serde_json::from_str(&schema.document).unwrap();
            let compiled = schema.compiled.as_ref().expect("each of ours can be flattened");
            for example in document["examples"].as_array().unwrap() {
                let mut variants = vec![example.clone()];
                for name in example.as_object().unwrap().keys().chain([&"surprise".to_owned(), &"event_type".to_owned()]) {
                    let mut without = example.clone();
                    without.as_object_mut().unwrap().remove(name);
                    variants.push(without);
                    variants.extend(odd.iter().map(|value| {
                        let mut changed = example.clone();
                        changed[name] = value.clone();
                        changed
                    }));
                }
                for variant in variants {
                    let text = variant.to_string();
                    let mut tape = Tape::new();
                    Parser::new(&text, usize::MAX).value(&mut tape).unwrap();
                    let expected = schema.validator.is_valid(tape.root(&text));
                    // The compiled form leaves numbers with an exponent to the written schema.
                    let is_sure = compiled.accepts(tape.root(&text));
                    assert!(is_sure == expected || !is_sure && text.contains("e+30"), "{}: {text}", schema.label());
                    (judged, valid) = (judged + 1, valid + usize::from(expected));
                }
            }
        }
        assert!(judged > 1_000 && valid > 100, "{judged} {valid}");
    }

    #[test]
    fn the_newest_version_judges_unless_the_event_names_one() {
        let schema = |minimum: u32| format!(r#"{{"properties":{{"n":{{"minimum":{minimum}}}}}}}"#);
        let files: Vec<(String, String)> = [2, 10, 1].map(|version| (format!("a/b/{version}.json"), schema(version))).into();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let folder = folder(&files);
        let registry = load(folder.path()).unwrap();
        assert_eq!(judge(&registry, "a:b", None, r#"{"n":10}"#), Ok(10));
        assert_eq!(judge(&registry, "a:b", Some(2), r#"{"n":2}"#), Ok(2));
        let rejection = judge(&registry, "a:b", None, r#"{"n":9}"#).unwrap_err();
        assert_eq!((rejection.code, rejection.schema.as_deref()), (RejectCode::SchemaViolation, Some("a:b/10")));
        assert_eq!(rejection.faults[0].pointer, "/n");
        assert!(matches!(registry.resolve("a:b", Some(3)), Resolution::UnknownVersion(Schema { version: 10, .. })));
        assert!(matches!(registry.resolve("a", None), Resolution::UnknownName));
    }

    #[test]
    fn numbers_that_no_double_has_are_judged_by_their_digits() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            (r#""minimum":0"#, &["0", "-0", "-0.0", "-0e400", "1e-400", "1e400"], &["-1e-400", "-1e400", "-5e-324"]),
            (r#""exclusiveMinimum":0"#, &["1e-400", "5e-324", "1e400"], &["0", "-0", "0e-400", "-1e-400"]),
            (r#""maximum":0"#, &["-1e-400", "-0", "-1e400"], &["1e-400", "1e400"]),
            (r#""exclusiveMaximum":0"#, &["-1e-400"], &["0", "-0.0", "1e-400"]),
            (
                r#""maximum":0.1"#,
                &["0.1", "0.10000000000000000000000", "0.09999999999999999999999", "1e-1"],
                &["0.10000000000000000000001", "1.0000000000000000000001e-1"],
            ),
            (
                r#""maximum":100,"type":"number""#,
                &["100.000000000000000000000", "99.99999999999999999999"],
                &["100.00000000000000000001"],
            ),
            (
                r#""type":"integer""#,
                &["-0", "0e-400", "1.0e1", "1e400", "10e-1", "123456789012345678901234567890"],
                &["1e-400", "1.00000000000000000000001", "1.5"],
            ),
            (
                r#""multipleOf":10"#,
                &["0", "-0", "1e300", "1e400", "-20", "123456789012345678901234567890"],
                &["1e-400", "5", "10.00000000000000000000001", "123456789012345678901234567891"],
            ),
            (
                r#""multipleOf":0.01"#,
                &["19.99", "0", "1e400", "0.0100000000000000000000"],
                &["1e-400", "19.995", "0.01000000000000000000001"],
            ),
            (
                r#""enum":[0,0.1,"a",[0]]"#,
                &["0", "-0", "0e5", "0.1", "0.10000000000000000000000", "[0.0]"],
                &["1e-400", "-1e-400", "0.10000000000000000000001", "[1e-400]"],
            ),
        ];
        let sole = (r#""const":0"#, ["0", "-0.0"].as_slice(), ["1e-400", "-1e-400", "1e400"].as_slice());
        for (keyword, valid, invalid) in cases.into_iter().chain([sole]) {
            let folder = folder(&[("a/1.json", &format!(r#"{{"properties":{{"n":{{{keyword}}}}}}}"#))]);
            let registry = load(folder.path()).unwrap();
            let judged = |number: &str| judge(&registry, "a", None, &format!(r#"{{"n":{number}}}"#));
            for number in valid {
                assert_eq!(judged(number), Ok(1), "{number} with {keyword}");
            }
            for number in invalid {
                let rejection = judged(number).expect_err(&format!("{number} with {keyword}"));
                assert_eq!(rejection.faults[0].pointer, "/n", "{number} with {keyword}");
                let detail = &rejection.faults[0].detail;
                assert!(detail.starts_with("expected "), "{number} with {keyword}: {detail}");
            }
        }
    }

    #[test]
    fn references_reach_into_the_folder_and_formats_are_asserted() {
        let folder = folder(&[
            ("common/id.json", r#"{"type":"string","format":"uuid"}"#),
            (
                "a/1.json",
                r##"{"properties":{"id":{"$ref":"/common/id.json"},"mail":{"$ref":"#/$defs/mail"}},"$defs":{"mail":{"format":"email"}}}"##,
            ),
            ("a/1.examples.json", "[]"),
            ("README.md", "#"),
        ]);
        let registry = load(folder.path()).unwrap();
        assert_eq!(registry.len(), 1);
        assert!(judge(&registry, "a", None, r#"{"id":"0190b0a1-7c3e-7d52-a1b2-c3d4e5f60718","mail":"a@b.pt"}"#).is_ok());
        assert_eq!(judge(&registry, "a", None, r#"{"id":"x","mail":"y"}"#).unwrap_err().faults.len(), 2);
    }

    #[test]
    fn every_faulty_file_is_named_with_its_reason() {
        let faults = reasons(&[
            ("a/1.json", "{"),
            ("b/1.json", "[]"),
            ("c/v1.json", "{}"),
            ("d/01.json", "{}"),
            ("e e/1.json", "{}"),
            ("f/1.json", r#"{"type":"strin"}"#),
            ("g/1.json", r#"{"$ref":"/common/absent.json"}"#),
            ("h/1.json", r#"{"$ref":"https://example.com/x.json"}"#),
            ("i/1.json", r#"{"pattern":"(?=a)"}"#),
            ("j/1.json", r#"{"format":"uid"}"#),
            ("k/1.json", "{}"),
        ]);
        let files: Vec<&str> = faults.iter().map(|(file, _)| file.as_str()).collect();
        let faulty = ["a", "b", "c", "d", "e e", "f", "g", "h", "i", "j"];
        let stems: Vec<&str> = files.iter().map(|file| file.split('/').next().unwrap()).collect();
        assert_eq!(stems, faulty, "{faults:#?}");
    }

    #[test]
    fn no_reference_and_no_link_leaves_the_folder() {
        let outside = folder(&[("secret/1.json", "{}")]);
        let secret = outside.path().join("secret/1.json");
        let inside = folder(&[("a/1.json", r#"{"$ref":"/../../../../etc/hostname"}"#), ("b/1.json", "{}")]);
        std::os::unix::fs::symlink(&secret, inside.path().join("b/2.json")).unwrap();
        let Err(LoadError::Faulty { faults, .. }) = load(inside.path()) else { panic!("accepted") };
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[1].reason.contains("outside"), "{faults:?}");
    }

    #[test]
    fn a_misspelt_name_is_recognised_and_a_strange_one_is_not() {
        let folder = folder(&[("menu/item/viewed/1.json", "{}"), ("payment/order/completed/1.json", "{}")]);
        let registry = load(folder.path()).unwrap();
        assert_eq!(registry.nearest("menu:item:view"), Some("menu:item:viewed"));
        assert_eq!(registry.nearest("menu:itme:viewed"), Some("menu:item:viewed"));
        assert_eq!(registry.nearest("xyz"), None);
        assert_eq!(registry.nearest(&"menu:item:viewed".repeat(100)), None);
    }
}
