//! What only `lakegate dev` has: every event kept for the tests of an application, and faults on request.
//!
//! A gateway of `lakegate serve` has no [`Rig`].

mod faults;
mod switched_sink;

use std::sync::Arc;

use crate::live_events::Recorder;
pub use faults::{Asked, Fault, FaultError, Faults};
pub use switched_sink::SwitchedSink;

/// See the module.
#[derive(Debug, Default)]
pub struct Rig {
    /// Keeps every event.
    pub recorder: Arc<Recorder>,
    /// The faults that were asked for.
    pub faults: Arc<Faults>,
}
