//! `lakegate schemas check`, as a CI runs it: what it finds, what it says, and its exit code.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lakegate::{
    decode::{BodyForm, for_each_element, read_fields},
    schema::compat::Version,
};
use serde_json::{Value, json};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");

struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.error))
    }

    /// Code, file below the folder, line and pointer of each finding.
    fn findings(&self, folder: &Path) -> Vec<(String, String, u64, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let below = |file: &Value| text(file).replace(&format!("{}/", folder.display()), "");
        let found = self.json()["findings"].as_array().unwrap().clone();
        found.iter().map(|f| (text(&f["code"]), below(&f["file"]), f["line"].as_u64().unwrap(), text(&f["pointer"]))).collect()
    }
}

fn check(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let output = command.args(["schemas", "check", "--schemas"]).arg(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), error: text(output.stderr) }
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A copy of what is shipped, to be spoilt.
fn copy() -> (tempfile::TempDir, PathBuf) {
    fn copy_into(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy_into(&path, &target);
            } else {
                fs::copy(&path, target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("schemas");
    copy_into(Path::new(SHIPPED), &registry);
    (folder, registry)
}

fn change(folder: &Path, file: &str, change: impl FnOnce(String) -> String) {
    let path = folder.join(file);
    let before = fs::read_to_string(&path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "{file} is as it was");
    fs::write(path, after).unwrap();
}

const UUID: &str = "01a1f4f7-32ac-7e07-ad70-d39f77ca4499";

fn small(properties: &Value) -> String {
    let example = json!({ "event_uuid": UUID, "event_name": "a:b", "created_at": 1_795_111_203, "n": 5 });
    let envelope = json!([{ "$ref": "/common/envelope.json" }]);
    json!({ "allOf": envelope, "properties": properties, "unevaluatedProperties": false, "examples": [example] }).to_string()
}

/// A registry with two versions of `a:b`, of which `n` is as said.
fn two_versions(old: &Value, new: &Value, policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "common/envelope.json", &fs::read_to_string(format!("{SHIPPED}/common/envelope.json")).unwrap());
    write(folder.path(), "a/b/1.json", &small(&json!({ "n": old })));
    write(folder.path(), "a/b/2.json", &small(&json!({ "n": new })));
    write(folder.path(), "registry.toml", policy);
    folder
}

#[test]
fn the_shipped_registry_passes_and_its_manifest_holds_all_of_it() {
    let said = check(Path::new(SHIPPED), &["--strict", "--format", "json"]);
    assert_eq!((said.code, &said.json()["findings"]), (0, &json!([])), "{}", said.out);
    let compared = &said.json()["comparisons"];
    assert_eq!(
        compared[0],
        json!({ "event_name": "menu:item:viewed", "mode": "BACKWARD", "from": 1, "to": 2, "verdict": "proved" })
    );
}

#[test]
fn the_gateways_own_loader_takes_the_folder_as_it_is() {
    assert!(Path::new(SHIPPED).join("registry.toml").exists() && Path::new(SHIPPED).join("manifest.toml").exists());
    assert_eq!(lakegate::schema::load(Path::new(SHIPPED)).unwrap().len(), 9);
}

#[test]
fn what_was_published_may_not_change_nor_go_away() {
    let (_folder, registry) = copy();
    change(&registry, "common/id.json", |text| text.replace("\"type\": \"string\",", "\"type\": \"string\", \"minLength\": 1,"));
    change(&registry, "lesson/started/1.json", |text| text.replace("A student began", "Someone began"));
    fs::remove_file(registry.join("account/created/1.json")).unwrap();
    let said = check(&registry, &["--format", "json"]);
    let found = said.findings(&registry);
    let of = |code: &str, file: &str| (code.to_owned(), file.to_owned(), 1, String::new());
    let expected = [
        of("removed", "account/created/1.json"),
        of("changed_in_place", "common/id.json"),
        of("changed_in_place", "lesson/started/1.json"),
    ];
    assert_eq!((said.code, found), (1, expected.to_vec()), "{}", said.out);
    assert!(said.out.contains("refer to it"), "{}", said.out);
}

#[test]
fn the_manifest_is_extended_and_never_rewritten() {
    let (_folder, registry) = copy();
    let manifest = || fs::read_to_string(registry.join("manifest.toml")).unwrap();
    let before = manifest();
    let next = fs::read_to_string(registry.join("menu/item/viewed/2.json")).unwrap();
    write(&registry, "menu/item/viewed/3.json", &next.replace("\"schema_version\": 2", "\"schema_version\": 3"));
    let said = check(&registry, &["--format", "json"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.findings(&registry)[0].0, "not_in_manifest");
    // Something else is wrong too: nothing is added.
    change(&registry, "common/money.json", |text| text.replace("999999999999", "99"));
    let said = check(&registry, &["--update-manifest"]);
    assert_eq!((said.code, manifest()), (1, before.clone()), "{}", said.out);
    change(&registry, "common/money.json", |text| text.replace("99\n", "999999999999\n"));
    let said = check(&registry, &["--update-manifest"]);
    assert_eq!(said.code, 0, "{}", said.out);
    let after = manifest();
    let (old, new): (Vec<&str>, Vec<&str>) = after.lines().partition(|line| before.lines().any(|other| other == *line));
    assert_eq!(old, before.lines().collect::<Vec<_>>());
    assert!(new.len() == 1 && new[0].starts_with("\"menu/item/viewed/3.json\" = \""), "{new:?}");
    assert_eq!(check(&registry, &["--update-manifest"]).code, 0);
    assert_eq!(manifest(), after);
}

#[test]
fn git_says_what_was_published() {
    let (folder, registry) = copy();
    fs::remove_file(registry.join("manifest.toml")).unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder.path()).args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "commit.gpgsign=false",
        ]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "published"]);
    let said = check(&registry, &["--against-git", "HEAD", "--format", "json"]);
    assert_eq!((said.code, said.findings(&registry)), (0, Vec::new()), "{}{}", said.out, said.error);
    change(&registry, "common/id.json", |text| text.replace("\"type\": \"string\",", "\"type\": \"string\", \"minLength\": 1,"));
    change(&registry, "lesson/started/1.json", |text| text.replace("A student began", "Someone began"));
    let next = fs::read_to_string(registry.join("menu/item/viewed/2.json")).unwrap();
    write(&registry, "menu/item/viewed/3.json", &next.replace("\"schema_version\": 2", "\"schema_version\": 3"));
    let said = check(&registry, &["--against-git", "HEAD", "--format", "json"]);
    let files: Vec<String> = said.findings(&registry).into_iter().map(|(code, file, ..)| format!("{code} {file}")).collect();
    assert_eq!(files, ["changed_in_place common/id.json", "changed_in_place lesson/started/1.json"]);
    assert!(said.out.contains("only in its words"), "{}", said.out);
    assert_eq!(check(&registry, &["--against-git", "no-such-revision"]).code, 78);
}

