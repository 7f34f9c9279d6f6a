//! The conditions: one list of everything that keeps events from being taken, stored, deduplicated, delivered or kept as dead
//! letters (promise P7).
//!
//! Whoever meets a fault raises its [`Condition`], and clears it when the fault is over. `/readyz` lists what is raised, the
//! gauge `lakegate_condition` shows it, one alert watches that gauge, and the log has one line for each beginning and each end.
//!
//! `descriptions` says of each what a person reads and does · `vital_tasks` raises [`Condition::PartEnded`] for a thread or task that died

mod descriptions;
mod list;
mod vital_tasks;

pub use list::{Condition, Conditions, Raised};
pub use vital_tasks::Vital;
