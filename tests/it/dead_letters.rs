//! Dead letters, found, repaired, replayed and dropped: by `lakegate dead-letters` beside a gateway that runs and where none does.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    client::{Client, Post, Told, Wire, ask_plain, get_plain},
    events, eventually,
    gateway::Setup,
    metrics::Scrape,
    outage::Outage,
    readback::{LakeRows, dead_letters},
    say, seed,
};

/// Three ways to be wrong, and what mends each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A number as text.
    Text,
    /// A name that no schema has.
    Typo,
    /// A field is missing.
    Missing,
}

impl Cause {
    fn event(self, uuid: Uuid) -> String {
        let (name, section) = match self {
            Self::Text => ("menu:section:reached", r#""section_id":"reds","section_index":"7""#),
            Self::Typo => ("menu:section:raeched", r#""section_id":"reds","section_index":7"#),
            Self::Missing => ("menu:section:reached", r#""section_index":7"#),
        };
        // The spelling of what no patch names must not change.
        format!(
            r#"{{ "event_uuid":"{uuid}" , "event_name":"{name}","created_at":1795111203.50,"session_id":"{uuid}","visit_id":"{uuid}",
 "restaurant_id":"quinta.norte","menu_id":"wine\u002dlist",{section},"source":[1.10,123456789012345678901234567890]}}"#
        )
        .replace('\n', "")
    }

    fn patch(self) -> Value {
        match self {
            Self::Text => json!([{"op": "replace", "path": "/section_index", "value": 7}]),
            Self::Typo => json!([{"op": "replace", "path": "/event_name", "value": "menu:section:reached"}]),
            Self::Missing => json!([{"op": "add", "path": "/section_id", "value": "reds"}]),
        }
    }

    fn condition(self) -> &'static str {
        match self {
            Self::Text => "pointer=/section_index",
            Self::Typo => "code=unknown_event",
            Self::Missing => "detail=*section_id*",
        }
    }

