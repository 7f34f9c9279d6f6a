//! `lakegate dev -- COMMAND`: the rig is there while a command runs, and ends with its exit code.

use std::{
    io,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, ExitStatus},
    sync::mpsc::{self, Receiver},
    thread,
};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// What a shell answers for a command that it cannot start.
const EXIT_NOT_STARTED: u8 = 127;
/// A shell adds the number of the signal that ended a command.
const EXIT_BY_SIGNAL: i32 = 128;

/// A command that runs beside the rig.
#[derive(Debug)]
pub(super) struct Beside {
    pid: Pid,
    ended: Receiver<io::Result<ExitStatus>>,
}

impl Beside {
    /// Starts it. It finds the rig by its environment: `LAKEGATE_DEV` for its questions, `LAKEGATE_URL` for its events, and
    /// `LAKEGATE_KEY`, if `key` is known. When it ends, this program is asked to stop, as by SIGTERM.
    ///
    /// # Errors
    ///
    /// The system cannot start it.
    pub(super) fn start(command: &[String], admin: SocketAddr, events_port: u16, key: Option<&str>) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env("LAKEGATE_DEV", format!("http://{admin}"));
        command.env("LAKEGATE_URL", format!("http://localhost:{events_port}/v1/events"));
        if let Some(key) = key {
            command.env("LAKEGATE_KEY", key);
        }
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let (tell, ended) = mpsc::channel();
        thread::Builder::new().name("command".to_owned()).spawn(move || {
            // It is received after the rig ended.
            let _ = tell.send(child.wait());
            ask_to_stop();
        })?;
        Ok(Self { pid, ended })
    }

    /// Its exit code. It is asked to end first, if the rig was stopped before it.
    pub(super) fn end(self) -> ExitCode {
        let ended = self.ended.try_recv().or_else(|_| {
            let _ = kill_process(self.pid, Signal::TERM);
            self.ended.recv()
        });
        let by_signal = |status: &ExitStatus| status.signal().map(|signal| EXIT_BY_SIGNAL + signal);
        let code = ended.ok().and_then(Result::ok).and_then(|status| status.code().or_else(|| by_signal(&status)));
        ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }
}

/// Asks this program to stop, as SIGTERM does.
fn ask_to_stop() {
    let _ = kill_process(getpid(), Signal::TERM);
}

/// Stops this program because its command cannot be started. Returns the exit code for that.
pub(super) fn not_started() -> ExitCode {
    ask_to_stop();
    ExitCode::from(EXIT_NOT_STARTED)
}
