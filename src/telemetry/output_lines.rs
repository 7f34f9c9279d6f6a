//! Lines on standard output: of the access log, and of the metrics for CloudWatch. They share one thread and one queue, so that no
//! line breaks another one.

use std::{
    io::{self, Write},
    sync::Arc,
};

use prometheus_client::metrics::counter::Counter;

use super::line_writer::LineWriter;
use crate::limits::TELEMETRY_CLOSE_TIMEOUT;

/// Writes lines to standard output, without ever waiting for it.
#[derive(Clone, Debug)]
pub struct OutputLines(Arc<LineWriter>);

impl OutputLines {
    /// Starts writing to `output`; `dropped` counts the lines that it does not take in time.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(output: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        LineWriter::start("output", output, dropped).map(|lines| Self(Arc::new(lines)))
    }

    /// Adds a line with its end, or counts it as dropped.
    pub(super) fn add(&self, line: Vec<u8>) {
        self.0.add(line);
    }

    /// Why its lines are not written at the moment, if they are not.
    #[must_use]
    pub fn stalled(&self) -> Option<String> {
        self.0.stalled()
    }

    /// Whether its writer thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// Writes the queued lines, within [`TELEMETRY_CLOSE_TIMEOUT`]. Blocks.
    pub fn close(&self) {
        if !self.0.flush(TELEMETRY_CLOSE_TIMEOUT) {
            tracing::warn!("nobody read the last lines of standard output");
        }
    }
}