#[test]
fn a_version_that_refuses_what_it_should_accept_is_shown_with_an_event() {
    let folder = two_versions(&json!({ "type": "integer" }), &json!({ "type": "integer", "maximum": 9 }), "");
    let said = check(folder.path(), &["--format", "json"]);
    assert_eq!(said.code, 1);
    let found = &said.json()["findings"][0];
    assert_eq!((&found["code"], &found["pointer"]), (&json!("incompatible"), &json!("/properties/n")), "{}", said.out);
    let witness = &found["witness"];
    assert_eq!(witness["pointer"], "/n");
    let n = witness["event"]["n"].as_i64().unwrap();
    assert!(n > 9, "{witness}");
    let human = check(folder.path(), &[]).out;
    for part in
        ["error[incompatible]: a:b BACKWARD: version 2 refuses an event that version 1 accepts", "refused at /n: ", "\"n\": "]
    {
        assert!(human.contains(part), "{part}: {human}");
    }
    assert!(human.ends_with("not ok: 1 event name in 2 versions, 1 comparison; 1 error, 1 warning\n"), "{human}");
}

#[test]
fn each_mode_asks_for_its_own() {
    let (narrow, wide) = (json!({ "type": "integer", "maximum": 9 }), json!({ "type": "integer" }));
    for (mode, narrowed, widened) in [
        ("BACKWARD", 1, 0),
        ("FORWARD", 0, 1),
        ("FULL", 1, 1),
        ("NONE", 0, 0),
        ("BACKWARD_TRANSITIVE", 1, 0),
        ("FULL_TRANSITIVE", 1, 1),
    ] {
        let policy = format!("[compatibility]\n\"a:*\" = \"{mode}\"\n\"*\" = \"NONE\"\n");
        assert_eq!(check(two_versions(&wide, &narrow, &policy).path(), &[]).code, narrowed, "{mode}");
        assert_eq!(check(two_versions(&narrow, &wide, &policy).path(), &[]).code, widened, "{mode}");
        let fresh = format!("{policy}[fresh_start]\n\"a:b/2\" = \"nobody sends 1 any more\"\n");
        assert_eq!(check(two_versions(&wide, &narrow, &fresh).path(), &[]).code, 0, "{mode}");
    }
}

