//! The house rules that a machine can check: imports run one way, limits are documented, files stay readable.

mod rings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use rings::Imports;

/// The modules of each layer. A module imports from lower layers only, never from its own layer. `lib.rs` draws the same map.
const LAYERS: [(&str, &[&str]); 5] = [
    (
        "vocabulary",
        &[
            "limits",
            "fault",
            "durable",
            "conditions",
            "clock",
            "bounded_map",
            "digest",
            "unique_names",
            "event",
            "json",
            "outcome",
            "progress",
            "config",
            "telemetry",
        ],
    ),
    (
        "components",
        &[
            "plan",
            "auth",
            "rate_limit",
            "body_budget",
            "work_pool",
            "key_shares",
            "decode",
            "schema",
            "enrich",
            "dedup",
            "spool",
            "ledger",
            "sink",
            "live_events",
            "overview",
        ],
    ),
    ("flows", &["dead_letters", "ingest", "deliver", "repair", "erasure", "find", "disk_headroom", "rig"]),
    ("edge", &["tls", "http"]),
    ("whole", &["app", "cli", "lib", "main"]),
];

/// Imports inside a layer that are allowed, each with its reason.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("limits", "fault", "a patience is a limit"),
    ("clock", "limits", "limits are below everything"),
    ("conditions", "limits", "limits are below everything"),
    ("event", "limits", "limits are below everything"),
    ("event", "json", "a time is read from the digits of its number"),
    ("json", "limits", "limits are below everything"),
    ("outcome", "limits", "limits are below everything"),
    ("progress", "limits", "limits are below everything"),
    ("progress", "bounded_map", "of very many endings the oldest are forgotten"),
    ("config", "limits", "limits are below everything"),
    ("config", "event", "which days an event of a key may claim"),
    ("telemetry", "limits", "limits are below everything"),
    ("telemetry", "outcome", "what is counted"),
    ("telemetry", "conditions", "what is shown"),
    ("telemetry", "config", "how it is logged"),
    ("telemetry", "fault", "what an output answers to a line"),
    ("auth", "rate_limit", "a key has buckets of its own"),
    ("body_budget", "rate_limit", "a client address, and a key, is the same to both"),
    ("schema", "decode", "the event as its schemas see it"),
    ("work_pool", "rate_limit", "a client address is the same to both"),
    ("auth", "key_shares", "a key has a share of its own"),
    ("live_events", "decode", "an event that is shown is read as it was when it was validated"),
    ("ledger", "spool", "what is not counted yet is read from there"),
    ("find", "dead_letters", "where a rejected event is"),
    ("find", "ingest", "who knows the events"),
    ("ingest", "dead_letters", "what is rejected goes there"),
    ("ingest", "deliver", "a sink that fails takes no requests that wait for it"),
    ("deliver", "dead_letters", "what the sink refuses goes there"),
    ("repair", "ingest", "a replay is validated and stored as a request is"),
    ("repair", "dead_letters", "where the letters are"),
    ("erasure", "dead_letters", "letters are erased"),
    ("erasure", "repair", "nothing is replayed while it is searched"),
    ("disk_headroom", "deliver", "how the sink does is part of the headroom"),
    ("cli", "app", "the command line starts the whole"),
    ("main", "cli", "the program is the command line"),
    ("lib", "cli", "the map names every module"),
];

/// Files of one module that import each other and may, each ring with its reason. A ring that is open leaves the list.
const RINGS: &[(&[&str], &str)] =
    &[(&["schema/compiled.rs", "schema/compiled/members.rs"], "an object's members are schemas, and a schema has members")];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let read = |file: PathBuf| (file.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&file).unwrap());
    files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")).map(read).collect()
}

/// Whether a file is compiled for tests only. No reader of the product meets it.
fn is_test(file: &Path) -> bool {
    const NAMES: [&str; 5] = ["tests", "tests.rs", "test_support.rs", "fault_disk.rs", "simulator.rs"];
    file.components().any(|part| part.as_os_str().to_str().is_some_and(|part| NAMES.contains(&part)))
}

/// A file without its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

