//! The program under test as a process of its own. Every process is ended by its own id, also when a test panics.

use std::{
    fmt::Display,
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::{
    client::{Answer, Client, get_plain},
    kinesis::{KinesisServer, REGION, Service},
};

/// Held while a process starts: until then it has the sockets of the tests, so that nobody else can listen on their ports.
pub static STARTING: Mutex<()> = Mutex::new(());

/// Time in which a gateway has to come up, on a busy machine too.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How a gateway is started.
#[derive(Clone, Debug)]
pub struct Setup {
    pub data_dir: PathBuf,
    /// The same folder as the tests see it.
    seen_data_dir: PathBuf,
    config: Option<PathBuf>,
    schemas: PathBuf,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    output: Option<PathBuf>,
    listen: SocketAddr,
}

impl Setup {
    /// On `data_dir`, with the shipped schemas, ports of the system's choice, and no limit on events per second.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        let seen_data_dir = data_dir.clone();
        let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas").into();
        let setup = Self {
            data_dir,
            seen_data_dir,
            config: None,
            schemas,
            environment: Vec::new(),
            wrapper: Vec::new(),
            output: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        setup.set("rate_limit.events_per_second", 4_000_000_000_u32).set("rate_limit.events_burst", 4_000_000_000_u32)
    }

    /// With a configuration key such as `spool.quota_bytes`.
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        let variable = format!("LAKEGATE__{}", key.to_uppercase().replace('.', "__"));
        self.environment.retain(|(name, _)| *name != variable);
        self.environment.push((variable, value.to_string()));
        self
    }

    /// With `stream` of `server` as its sink.
    pub fn with_stream(self, server: &KinesisServer, stream: &str) -> Self {
        self.with_stream_of(Service::Kinesis, server, stream)
    }

    /// With `stream` of a service of `server` as its sink.
    pub fn with_stream_of(self, service: Service, server: &KinesisServer, stream: &str) -> Self {
        self.set("sink.kind", service.name()).set(&format!("{}.stream", service.name()), stream).reaching(server)
    }

    /// With what it takes to reach `server`.
    pub fn reaching(self, server: &KinesisServer) -> Self {
        let setup = Service::BOTH.into_iter().fold(self, |setup, service| {
            let key = |key: &str| format!("{}.{key}", service.name());
            setup.set(&key("endpoint"), server.url()).set(&key("region"), REGION)
        });
        let credentials =
            [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_EC2_METADATA_DISABLED", "true")];
        credentials.into_iter().fold(setup, |setup, (name, value)| setup.variable(name, value))
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a configuration file.
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(file.into());
        self
    }

    /// With its standard output in a file.
    pub fn output(mut self, file: impl Into<PathBuf>) -> Self {
        self.output = Some(file.into());
        self
    }

    /// Takes events at an address that it keeps over restarts.
    pub fn listening(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// With a registry of its own.
    pub fn schemas(mut self, folder: impl Into<PathBuf>) -> Self {
        self.schemas = folder.into();
        self
    }

    /// Started by another program, which must replace itself by the gateway, and which sees the data at another path.
    pub fn through(mut self, wrapper: Vec<String>, seen_data_dir: PathBuf) -> Self {
        (self.wrapper, self.seen_data_dir) = (wrapper, seen_data_dir);
        self
    }

    /// A command of the program with these arguments, on the same data and with the same configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(arguments).arg("--data-dir").arg(&self.data_dir);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
            command.env_remove(variable);
        }
        command.envs(self.environment.iter().cloned()).env("LAKEGATE__SCHEMAS__DIR", &self.schemas).stdin(Stdio::null());
        command
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&self) -> Gateway {
        let words = self.wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_lakegate")]);
        let words: Vec<&str> = words.collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["serve", "--listen", &self.listen.to_string(), "--admin", "127.0.0.1:0"]);
        command.arg("--schemas").arg(&self.schemas);
        command.arg("--data-dir").arg(&self.data_dir);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
            command.env_remove(variable);
        }
        command.envs(self.environment.iter().cloned());
        let output = self.output.as_ref().map(|file| File::create(file).expect("a file"));
        command.stdin(Stdio::null()).stdout(output.map_or_else(Stdio::null, Stdio::from)).stderr(Stdio::piped());
        let mut child = {
            let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            command.spawn().expect("the gateway can be started")
        };
        let stderr = child.stderr.take().expect("piped above");
        let (sender, log) = watch::channel(Log::default());
        let hearing = Arc::new((Mutex::new(Hearing::On), Condvar::new()));
        let heard = hearing.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sender.send_modify(|log| log.take(line));
                let (hearing, changed) = &*heard;
                let hearing = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                let held = changed.wait_while(hearing, |hearing| *hearing == Hearing::Held);
                if *held.unwrap_or_else(PoisonError::into_inner) == Hearing::Gone {
                    return;
                }
            }
            sender.send_modify(|log| log.ended = true);
        });
        let certificate = self.seen_data_dir.join("tls/cert.pem");
        Gateway { child, log, hearing, certificate, started: Instant::now(), exit: None }
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.ready().await;
        gateway
    }
}