#[test]
fn what_cannot_be_decided_is_said_and_recorded_traffic_may_decide_it() {
    // Every date begins so, but no algebra of schemas knows that.
    let (format, pattern) = (
        json!({ "type": ["string", "integer"], "format": "date" }),
        json!({ "type": ["string", "integer"], "pattern": "^2[0-9]{3}-" }),
    );
    let folder = two_versions(&format, &pattern, "");
    let said = check(folder.path(), &["--format", "json"]);
    assert_eq!((said.code, &said.json()["comparisons"][0]["verdict"]), (0, &json!("undecided")), "{}", said.out);
    assert!(said.out.contains("cannot be decided"), "{}", said.out);
    assert_eq!(check(folder.path(), &["--strict"]).code, 1);
    let event = |n: &str| json!({ "event_uuid": UUID, "event_name": "a:b", "created_at": 1, "n": n }).to_string() + "\n";
    write(folder.path(), "recorded/day/1.ndjson", &(event("2026-11-20") + "{\n" + &event("1999-12-31")));
    let recorded = folder.path().join("recorded");
    let said = check(folder.path(), &["--recorded", recorded.to_str().unwrap(), "--format", "json"]);
    let witness = &said.json()["findings"][0]["witness"];
    assert_eq!((said.code, &witness["event"]["n"]), (1, &json!("1999-12-31")), "{}", said.out);
    assert!(witness["origin"].as_str().unwrap().ends_with("1.ndjson:3"), "{witness}");
}

#[test]
fn examples_are_there_and_are_what_they_say() {
    let folder = two_versions(&json!({ "type": "integer" }), &json!({ "type": "integer" }), "");
    let event = |n: Value| json!({ "event_uuid": UUID, "event_name": "a:b", "created_at": 1, "n": n });
    let bad = |pointer: &str, code: &str, event: Value| json!({ "why": "so", "pointer": pointer, "code": code, "event": event });
    change(folder.path(), "a/b/1.json", |text| {
        text.replace("\"examples\":[", "\"examples\":[],\"title\":[").replace("\"title\":[{", "\"x-was\":[{")
    });
    change(folder.path(), "a/b/2.json", |text| text.replace("\"n\":5", "\"n\":\"5\""));
    let beside = json!({ "good": [event(json!(1)), event(json!(null))], "bad": [
        bad("/n", "schema_violation", event(json!("x"))),
        bad("", "schema_violation", event(json!("x"))),
        bad("/n", "schema_violation", event(json!(7))),
        bad("/event_uuid", "invalid_event_uuid", json!({ "event_uuid": "x", "event_name": "a:b", "created_at": 1 })),
        bad("/event_name", "unknown_event", json!({ "event_uuid": UUID, "event_name": "a:c", "created_at": 1 })),
    ] });
    write(folder.path(), "a/b/2.examples.json", &beside.to_string());
    write(folder.path(), "a/b/1.examples.json", "{\"goods\":[]}");
    let said = check(folder.path(), &["--format", "json"]);
    let found: Vec<String> =
        said.findings(folder.path()).into_iter().map(|(code, file, _, pointer)| format!("{code} {file} {pointer}")).collect();
    let expected = [
        "examples_unreadable a/b/1.examples.json ",
        "no_examples a/b/1.json ",
        "example_refused a/b/2.examples.json /good/1",
        "bad_example_accepted a/b/2.examples.json /bad/2",
        "bad_example_differs a/b/2.examples.json /bad/1",
        "example_refused a/b/2.json /examples/0",
        "no_manifest manifest.toml ",
    ];
    let mut sorted = (found.clone(), expected.map(String::from).to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1, "{}", said.out);
}

#[test]
fn faulty_files_are_told_and_the_rest_waits_for_them() {
    let folder = two_versions(&json!({ "type": "integer" }), &json!({ "type": "integr" }), "");
    let said = check(folder.path(), &["--format", "json"]);
    assert_eq!((said.code, said.findings(folder.path())[0].0.as_str()), (1, "metaschema"), "{}", said.out);
    assert_eq!(said.json()["is_complete"], false);
    assert!(check(folder.path(), &[]).out.contains("first the files have to be right"));
}