fn module(file: &Path) -> String {
    let first = file.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> usize {
    let layer = LAYERS.iter().position(|(_, modules)| modules.contains(&module));
    layer.unwrap_or_else(|| panic!("{module} has no layer; give it one in tests/it/tidy.rs and in lib.rs"))
}

/// Every module of the crate that a file names after `crate::`, also inside braces.
fn imports(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if !rest.starts_with('{') {
            modules.push(word(rest));
            continue;
        }
        let (mut depth, mut expects_word) = (0, false);
        for (index, c) in rest.char_indices() {
            match c {
                '{' => (depth, expects_word) = (depth + 1, depth == 0),
                '}' => depth -= 1,
                ',' => expects_word = depth == 1,
                c if c.is_alphanumeric() && expects_word && depth == 1 => {
                    modules.push(word(&rest[index..]));
                    expects_word = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    modules
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let here = module(&file);
        for there in imports(product(&text)) {
            let is_neighbour = NEIGHBOURS.iter().any(|(a, b, _)| *a == here && *b == there);
            if there != here && !is_neighbour && layer(&there) >= layer(&here) {
                wrong.push(format!("{} imports {there}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports must run to a lower layer:\n{}", wrong.join("\n"));
}

#[test]
fn imports_inside_a_module_run_one_way() {
    let product = sources().into_iter().filter(|(file, _)| !is_test(file));
    let imports = Imports::of(product.collect());
    let allowed: BTreeSet<Vec<String>> =
        RINGS.iter().map(|(files, _)| files.iter().map(|file| (*file).to_owned()).collect()).collect();
    let found = imports.rings();
    let wrong: Vec<String> = found.difference(&allowed).map(|ring| imports.reasons(ring).join("\n")).collect();
    assert!(
        wrong.is_empty(),
        "these files import each other; move what they share to a file below both:\n{}",
        wrong.join("\n\n")
    );
    let stale: Vec<_> = allowed.difference(&found).collect();
    assert!(stale.is_empty(), "these are no rings any more; take them off the list: {stale:?}");
}

#[test]
fn every_module_is_on_the_map_of_the_library() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (_, modules) in LAYERS {
        for module in modules.iter().filter(|module| !matches!(**module, "lib" | "main")) {
            assert!(map.contains(&format!("[`{module}`]")), "lib.rs does not name {module}");
        }
    }
}

#[test]
fn every_limit_says_why_and_has_a_user() {
    let (limits, others): (Vec<_>, Vec<_>) = sources().into_iter().partition(|(file, _)| module(file) == "limits");
    let joined = |files: Vec<(PathBuf, String)>| files.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
    let (limits, others) = (joined(limits), joined(others));
    let mut comment = String::new();
    let mut seen = BTreeMap::new();
    for line in limits.lines() {
        if line.starts_with("///") {
            comment.push_str(line);
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let name = rest.split(':').next().unwrap();
            assert!(comment.contains("/// Why: "), "{name} does not say why");
            let related = limits.lines().filter(|line| !line.starts_with("///") && line.contains(name)).count() > 1;
            assert!(related || others.contains(name), "{name} is used nowhere");
            assert!(seen.insert(name.to_owned(), ()).is_none());
            comment.clear();
        } else {
            comment.clear();
        }
    }
    assert!(seen.len() > 20);
}

#[test]
fn status_codes_are_named_in_one_place() {
    for (file, text) in sources() {
        let text = product(&text);
        let allowed = file.starts_with("http/problem.rs");
        for code in
            ["BAD_REQUEST", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "UNPROCESSABLE", "TOO_MANY_REQUESTS", "INTERNAL_SERVER"]
        {
            assert!(allowed || !text.contains(code), "{} names {code}; problem.rs does that", file.display());
        }
    }
}

#[test]
fn files_stay_readable() {
    let mut lengths: Vec<(usize, String)> = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| !is_test(file)) {
        assert!(text.starts_with("//!"), "{} does not begin with what it is for", file.display());
        let code = product(&text).lines().count();
        lengths.push((code, file.display().to_string()));
    }
    lengths.sort();
    let (longest, file) = lengths.last().unwrap();
    assert!(*longest <= 450, "{file} has {longest} lines without its tests; split it");
    let median = lengths[lengths.len() / 2].0;
    assert!(median <= 160, "the median file has {median} lines");
}
