//! Writes lines to an output that may have no reader: the log on standard error, and the access log on standard output.
//!
//! A pipe without a reader takes 64 KiB and then blocks its writer for ever. So loggers only add lines to a bounded queue,
//! and a thread writes them. If the queue is full, or the output does not take a line, the line is dropped and counted. No
//! request waits for it, and the program does not end because of it. Lines stay whole: a line that a full disk cut is
//! finished when there is space; if it cannot be finished, it is ended before the next line.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;

use crate::{
    fault::{FaultKind, Operation, Patience, Tries, fault_kind},
    limits::{LOG_BYTES_MAX, LOG_LINES_MAX, LOG_PAUSES, LOG_STALLED_AFTER},
};

/// A queue of lines and the thread that writes them. Dropping it ends the thread after all lines are written.
#[derive(Debug)]
pub(super) struct LineWriter {
    shared: Arc<Shared>,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A line was added, or the queue was closed.
    is_wanted: Condvar,
    /// A line was written or dropped.
    is_settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of the waiting lines.
    bytes: usize,
    /// Lines added in total, and how many of them were written or dropped.
    added: u64,
    settled: u64,
    /// When the write of the current line began.
    writing_since: Option<Instant>,
    /// Error of the last line, if the output did not take it.
    failing: Option<String>,
    /// No more lines will come.
    is_closed: bool,
    /// The thread has ended.
    has_ended: bool,
}

/// The output without std's buffer and lock, because other code that prints must not wait for a stuck line.
///
/// # Errors
/// If the system has no descriptor left.
pub fn own_output(output: impl AsFd) -> io::Result<File> {
    Ok(File::from(output.as_fd().try_clone_to_owned()?))
}

