//! A server under test as a process of its own, ended by its own id.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

/// Time in which a server has to say that it is ready, on a busy machine too.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Time in which it has to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A running server. A reference server also ends when its standard input does, which is held here.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What it says, line by line.
    lines: mpsc::UnboundedReceiver<String>,
    said: Vec<String>,
}

/// Where a server talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talks {
    OnStdout,
    OnStderr,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(mut command: Command, talks: Talks) -> anyhow::Result<Self> {
        let (stdout, stderr) = match talks {
            Talks::OnStdout => (Stdio::piped(), Stdio::inherit()),
            Talks::OnStderr => (Stdio::null(), Stdio::piped()),
        };
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let lines = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => read(stdout),
            (_, Some(stderr)) => read(stderr),
            _ => bail!("one of them is piped"),
        };
        Ok(Self { child, lines, said: Vec::new() })
    }

    /// Waits for a line for which `found` has an answer.
    pub(crate) async fn wait_for<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let waiting = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(answer) = found(&line) {
                    return Some(answer);
                }
                self.said.push(line);
            }
            None
        };
        let answer = tokio::time::timeout(START_TIMEOUT, waiting).await.ok().flatten();
        answer.with_context(|| format!("the server did not come up:\n{}", self.said.join("\n")))
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and waits for its end, which has to be a good one.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("a process has an id")?;
        kill_process(id, Signal::TERM).context("the server was gone already")?;
        self.ended().await
    }

    /// The end of its input, and waits for its own: of a reference server.
    pub(crate) async fn end_of_input(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        self.ended().await
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            ensure!(asked.elapsed() < STOP_TIMEOUT, "the server did not stop");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its id is its own until it has been waited for.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read(said: impl Read + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            // Nobody listens any more: it must be read all the same, or the server would block.
            let _ = sender.send(line);
        }
    });
    lines
}
