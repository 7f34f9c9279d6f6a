//! Commands of `lakegate lake` beside gateways, killed at random moments: compaction, expiry, vacuum, typed tables and erasure.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File},
    io::{Read, Seek},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;
use serde_json::Value;
use uuid::Uuid;

/// Commands that run at the same time.
const AT_ONCE: usize = 2;

/// Longest time after which a command is killed. A debug build takes 50 to 700 ms.
const TIME_MAX: Duration = Duration::from_millis(800);

/// Time of the commands that are to end by themselves, a third of them.
const LONG: Duration = Duration::from_secs(20);

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Compact,
    Expire,
    Vacuum,
    Build,
    Erase,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Compact, Self::Expire, Self::Vacuum, Self::Build, Self::Erase];
}

/// Events to be erased, and the data folder of the gateway that has them.
#[derive(Debug)]
struct Erasure {
    data: PathBuf,
    values: PathBuf,
    is_complete: bool,
}

#[derive(Debug)]
struct Running {
    kind: Kind,
    /// The position of its erasure.
    erasure: Option<usize>,
    child: Child,
    errors: File,
    until: Instant,
}

/// How many commands of a kind were killed, ended well, and ended otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    pub killed: usize,
    pub done: usize,
    pub failed: usize,
}

/// Commands on one lake.
#[derive(Debug)]
pub struct LakeCommands {
    rng: Rng,
    folder: tempfile::TempDir,
    config: PathBuf,
    /// The data folder of the commands that tidy.
    data: PathBuf,
    running: Vec<Running>,
    erasures: Vec<Erasure>,
    /// Events that are to be erased.
    pub erased: HashSet<Uuid>,
    pub ends: [Ends; 5],
    /// What commands said that ended neither by a kill nor well, where nobody expects it.
    pub faults: Vec<String>,
}