impl LineWriter {
    /// Starts writing to `output` on a thread with this name; `dropped` counts the lines that are not written.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(name: &str, output: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Writer { shared: shared.clone(), output, dropped: dropped.clone(), is_torn: false };
        thread::Builder::new().name(name.into()).spawn(move || writer.run())?;
        Ok(Self { shared, dropped })
    }

    /// Adds a line with its end, or counts it as dropped.
    pub(super) fn add(&self, line: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.waiting.len() >= LOG_LINES_MAX || state.bytes + line.len() > LOG_BYTES_MAX || state.has_ended {
            drop(state);
            self.dropped.inc();
            return;
        }
        state.bytes += line.len();
        state.added += 1;
        state.waiting.push_back(line);
        drop(state);
        self.shared.is_wanted.notify_one();
    }

    /// Waits until the lines added before are written or dropped, for at most `limit`. Returns whether they are.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let state = self.shared.lock();
        let until = state.added;
        let waited = self.shared.is_settled.wait_timeout_while(state, limit, |state| state.settled < until && !state.has_ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.settled >= until
    }

    /// Why lines are not written at the moment, if they are not.
    pub(super) fn stalled(&self) -> Option<String> {
        let state = self.shared.lock();
        let stuck = state.writing_since.map(|since| since.elapsed()).filter(|time| *time >= LOG_STALLED_AFTER);
        let why = match (&state.failing, stuck) {
            (Some(error), _) => error.clone(),
            (None, Some(time)) => format!("nobody has read it for {} s", time.as_secs()),
            (None, None) => return None,
        };
        Some(format!("{why}; {} lines are dropped so far, {} wait", self.dropped.get(), state.waiting.len()))
    }

    /// Whether the thread has ended. It does not end while lines may be added.
    pub(super) fn has_ended(&self) -> bool {
        self.shared.lock().has_ended
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.is_wanted.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer<W: Write> {
    shared: Arc<Shared>,
    output: W,
    dropped: Counter,
    /// The last line was written in part, and will never be complete.
    is_torn: bool,
}

impl<W: Write> Drop for Writer<W> {
    /// Also after a panic.
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.is_settled.notify_all();
    }
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        while let Some(line) = self.next() {
            let written = self.write(&line);
            if written.is_err() {
                self.dropped.inc();
            }
            let mut state = self.shared.lock();
            state.settled += 1;
            state.writing_since = None;
            state.failing = written.err().map(|error| error.to_string());
            drop(state);
            self.shared.is_settled.notify_all();
        }
    }

    fn next(&self) -> Option<Vec<u8>> {
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let state = self.shared.is_wanted.wait_while(self.shared.lock(), is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let line = state.waiting.pop_front()?;
        state.bytes -= line.len();
        state.writing_since = Some(Instant::now());
        Some(line)
    }

    /// Writes a whole line. Waits for an output that will take it later, such as a full disk, but not for one that is gone.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.output.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        let mut tries = Tries::default();
        while !rest.is_empty() {
            let error = match self.output.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    rest = &rest[count..];
                    tries.succeeded();
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let is_passing = matches!(fault_kind(&error, Operation::Write), FaultKind::Transient | FaultKind::NoSpace);
            if !is_passing || !self.pause(&error, &mut tries) {
                self.is_torn = rest.len() < line.len();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits before the next attempt. Returns false once the queue is closed.
    fn pause(&self, error: &io::Error, tries: &mut Tries) -> bool {
        const PATIENCE: Patience = Patience { first: LOG_PAUSES.0, longest: LOG_PAUSES.1, budget: Duration::MAX };
        let Some(pause) = tries.failed(&PATIENCE, Instant::now()) else { return false };
        let mut state = self.shared.lock();
        state.failing = Some(error.to_string());
        let waited = self.shared.is_wanted.wait_timeout_while(state, pause, |state| !state.is_closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Answers each write as the test says: a number of bytes, or an error.
    struct Told(mpsc::Receiver<io::Result<usize>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.0.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.1.lock().unwrap().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Answers = mpsc::Sender<io::Result<usize>>;

    fn told() -> (LineWriter, Answers, Arc<Mutex<Vec<u8>>>) {
        let (tell, answers) = mpsc::channel();
        let text = Arc::new(Mutex::new(Vec::new()));
        (LineWriter::start("lines", Told(answers, text.clone()), Counter::default()).unwrap(), tell, text)
    }

    #[test]
    fn an_output_that_nobody_reads_costs_lines_that_are_counted_and_no_time() {
        let (lines, tell, text) = told();
        let sent = 3 * LOG_LINES_MAX;
        for _ in 0..sent {
            lines.add(b"line\n".to_vec());
        }
        let dropped = lines.dropped.get();
        assert!(dropped >= 2 * LOG_LINES_MAX as u64 - 1, "{dropped}");
        assert!(!lines.flush(Duration::from_millis(1)));
        drop(tell);
        assert!(lines.flush(LIMIT) && lines.stalled().is_none());
        assert_eq!(*text.lock().unwrap(), b"line\n".repeat(sent - dropped as usize));
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_too() {
        let (lines, _tell, _) = told();
        for _ in 0..10 {
            lines.add(vec![b'x'; LOG_BYTES_MAX / 4]);
        }
        assert!(lines.dropped.get() >= 5, "{}", lines.dropped.get());
    }

    #[test]
    fn a_line_that_a_full_disk_cut_is_finished_and_one_that_cannot_be_is_ended() {
        let (lines, tell, text) = told();
        tell.send(Ok(2)).unwrap();
        tell.send(Err(rustix::io::Errno::NOSPC.into())).unwrap();
        tell.send(Ok(100)).unwrap();
        lines.add(b"first\n".to_vec());
        assert!(lines.flush(LIMIT));
        assert_eq!((text.lock().unwrap().as_slice(), lines.dropped.get()), (&b"first\n"[..], 0));
        tell.send(Ok(2)).unwrap();
        tell.send(Err(rustix::io::Errno::PIPE.into())).unwrap();
        lines.add(b"second\n".to_vec());
        assert!(lines.flush(LIMIT));
        assert!(lines.dropped.get() == 1 && lines.stalled().is_some());
        drop(tell);
        lines.add(b"third\n".to_vec());
        assert!(lines.flush(LIMIT) && lines.stalled().is_none());
        assert_eq!(text.lock().unwrap().as_slice(), b"first\nse\nthird\n");
    }

    #[test]
    fn a_writer_that_died_takes_nothing_more_and_nobody_waits_for_it() {
        struct Dies;
        impl Write for Dies {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                panic!("as the test wants it")
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = LineWriter::start("lines", Dies, Counter::default()).unwrap();
        lines.add(b"line\n".to_vec());
        assert!(!lines.flush(LIMIT) && lines.has_ended());
        lines.add(b"line\n".to_vec());
        assert_eq!(lines.dropped.get(), 1);
    }
}