/// What the process said on standard error so far.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    events: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    ready: bool,
    ended: bool,
}

impl Log {
    fn take(&mut self, line: String) {
        let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let message = json["message"].as_str().unwrap_or_default();
        let address = |prefix: &str, suffix: &str| message.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
        self.events = self.events.or_else(|| address("events: POST https://", "/v1/events"));
        self.events = self.events.or_else(|| address("events: POST http://", "/v1/events"));
        self.admin = self.admin.or_else(|| address("metrics: http://", "/metrics"));
        self.ready |= message == "ready";
        self.lines.push(line);
    }
}

/// Whether somebody reads standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    On,
    /// Not for now.
    Held,
    /// The pipe is closed after the next line.
    Gone,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    log: watch::Receiver<Log>,
    hearing: Arc<(Mutex<Hearing>, Condvar)>,
    certificate: PathBuf,
    started: Instant,
    exit: Option<ExitStatus>,
}

impl Gateway {
    /// Waits until it takes events; panics with its log where it ends instead.
    pub async fn ready(&mut self) {
        let ready = self.log.wait_for(|log| log.ready || log.ended);
        let is_ready = matches!(tokio::time::timeout(START_LIMIT, ready).await, Ok(Ok(log)) if log.ready);
        assert!(is_ready, "the gateway did not come up:\n{}", self.log_text());
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time since it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where events are taken.
    pub fn events(&self) -> SocketAddr {
        self.log.borrow().events.expect("it is ready")
    }

    /// Where operators look.
    pub fn admin(&self) -> SocketAddr {
        self.log.borrow().admin.expect("it is ready")
    }

    /// A client that trusts its certificate and sends the key `dev`.
    pub fn client(&self) -> Client {
        Client::trusting(&self.certificate, self.events())
    }

    /// Whether somebody reads what it logs, after the next line.
    pub fn hear(&self, hearing: Hearing) {
        *self.hearing.0.lock().unwrap_or_else(PoisonError::into_inner) = hearing;
        self.hearing.1.notify_all();
    }

    /// All that it logged.
    pub fn log_text(&self) -> String {
        self.log.borrow().lines.join("\n")
    }

    /// Whether a line that it logged holds `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        self.log.borrow().lines.iter().any(|line| line.contains(text))
    }

    /// How many lines that it logged hold `text`.
    pub fn times_logged(&self, text: &str) -> usize {
        self.log.borrow().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until at least so many lines that it logged hold `text`, and says how many do. A thread of its own writes the log,
    /// so that a line may come after what it tells of.
    pub async fn until_logged(&self, text: &str, times: usize) -> usize {
        let is_logged = async || self.times_logged(text) >= times;
        super::eventually(&format!("{times} lines of the log hold {text:?}"), Duration::from_secs(10), is_logged).await;
        self.times_logged(text)
    }

    /// What `/readyz` answers.
    pub async fn readiness(&self) -> Answer {
        get_plain(self.admin(), "/readyz").await.expect("operators are answered")
    }

    /// Waits until `/readyz` gives a reason that holds `text`, or, where it is empty, no reason at all.
    pub async fn until_reason(&self, text: &str, limit: Duration) -> Answer {
        let mut answer = self.readiness().await;
        super::eventually(&format!("/readyz says {text:?}"), limit, async || {
            answer = self.readiness().await;
            let reasons = answer.json()["reasons"].to_string();
            if text.is_empty() { reasons == "[]" } else { reasons.contains(text) }
        })
        .await;
        answer
    }

    fn signal(&self, signal: Signal) {
        assert!(self.exit.is_none(), "its process id is no longer its own");
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("its process is there until it is waited for");
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.exit = Some(self.child.wait().expect("a child can be waited for"));
    }

    /// SIGTERM; waits for nothing.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT; waits for nothing.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGHUP; waits for nothing.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Whether its process is still there.
    pub fn is_running(&mut self) -> bool {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("a child can be waited for");
        }
        self.exit.is_none()
    }

    /// Waits for its end and for all of its log, and answers its exit code: 128 and the signal where one ended it.
    pub async fn exit_code(&mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let started = Instant::now();
        while self.is_running() {
            assert!(started.elapsed() < limit, "it did not end within {limit:?}:\n{}", self.log_text());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let _ = tokio::time::timeout(limit, self.log.wait_for(|log| log.ended)).await;
        let exit = self.exit.expect("it ended");
        exit.code().unwrap_or_else(|| 128 + exit.signal().unwrap_or(0))
    }

    /// SIGTERM, and waits for the graceful end.
    pub async fn stop(mut self) {
        self.terminate();
        let code = self.exit_code(Duration::from_secs(60)).await;
        assert_eq!(code, 0, "{}", self.log_text());
    }

    /// Memory of the process: resident now, and at most so far. In MiB.
    pub fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("/proc is there");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_matches([':', '\t', ' ', 'k', 'B']).parse::<f64>().expect("a number of kB") / 1024.0
        };
        Memory { now: field("VmRSS"), most: field("VmHWM") }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
    }
}

/// MiB of a process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub now: f64,
    pub most: f64,
}