#[test]
fn what_cannot_be_asked_is_told_with_its_place() {
    let folder = two_versions(&json!({}), &json!({}), "[compatibility]\n\"a:*\" = \"full\"\n");
    let said = check(folder.path(), &[]);
    assert_eq!(said.code, 78);
    for part in ["registry.toml", "compatibility.\"a:*\"", "\"full\"", "FULL_TRANSITIVE"] {
        assert!(said.error.contains(part), "{part}: {}", said.error);
    }
    assert_eq!(check(&folder.path().join("absent"), &[]).code, 78);
    write(folder.path(), "registry.toml", "[compatibility]\n\"z:*\" = \"FULL\"\n");
    write(folder.path(), "manifest.toml", "[md5]\n");
    assert_eq!(check(folder.path(), &[]).code, 78);
    fs::remove_file(folder.path().join("manifest.toml")).unwrap();
    let said = check(folder.path(), &["--format", "json"]);
    assert!(said.findings(folder.path()).iter().any(|(code, ..)| code == "policy_unused"), "{}", said.out);
    assert_eq!(check(folder.path(), &["--manifest", folder.path().join("absent.toml").to_str().unwrap()]).code, 78);
}

#[test]
fn code_scanning_and_annotations_name_the_file_and_the_line() {
    let folder = two_versions(&json!({ "type": "integer" }), &json!({ "type": "integer", "minimum": 5 }), "");
    change(folder.path(), "a/b/2.json", |text| text.replace("\"properties\":", "\n\"properties\":\n"));
    let sarif = check(folder.path(), &["--format", "sarif"]).json();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let result = &run["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("incompatible"), &json!("error")));
    assert!(run["tool"]["driver"]["rules"].as_array().unwrap().iter().any(|rule| rule["id"] == result["ruleId"]));
    let place = &result["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("a/b/2.json"), "{place}");
    assert_eq!(place["region"]["startLine"], 3);
    let github = check(folder.path(), &["--format", "github"]).out;
    let line = github.lines().next().unwrap();
    assert!(
        line.starts_with("::error file=") && line.contains("/a/b/2.json,line=3,title=incompatible::a:b BACKWARD"),
        "{github}"
    );
    assert!(line.contains("%0A") && github.lines().count() == 2, "{github}");
}

/// What the comparison takes for an event is what the gateway does.
#[test]
fn what_is_compared_are_the_events_that_the_gateway_brings_before_its_schemas() {
    let version = Version::new("a:b", 1, &json!({})).unwrap();
    let base = json!({ "event_uuid": UUID, "event_name": "a:b", "created_at": 1_795_111_203.5 });
    let mut events = vec![base.clone()];
    for (name, values) in [
        (
            "event_uuid",
            vec![
                json!("01A1F4F7-32AC-7E07-AD70-D39F77CA4499"),
                json!("01a1f4f732ac7e07ad70d39f77ca4499"),
                json!(""),
                json!(7),
                json!(null),
                json!("00000000-0000-0000-0000-000000000000"),
                json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
                json!("{01a1f4f7-32ac-7e07-ad70-d39f77ca449}"),
                json!("c3d4e5f6-0718-0d52-01b2-0190b0a17c3e"),
            ],
        ),
        ("created_at", vec![json!(0), json!(-1), json!(1e12), json!(1e15), json!(1e18), json!(1e300), json!("1"), json!(null)]),
        (
            "schema_version",
            vec![json!(1), json!(0), json!(-1), json!("1"), json!(i32::MAX), json!(i64::from(i32::MAX) + 1), json!(null)],
        ),
        ("anything", vec![json!(null), json!({ "a": [1, {}] })]),
    ] {
        let mut without = base.clone();
        without.as_object_mut().unwrap().remove(name);
        events.push(without);
        events.extend(values.into_iter().map(|value| {
            let mut event = base.clone();
            event[name] = value;
            event
        }));
    }
    let mut taken = 0;
    for event in events {
        let text = event.to_string();
        let mut is_event = false;
        for_each_element(text.as_bytes(), BodyForm::Json, |element| {
            is_event = element.event.is_ok_and(|event| read_fields(&event).is_ok());
        })
        .unwrap();
        assert_eq!(version.accepts(&text), is_event, "{text}");
        taken += usize::from(is_event);
    }
    assert!(taken > 8, "{taken}");
    assert!(!version.accepts(&json!({ "event_uuid": UUID, "event_name": "a:c", "created_at": 1 }).to_string()));
}
