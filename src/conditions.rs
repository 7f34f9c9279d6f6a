//! The conditions: one list of all faults that keep events from being accepted, stored, deduplicated, delivered or kept as
//! dead letters (promise P7).
//!
//! Code that meets a fault raises its [`Condition`], and clears it when the fault is over. `/readyz` lists the raised
//! conditions, the gauge `lakegate_condition` shows them, one alert watches that gauge, and the log has one line for each
//! beginning and each end.
//!
//! `descriptions`: meaning and action of each, for a person · `vital_tasks`: raises [`Condition::PartEnded`] for a thread or
//! task that died

mod descriptions;
mod list;
mod vital_tasks;

pub use list::{Condition, Conditions, Raised};
pub use vital_tasks::Vital;