    fn mended(self, uuid: Uuid) -> String {
        let event = self.event(uuid);
        match self {
            Self::Text => event.replace("\"7\"", "7"),
            Self::Typo => event.replace("raeched", "reached"),
            Self::Missing => event.replace(r#"1234567890]}"#, r#"1234567890],"section_id":"reds"}"#),
        }
    }
}

fn identities(rng: &mut Rng, count: usize) -> Vec<Uuid> {
    (0..count).map(|_| events::identity(rng)).collect()
}

/// Sends events that must all be rejected.
async fn send_rejected(client: &Client, texts: &[String]) {
    let mut connection = client.connect(Wire::H1).await.expect("it is ready");
    for texts in texts.chunks(1000) {
        let answer = connection.post(&Post::lines(texts.join("\n"))).await.expect("an answer");
        assert!(answer.told(texts.len()).iter().all(|told| matches!(told, Told::Rejected(_))), "{}", answer.text());
    }
}

fn lakegate(data: &Path, arguments: &[&str]) -> Output {
    lakegate_with(data, arguments, "")
}

fn lakegate_with(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = command(data, arguments).stdin(Stdio::piped()).spawn().expect("the program can be started");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(variable);
    }
    command.env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    command.args(arguments).arg("--data-dir").arg(data).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a command says as JSON. It must end well, or with 1 where it says that something is left.
fn said(data: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
    let output = lakegate(data, &arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

fn letters(data: &Path, conditions: &[&str]) -> u64 {
    let arguments: Vec<&str> =
        ["dead-letters", "list"].into_iter().chain(conditions.iter().flat_map(|c| ["--where", c])).collect();
    said(data, &arguments)["letters"].as_u64().expect("a count")
}

fn patch_file(folder: &Path, patch: &Value) -> PathBuf {
    let file = folder.join(format!("patch-{}.json", fastrand::u64(..)));
    fs::write(&file, patch.to_string()).expect("a file");
    file
}

/// Replays what one cause broke, with the patch that mends it.
fn mend(data: &Path, folder: &Path, cause: Cause, more: &[&str]) -> Value {
    let patch = patch_file(folder, &cause.patch());
    let patch = patch.to_str().expect("a path");
    let arguments = ["dead-letters", "replay", "--where", cause.condition(), "--patch", patch];
    said(data, &arguments.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
}

fn counts(report: &Value) -> [u64; 4] {
    ["letters", "accepted", "duplicates", "rejected"]
        .map(|name| report[name].as_u64().unwrap_or_else(|| panic!("{name} of {report}")))
}

/// CPU seconds of `lakegate dead-letters list`.
fn busy_seconds(data: &Path) -> f64 {
    let mut timed = Command::new("bash");
    timed.args([
        "-c",
        "TIMEFORMAT='%U %S'; time \"$0\" dead-letters list --data-dir \"$1\" > /dev/null",
        env!("CARGO_BIN_EXE_lakegate"),
    ]);
    let output = timed.arg(data).output().expect("bash is there");
    let times = String::from_utf8(output.stderr).expect("text");
    times.split_whitespace().map(|seconds| seconds.parse::<f64>().unwrap_or_else(|_| panic!("{times}"))).sum()
}

/// When each event of the lake was received, as the lake says it.
fn received_in_lake(data: &Path) -> HashMap<Uuid, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let output = command.args(["lake", "export", "--lake"]).arg(data.join("lake")).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).expect("text");
    let of = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let member = |name: &str| event[name].as_str().expect("a text").to_owned();
        (member("event_uuid").parse().expect("a UUID"), member("received_datetime"))
    };
    lines.lines().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_letters_of_three_causes_are_listed_in_a_second_mended_by_a_patch_each_and_stored_once() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = Setup::new(&data).set("lake.flush_age_ms", 60);
    let gateway = setup.start().await;
    let sent = [(Cause::Text, 5_000), (Cause::Typo, 3_000), (Cause::Missing, 2_000)]
        .map(|(cause, count)| (cause, identities(&mut rng, count)));
    for (cause, uuids) in &sent {
        let texts: Vec<String> = uuids.iter().map(|uuid| cause.event(*uuid)).collect();
        send_rejected(&gateway.client(), &texts).await;
    }
    let received: HashMap<Uuid, String> = dead_letters(&data.join("dead-letters"))
        .iter()
        .map(|letter| {
            let member = |name: &str| letter.line[name].as_str().expect("a text").to_owned();
            (member("event_uuid").parse().expect("a UUID"), member("received_datetime"))
        })
        .collect();

    let started = Instant::now();
    let list = said(&data, &["dead-letters", "list"]);
    let (took, busy) = (started.elapsed(), busy_seconds(&data));
    say(format_args!("10,000 dead letters are listed in {took:?}, {busy} s of them CPU, by a debug build"));
    // It is one thread that waits for nothing, so on a machine that nobody else wants this is the time it takes.
    assert!(busy < 1.0, "{busy}");
    let groups = list["groups"].as_array().expect("groups");
    let counted: Vec<u64> = groups.iter().map(|group| group["count"].as_u64().expect("a count")).collect();
    assert_eq!(counted, [5_000, 3_000, 2_000], "{list}");
    assert_eq!(groups[0]["pointer"], "/section_index");
    assert_eq!((&groups[1]["code"], &groups[1]["event_name"]), (&json!("unknown_event"), &json!("menu:section:raeched")));
    assert_eq!((&groups[2]["schema_version"], &groups[2]["source"]), (&json!(1), &json!("dev")));

    // One patch mends one cause, and a second time there is nothing left of it.
    let first = mend(&data, folder.path(), Cause::Text, &[]);
    assert_eq!(counts(&first), [5_000, 5_000, 0, 0], "{first}");
    assert_eq!(counts(&mend(&data, folder.path(), Cause::Text, &[])), [0, 0, 0, 0]);
    assert_eq!(letters(&data, &[]), 5_000);
    assert_eq!(letters(&data, &["state=repaired"]), 5_000);

    // Two at once, while more of the same come in.
    let late = identities(&mut rng, 200);
    let texts: Vec<String> = late.iter().map(|uuid| Cause::Typo.event(*uuid)).collect();
    let client = gateway.client();
    let coming = tokio::spawn(async move {
        for text in texts.chunks(10) {
            send_rejected(&client, text).await;
        }
    });
    let mends = [0, 1].map(|_| {
        let (data, folder) = (data.clone(), folder.path().to_owned());
        tokio::task::spawn_blocking(move || mend(&data, &folder, Cause::Typo, &[]))
    });
    let mut accepted = 0;
    for mend in mends {
        let report = mend.await.expect("it ends");
        let [letters, stored, duplicates, rejected] = counts(&report);
        assert_eq!((letters, duplicates, rejected), (stored, 0, 0), "{report}");
        accepted += stored;
    }
    coming.await.expect("they were rejected");
    assert!((3_000..=3_200).contains(&accepted), "{accepted}");
    let rest = mend(&data, folder.path(), Cause::Typo, &[]);
    assert_eq!(counts(&rest), [3_200 - accepted, 3_200 - accepted, 0, 0], "{rest}");

    assert_eq!(counts(&mend(&data, folder.path(), Cause::Missing, &[])), [2_000, 2_000, 0, 0]);
    assert_eq!(letters(&data, &[]), 0);

    let scrape = Scrape::when_drained(&gateway).await;
    scrape.assert_ledger();
    assert_eq!(scrape.outcomes(), [0, 0, 10_200, 0], "a replay is nothing that was received");
    assert_eq!(scrape.sum("replayed_events", "outcome=\"accepted\""), 10_200);
    assert_eq!(scrape.value("spool_appended_events"), 10_200, "accepted + replayed and accepted = appended");
    let mut expected: HashMap<Uuid, Cause> = late.iter().map(|uuid| (*uuid, Cause::Typo)).collect();
    expected.extend(sent.iter().flat_map(|(cause, uuids)| uuids.iter().map(|uuid| (*uuid, *cause))));
    let all: HashSet<Uuid> = expected.keys().copied().collect();
    // To the last byte but for what the patch names.
    LakeRows::read(&data.join("lake")).assert_exactly(&all, |uuid| expected[&uuid].mended(uuid).into_bytes());
    let in_lake = received_in_lake(&data);
    for (uuid, received) in &received {
        assert_eq!(&in_lake[uuid], received, "it was received when it was sent");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_in_the_middle_of_a_replay_loses_nothing_and_doubles_nothing() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = Setup::new(&data).set("lake.flush_age_ms", 60);
    let mut gateway = setup.start().await;
    let uuids = identities(&mut rng, 10_000);
    let texts: Vec<String> = uuids.iter().map(|uuid| Cause::Typo.event(*uuid)).collect();
    send_rejected(&gateway.client(), &texts).await;

    let patch = patch_file(folder.path(), &Cause::Typo.patch());
    let arguments = ["dead-letters", "replay", "--patch", patch.to_str().expect("a path")];
    let replaying = command(&data, &arguments).spawn().expect("it starts");
    let journal = data.join("dead-letters/dev/repairs.journal");
    eventually("the replay has begun", Duration::from_secs(60), async || journal.exists()).await;
    gateway.kill();
    let cut = replaying.wait_with_output().expect("it ends");
    assert!(!cut.status.success(), "{}", text(&cut));
    let noted = fs::read_to_string(&journal).expect("a journal").lines().count();
    assert!(noted < uuids.len(), "the replay was over before the gateway was killed");

    let gateway = setup.start().await;
    let open = letters(&data, &[]);
    let again = mend(&data, folder.path(), Cause::Typo, &[]);
    let [tried, accepted, duplicates, rejected] = counts(&again);
    say(format_args!("killed with {noted} of 10,000 noted; then {accepted} were accepted, {duplicates} had been stored"));
    assert_eq!((tried, accepted + duplicates, rejected), (open, open, 0), "{again}");
    assert_eq!(letters(&data, &[]), 0);
    Scrape::when_drained(&gateway).await;
    let all: HashSet<Uuid> = uuids.iter().copied().collect();
    LakeRows::read(&data.join("lake")).assert_exactly(&all, |uuid| Cause::Typo.mended(uuid).into_bytes());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_killed_in_the_middle_of_a_replay_at_rest_loses_nothing_and_doubles_nothing() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = Setup::new(&data).set("lake.flush_age_ms", 60);
    let gateway = setup.start().await;
    let uuids = identities(&mut rng, 5_000);
    let texts: Vec<String> = uuids.iter().map(|uuid| Cause::Typo.event(*uuid)).collect();
    send_rejected(&gateway.client(), &texts).await;
    gateway.stop().await;

    let patch = patch_file(folder.path(), &Cause::Typo.patch());
    let mut replaying =
        command(&data, &["dead-letters", "replay", "--patch", patch.to_str().expect("a path")]).spawn().expect("it starts");
    let journal = data.join("dead-letters/dev/repairs.journal");
    eventually("the replay has begun", Duration::from_secs(60), async || journal.exists()).await;
    // Meanwhile the folder is taken: nobody else writes.
    let second = lakegate(&data, &["dead-letters", "drop", "--yes"]);
    replaying.kill().expect("it is there until it is waited for");
    replaying.wait().expect("it ends");
    assert!(!second.status.success() || text(&second).contains("dropped 0"), "{}", text(&second));
    let open = letters(&data, &[]);
    let again = mend(&data, folder.path(), Cause::Typo, &[]);
    let [tried, accepted, duplicates, rejected] = counts(&again);
    say(format_args!("killed with {open} of 5,000 open; then {accepted} were accepted, {duplicates} had been stored"));
    assert_eq!((tried, accepted + duplicates, rejected), (open, open, 0), "{again}");

    let gateway = setup.start().await;
    Scrape::when_drained(&gateway).await;
    let all: HashSet<Uuid> = uuids.iter().copied().collect();
    LakeRows::read(&data.join("lake")).assert_exactly(&all, |uuid| Cause::Typo.mended(uuid).into_bytes());
    gateway.stop().await;
}

/// Every file below `folder` with its bytes.
fn snapshot(folder: &Path) -> HashMap<PathBuf, Vec<u8>> {
    let mut files = HashMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_letters_are_replayed_by_the_command_itself_and_delivered_by_the_next_start() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let nothing = lakegate(&data, &["dead-letters", "replay"]);
    assert!(nothing.status.success() && text(&nothing).starts_with("0 dead letters"), "{}", text(&nothing));
    assert!(!data.exists(), "to look is not to make");

    let setup = Setup::new(&data).set("lake.flush_age_ms", 60);
    let gateway = setup.start().await;
    let (text_uuids, typo) = (identities(&mut rng, 3), events::identity(&mut rng));
    let texts: Vec<String> = text_uuids.iter().map(|uuid| Cause::Text.event(*uuid)).collect();
    send_rejected(&gateway.client(), &texts).await;
    send_rejected(&gateway.client(), &[Cause::Typo.event(typo)]).await;
    // Its sender has mended one by itself meanwhile.
    let sent_again = Cause::Text.mended(text_uuids[0]);
    assert_eq!(gateway.client().post(Wire::H1, &Post::json(sent_again)).await.expect("an answer").status, 202);
    gateway.stop().await;

    let before = snapshot(&data.join("dead-letters"));
    let dry = mend(&data, folder.path(), Cause::Text, &["--dry-run"]);
    assert_eq!(counts(&dry), [3, 3, 0, 0], "the dedup window is not asked: {dry}");
    assert_eq!(snapshot(&data.join("dead-letters")), before);
    let unpatched = said(&data, &["dead-letters", "replay", "--where", Cause::Text.condition()]);
    assert_eq!(counts(&unpatched), [3, 0, 0, 3], "{unpatched}");
    assert_eq!(unpatched["left"]["groups"][0]["pointer"], "/section_index");
    assert_eq!(letters(&data, &[]), 4);

    assert_eq!(counts(&mend(&data, folder.path(), Cause::Text, &[])), [3, 2, 1, 0]);
    assert_eq!(counts(&mend(&data, folder.path(), Cause::Text, &[])), [0, 0, 0, 0]);
    assert_eq!(letters(&data, &[]), 1);
    let shown = lakegate(&data, &["dead-letters", "show", &text_uuids[1].to_string()]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("one letter");
    assert_eq!(shown["state"], "repaired");
    assert_eq!(shown["line"]["raw"], Cause::Text.event(text_uuids[1]), "the letter keeps what was sent");
    let outcomes: Vec<&Value> = shown["repairs"].as_array().expect("repairs").iter().map(|repair| &repair["outcome"]).collect();
    assert_eq!(outcomes, ["rejected", "accepted"]);
    assert_eq!(shown["repairs"][1]["patch_sha256"].as_str().map(str::len), Some(64));
    let by_name = lakegate(&data, &["dead-letters", "show", shown["letter"].as_str().expect("a name")]);
    assert!(by_name.status.success() && text(&by_name).contains(&text_uuids[1].to_string()));
    let nobody = lakegate(&data, &["dead-letters", "show", &Uuid::new_v4().to_string()]);
    let complaint = String::from_utf8_lossy(&nobody.stderr);
    assert!(!nobody.status.success() && complaint.contains("no dead letter here has the event_uuid"), "{complaint}");

    let gateway = setup.start().await;
    Scrape::when_drained(&gateway).await;
    let all: HashSet<Uuid> = text_uuids.iter().copied().collect();
    LakeRows::read(&data.join("lake")).assert_exactly(&all, |uuid| Cause::Text.mended(uuid).into_bytes());
    // And the dedup window knows them as if they had been sent.
    let again = Post::json(Cause::Text.mended(text_uuids[2]));
    assert_eq!(gateway.client().post(Wire::H1, &again).await.expect("an answer").told(1), [Told::Duplicate]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_repair_is_said_and_changes_nothing() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).start().await;
    let texts: Vec<String> = identities(&mut rng, 5).iter().map(|uuid| Cause::Text.event(*uuid)).collect();
    send_rejected(&gateway.client(), &texts).await;
    let before = snapshot(&data.join("dead-letters"));
    let refused = |arguments: &[&str], why: &str| {
        let output = lakegate(&data, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(why), "{arguments:?}: {}", text(&output));
    };
    let with_patch = |patch: &str, why: &str| {
        let file = folder.path().join("wrong.json");
        fs::write(&file, patch).expect("a file");
        refused(&["dead-letters", "replay", "--patch", file.to_str().expect("a path")], why);
    };
    with_patch("{", "is no JSON Patch");
    with_patch("[{\"op\":\"mend\",\"path\":\"/a\"}]", "unknown variant `mend`");
    with_patch("[{\"op\":\"replace\",\"path\":\"/a\"}]", "operation 0 of the patch: \"value\" is missing");
    with_patch(
        "[{\"op\":\"remove\",\"path\":\"/no/such\"}]",
        "applies to none of the 5 dead letters that are meant, so nothing was changed: remove \"/no/such\"",
    );
    refused(&["dead-letters", "replay", "--patch", "/no/such/file"], "/no/such/file cannot be read");
    refused(&["dead-letters", "list", "--where", "kind=odd"], "\"kind\" is no field of a dead letter");
    refused(&["dead-letters", "replay", "--where", "since=soon"], "\"soon\" is no time");
    refused(&["dead-letters", "drop"], "nothing says which dead letters are to be dropped");
    assert_eq!(snapshot(&data.join("dead-letters")), before);

    // Who names another gateway's address does not change what that one has.
    let other = tempfile::tempdir().expect("a folder");
    let bystander = Setup::new(other.path()).start().await;
    let admin = bystander.admin().to_string();
    refused(&["dead-letters", "drop", "--yes", "--admin", &admin], "this is not the gateway that is meant");
    refused(&["dead-letters", "replay", "--admin", &admin], "this is not the gateway that is meant");
    bystander.stop().await;

    // The operators' listener is for programs of this machine, not for what a browser sends.
    let admin = gateway.admin();
    let ask = |method: &'static str, path: &'static str, headers: &'static [(&'static str, &'static str)]| async move {
        let answer = ask_plain(admin, method, path, headers).await.expect("an answer");
        (answer.status, answer.problem_code())
    };
    let drop = "/admin/dead-letters/drop";
    assert_eq!(ask("POST", drop, &[("origin", "http://evil.example")]).await, (403, "operators_only".into()));
    assert_eq!(ask("POST", drop, &[]).await, (415, "unsupported_media_type".into()));
    assert_eq!(ask("POST", drop, &[("content-type", "application/json")]).await, (400, "invalid_repair".into()));
    assert_eq!(ask("GET", "/admin/dead-letters?where=x", &[]).await, (400, "invalid_repair".into()));
    assert_eq!(ask("GET", "/admin/dead-letters?who=x", &[]).await, (400, "invalid_repair".into()));
    assert_eq!(ask("GET", drop, &[]).await, (405, "method_not_allowed".into()));
    let listed = get_plain(admin, "/admin/dead-letters?where=event_name%3Dmenu:*").await.expect("an answer");
    assert_eq!((listed.status, listed.json()["letters"].as_u64()), (200, Some(5)), "{}", listed.text());
    let whole = get_plain(admin, "/admin/dead-letters/letters?limit=3").await.expect("an answer");
    assert_eq!(whole.json()["letters"].as_array().map(Vec::len), Some(3), "{}", whole.text());
    let public = gateway.client().get("/admin/dead-letters").await.expect("an answer");
    assert_eq!(public.status, 404, "it is not on the listener for events");
    assert_eq!(snapshot(&data.join("dead-letters")), before);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_is_gone_and_a_full_key_has_room_again() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let setup = Setup::new(&data).set("dead_letters.bytes_per_key_max", 16 << 20);
    let gateway = setup.start().await;
    let texts = |rng: &mut Rng, cause: Cause, count: usize| -> Vec<String> {
        identities(rng, count).iter().map(|uuid| cause.event(*uuid)).collect()
    };
    send_rejected(&gateway.client(), &texts(&mut rng, Cause::Typo, 10)).await;
    // As many as there is room for.
    let mut connection = gateway.client().connect(Wire::H1).await.expect("it is ready");
    let mut filled = 0;
    loop {
        // What cannot be packed: fewer letters fill it.
        let noisy = |text: String| {
            let noise: String = (0..1_000).map(|_| fastrand::alphanumeric()).collect();
            format!("{},\"noise\":\"{noise}\"}}", &text[..text.len() - 1])
        };
        let bad: Vec<String> = texts(&mut rng, Cause::Text, 1000).into_iter().map(noisy).collect();
        let answer = connection.post(&Post::lines(bad.join("\n"))).await.expect("an answer");
        match answer.told(1000)[0].clone() {
            Told::Rejected(_) => filled += 1000,
            Told::Retry(code) => break assert_eq!(code, "dead_letters_full"),
            told => panic!("{told:?}"),
        }
    }
    let held = Scrape::of(&gateway).await.value("dead_letters_bytes");
    let dropped = said(&data, &["dead-letters", "drop", "--where", "code=schema_violation"]);
    assert_eq!(dropped["removed"]["letters"], filled, "{dropped}");
    assert!(dropped["bytes"].as_i64().expect("bytes") > held * 9 / 10, "{dropped} of {held}");
    let scrape = Scrape::of(&gateway).await;
    assert_eq!(scrape.value("dropped_dead_letters"), filled);
    assert!(dead_letters(&data.join("dead-letters")).iter().all(|letter| letter.code() == "unknown_event"));
    send_rejected(&gateway.client(), &texts(&mut rng, Cause::Missing, 10)).await;
    assert_eq!(letters(&data, &[]), 20);
    gateway.stop().await;

    let output = lakegate(&data, &["dead-letters", "drop", "--where", "code=unknown_event"]);
    assert!(output.status.success() && text(&output).contains("dropped 10 dead letters"), "{}", text(&output));
    assert_eq!(letters(&data, &["state=any"]), 10);
    let output = lakegate(&data, &["dead-letters", "drop", "--yes"]);
    assert!(text(&output).contains("dropped 10 dead letters"), "{}", text(&output));
    assert_eq!(dead_letters(&data.join("dead-letters")).len(), 0);
    let gateway = setup.start().await;
    send_rejected(&gateway.client(), &texts(&mut rng, Cause::Text, 1)).await;
    assert_eq!(letters(&data, &[]), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_from_elsewhere_are_replayed_once_and_old_ones_do_not_look_like_a_lag() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).set("lake.flush_age_ms", 60).start().await;
    let first = events::identity(&mut rng);
    assert_eq!(gateway.client().post(Wire::H1, &Post::json(events::small(first))).await.expect("an answer").status, 202);
    Scrape::when_drained(&gateway).await;
    let outage = Outage::begin(&data);
    let uuids = identities(&mut rng, 5_000);
    let line = |uuid: &Uuid| {
        let letter = json!({
            "received_datetime": "2024-02-29T12:00:00.123Z", "source": "kiosk", "event_uuid": uuid, "event_name": "menu:section:raeched",
            "code": "unknown_event", "detail": "", "pointer": "/event_name", "raw": Cause::Typo.event(*uuid),
        });
        letter.to_string()
    };
    // More than one request has, and a line that is none.
    let lines: Vec<String> = uuids.iter().map(line).chain(["{\"no\":\"letter\"}".to_owned()]).collect();
    let patch = patch_file(folder.path(), &Cause::Typo.patch());
    let arguments = ["dead-letters", "replay", "--from", "-", "--patch", patch.to_str().expect("a path"), "--format", "json"];
    let replay = |lines: &str| {
        let output = lakegate_with(&data, &arguments, lines);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        (counts(&report), report["unreadable_lines"].as_u64())
    };
    assert_eq!(replay(&lines.join("\n")), ([5_000, 5_000, 0, 0], Some(1)));
    assert_eq!(replay(&lines[..5_000].join("\n")), ([0, 0, 0, 0], Some(0)));
    // What the sink refused had been accepted, so the dedup window knows it: its replay reaches the sink all the same, once.
    let refused = line(&first).replace("unknown_event", "refused_by_sink").replace("raeched", "reached");
    for expected in [[1, 1, 0, 0], [0, 0, 0, 0]] {
        let replayed = lakegate_with(&data, &["dead-letters", "replay", "--from", "-", "--format", "json"], &refused);
        let report: Value = serde_json::from_slice(&replayed.stdout).unwrap_or_else(|_| panic!("{}", text(&replayed)));
        assert_eq!((replayed.status.code(), counts(&report)), (Some(0), expected), "{report}");
    }
    let readiness = gateway.readiness().await.json();
    assert!(readiness["spool"]["events"].as_u64() == Some(5_001), "{readiness}");
    assert!(readiness["spool"]["oldest_seconds"].as_f64().expect("a number") < 1000.0, "{readiness}");
    outage.repair();
    Scrape::when_drained(&gateway).await;
    let in_lake = received_in_lake(&data);
    assert_eq!(in_lake.len(), 5_001);
    assert!(uuids.iter().all(|uuid| in_lake[uuid] == "2024-02-29T12:00:00.123Z"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_registry_is_held_against_the_lake_the_dead_letters_and_a_folder() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).set("lake.flush_age_ms", 60).start().await;
    let good: Vec<String> = identities(&mut rng, 20).iter().map(|uuid| Cause::Text.mended(*uuid)).collect();
    let answer = gateway.client().post(Wire::H1, &Post::lines(good.join("\n"))).await.expect("an answer");
    assert_eq!(answer.status, 202);
    let texts: Vec<String> = identities(&mut rng, 6).iter().map(|uuid| Cause::Text.event(*uuid)).collect();
    send_rejected(&gateway.client(), &texts).await;
    send_rejected(&gateway.client(), &[Cause::Typo.event(events::identity(&mut rng))]).await;
    Scrape::when_drained(&gateway).await;

    // Narrower where the lake is, wider where the letters are.
    let proposed = folder.path().join("proposed");
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")), &proposed);
    let file = proposed.join("menu/section/reached/1.json");
    let mut schema: Value = serde_json::from_slice(&fs::read(&file).expect("a schema")).expect("JSON");
    schema["properties"]["section_index"] = json!({"type": "string"});
    fs::write(&file, schema.to_string()).expect("a file");
    fs::remove_file(proposed.join("menu/section/reached/1.examples.json")).expect("its examples");

    let simulate = |against: &str, schemas: &Path| {
        let arguments =
            ["schemas", "simulate", "--against", against, "--schemas", schemas.to_str().expect("a path"), "--format", "json"];
        let output = lakegate(&data, &arguments);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        let counts = ["events", "still_accepted", "still_rejected", "newly_rejected", "rescued"]
            .map(|name| said[name].as_u64().expect("a count"));
        (output.status.code(), counts, said["changes"].clone())
    };
    let (code, counted, changes) = simulate("lake", &proposed);
    assert_eq!((code, counted), (Some(1), [20, 0, 0, 20, 0]), "{changes}");
    assert_eq!(changes[0]["pointer"], "/section_index");
    assert_eq!(
        (&changes[0]["event_name"], &changes[0]["schema_version"], &changes[0]["source"]),
        (&json!("menu:section:reached"), &json!(1), &json!("dev"))
    );
    let example = changes[0]["example_event_uuid"].as_str().expect("an example");
    assert!(good.iter().any(|event| event.contains(example)), "{example}");
    let (code, counted, changes) = simulate("dead-letters", &proposed);
    assert_eq!((code, counted), (Some(0), [7, 0, 1, 0, 6]), "{changes}");
    assert_eq!((&changes[0]["is_rescue"], &changes[0]["count"]), (&json!(true), &json!(6)));

    let recorded = folder.path().join("recorded/of/monday");
    fs::create_dir_all(&recorded).expect("folders");
    fs::write(recorded.join("a.ndjson"), good.join("\n") + "\n\n" + &texts[0] + "\n").expect("a file");
    fs::write(recorded.join("notes.txt"), "none of these").expect("a file");
    let root = folder.path().join("recorded");
    let (code, counted, _) = simulate(root.to_str().expect("a path"), &proposed);
    assert_eq!((code, counted), (Some(1), [21, 0, 0, 20, 1]));
    // By the registry in force what is recorded stays as it is.
    let in_force = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    assert_eq!(simulate("lake", in_force).1, [20, 20, 0, 0, 0]);
    assert_eq!(simulate("lake", in_force).0, Some(0));
    assert_eq!(simulate("dead-letters", in_force).1, [7, 0, 7, 0, 0]);
    let table = lakegate(&data, &["schemas", "simulate", "--against", "lake", "--schemas", proposed.to_str().expect("a path")]);
    assert!(
        text(&table).starts_with("20 events: 20 newly rejected, 0 rescued, 0 accepted as before, 0 rejected as before"),
        "{}",
        text(&table)
    );
    let nowhere = lakegate(&data, &["schemas", "simulate", "--against", "/no/such"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere).contains("/no/such: events cannot be read"), "{}", text(&nowhere));
    gateway.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_duplicate_is_listed_stays_open_when_replayed_and_is_stored_under_another_identity() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_DEAD_LETTERS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let gateway = Setup::new(&data).set("lake.flush_age_ms", 60).start().await;
    let (uuid, other) = (events::identity(&mut rng), events::identity(&mut rng));
    for (bytes, expected) in [(300, Told::Accepted), (400, Told::Duplicate)] {
        let post = Post::json(events::good_of_size(uuid, events::small(uuid).len() + bytes));
        assert_eq!(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1), [expected]);
    }
    let listed = |conditions: &[&str]| letters(&data, conditions);
    assert_eq!((listed(&["code=conflicting_duplicate"]), listed(&[])), (1, 1));
    let shown = lakegate(&data, &["dead-letters", "show", &uuid.to_string()]);
    assert!(text(&shown).contains("conflicting_duplicate"), "{}", text(&shown));

    let report = |arguments: &[&str]| {
        let output = lakegate(&data, &[&["dead-letters", "replay", "--format", "json"], arguments].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        (output.status.code(), ["letters", "accepted", "duplicates", "already_accepted"].map(|name| report[name].as_u64()))
    };
    assert_eq!(report(&[]), (Some(1), [Some(1), Some(0), Some(0), Some(1)]));
    assert_eq!((listed(&[]), dead_letters(&data.join("dead-letters")).len()), (1, 1), "open still, and no second letter");
    let patch = patch_file(folder.path(), &json!([{"op": "replace", "path": "/event_uuid", "value": other}]));
    assert_eq!(report(&["--patch", patch.to_str().expect("a path")]), (Some(0), [Some(1), Some(1), Some(0), Some(0)]));
    assert_eq!(listed(&[]), 0);
    gateway.stop().await;
    let lake = LakeRows::read(&data.join("lake"));
    assert_eq!([uuid, other].map(|uuid| lake.rows[&uuid].len()), [1, 1]);
}