impl LakeCommands {
    pub fn new(rng: Rng, config: &Path, data: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, data) = (config.to_owned(), data.to_owned());
        Self {
            rng,
            folder,
            config,
            data,
            running: Vec::new(),
            erasures: Vec::new(),
            erased: HashSet::new(),
            ends: Default::default(),
            faults: Vec::new(),
        }
    }

    fn command(&self, data: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
            command.env_remove(variable);
        }
        command.env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        command.arg("lake").args(words).arg("--config").arg(&self.config).arg("--data-dir").arg(data);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed, and reads what it prints.
    pub fn run(&self, words: &[&str]) -> Value {
        self.run_in(&self.data, words)
    }

    fn run_in(&self, data: &Path, words: &[&str]) -> Value {
        let output = self.command(data, &[words, &["--format", "json"]].concat()).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_whole = output.status.success() || words[0] == "erase";
        assert!(is_whole, "{words:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    fn start(&mut self, kind: Kind, erasure: Option<usize>) {
        let values = erasure.map(|position| self.erasures[position].values.display().to_string());
        let words: &[&str] = match (kind, &values) {
            (Kind::Erase, Some(values)) => &["erase", "--where", "event_uuid", "--where-file", values],
            (Kind::Compact, _) => &["compact", "--all"],
            (Kind::Expire, _) => &["expire"],
            (Kind::Build, _) => &["build"],
            _ => &["vacuum", "--grace-minutes", "0"],
        };
        let data = erasure.map_or(&self.data, |position| &self.erasures[position].data);
        let errors = tempfile::tempfile().expect("a file");
        let mut command = self.command(data, words);
        command.stdout(Stdio::null()).stderr(errors.try_clone().expect("a file"));
        let child = command.spawn().expect("it can be started");
        let until = Instant::now() + if self.rng.u8(..3) == 0 { LONG } else { TIME_MAX.mul_f64(self.rng.f64()) };
        self.running.push(Running { kind, erasure, child, errors, until });
    }

    fn is_erasing(&self) -> bool {
        self.running.iter().any(|running| running.kind == Kind::Erase)
    }

    /// Repeats an erasure that was cut off, now and then. Returns whether it did.
    pub fn repeat_erasure(&mut self) -> bool {
        let unfinished: Vec<usize> = (0..self.erasures.len()).filter(|&one| !self.erasures[one].is_complete).collect();
        let repeats = !unfinished.is_empty() && (unfinished.len() > 3 || self.rng.bool());
        if repeats {
            let position = unfinished[self.rng.usize(..unfinished.len())];
            self.start(Kind::Erase, Some(position));
        }
        repeats
    }

    /// Erases these events from the gateway with this data folder, and from the lake.
    pub fn erase(&mut self, data: &Path, events: &[Uuid]) {
        assert!(!events.is_empty(), "there is something to erase");
        let position = self.erasures.len();
        let values = self.folder.path().join(format!("{position}.txt"));
        let lines: Vec<String> = events.iter().map(Uuid::to_string).collect();
        fs::write(&values, lines.join("\n")).expect("a file");
        self.erased.extend(events);
        self.erasures.push(Erasure { data: data.to_owned(), values, is_complete: false });
        self.start(Kind::Erase, Some(position));
    }

    /// Ends what has had its time, and starts other commands. Returns whether an erasure is to be started.
    pub fn tend(&mut self) -> bool {
        self.end(|running| running.until <= Instant::now());
        while self.running.len() < AT_ONCE {
            if !self.is_erasing() && self.rng.u8(..3) == 0 {
                return true;
            }
            let kind = [Kind::Compact, Kind::Compact, Kind::Expire, Kind::Vacuum, Kind::Build, Kind::Build][self.rng.usize(..6)];
            self.start(kind, None);
        }
        false
    }

    /// Ends the commands that `is_due` says, and takes note of those that ended by themselves.
    fn end(&mut self, is_due: impl Fn(&Running) -> bool) {
        for mut running in std::mem::take(&mut self.running) {
            let ended = running.child.try_wait().expect("a process");
            if ended.is_none() && !is_due(&running) {
                self.running.push(running);
                continue;
            }
            if ended.is_none() {
                let _ = running.child.kill();
            }
            let status = running.child.wait().expect("a process");
            self.note(running, status);
        }
    }

    fn note(&mut self, mut running: Running, status: ExitStatus) {
        let ends = &mut self.ends[running.kind as usize];
        match status.code() {
            None => ends.killed += 1,
            Some(0) => ends.done += 1,
            Some(_) => ends.failed += 1,
        }
        if let Some(position) = running.erasure.filter(|_| status.success()) {
            self.erasures[position].is_complete = true;
        }
        // A vacuum says so by its exit code if there are files that a gateway has yet to commit, and an erasure if the gateway is
        // killed, or if files that nobody committed may have the events.
        // Others may be faster than a build each time: then it says nothing on standard error.
        let is_expected = !matches!(running.kind, Kind::Compact | Kind::Expire);
        if status.code().is_some_and(|code| code != 0) {
            let mut said = String::new();
            running.errors.rewind().expect("a file");
            running.errors.read_to_string(&mut said).expect("text");
            let is_build_fault = running.kind == Kind::Build && !said.trim().is_empty();
            if !is_expected || is_build_fault || said.contains("panicked") {
                self.faults.push(format!("{:?}: {said}", running.kind));
            }
        }
    }

    /// Kills all commands.
    pub fn kill(&mut self) {
        self.end(|_| true);
    }

    /// Waits until no command erases, because it may hold the data folder of a gateway. One that has had its time is killed.
    pub async fn until_none_erases(&mut self) {
        while self.is_erasing() {
            self.end(|running| running.until <= Instant::now());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Repeats the erasures that were cut off: each is complete then, or incomplete for a reason that has all of the texts
    /// `tolerated`, of which there are some. Returns how many there were.
    pub fn finish_erasures(&self, tolerated: &[&str]) -> usize {
        let mut repeated = 0;
        for erasure in self.erasures.iter().filter(|erasure| !erasure.is_complete) {
            let values = erasure.values.display().to_string();
            let report = self.run_in(&erasure.data, &["erase", "--where", "event_uuid", "--where-file", &values]);
            let reasons = report["incomplete"].to_string();
            let is_tolerated = !tolerated.is_empty() && tolerated.iter().all(|text| reasons.contains(text));
            assert!(reasons == "[]" || is_tolerated, "{report:#}");
            repeated += 1;
        }
        repeated
    }
}

impl Drop for LakeCommands {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Display for LakeCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, ends) in Kind::ALL.iter().zip(self.ends) {
            write!(f, "{kind:?} {} killed {} done {} failed; ", ends.killed, ends.done, ends.failed)?;
        }
        write!(f, "{} erasures of {} events", self.erasures.len(), self.erased.len())
    }
}

/// Makes the files of the lake at `root` two days old that nobody finished or committed, so that a vacuum may remove them.
pub fn age_leftovers(root: &Path) {
    for entry in fs::read_dir(root).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            age_leftovers(&path);
        } else if name.starts_with("rewritten-") || name.ends_with(".tmp") {
            let file = File::options().write(true).open(&path).expect("a file");
            file.set_modified(SystemTime::now() - Duration::from_secs(2 * 86_400)).expect("a time");
        }
    }
}

/// Erasures of a gateway that are not finished, and how many of them had come to the lake.
pub fn unfinished_erasures(data: &Path) -> (usize, usize) {
    let Ok(entries) = fs::read_dir(data.join("erasures")) else { return (0, 0) };
    let (mut unfinished, mut in_lake) = (0, 0);
    for path in entries.flatten().map(|entry| entry.path()) {
        if !path.to_string_lossy().ends_with(".request.json") {
            continue;
        }
        let report: Value = serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default();
        unfinished += 1;
        // Stored after the dead letters, before the lake.
        in_lake += usize::from(report["report"]["dead_letters"]["searched"].as_u64().is_some_and(|letters| letters > 0));
    }
    (unfinished, in_lake)
}
