//! Upkeep of a lake that is a table: compaction, retention, vacuum, and clean-up of its log.
//!
//! A gateway does it in the background (`run.rs`), and `lakegate lake compact|expire|vacuum` on request, also beside a running
//! gateway: the log arbitrates. Every change is one commit, and files that it wrote before are nobody's until then, so a kill at
//! any moment is harmless.
//!
//! - `plan.rs`: which files of a partition to merge, and when · `compact.rs`: merges them
//! - `retention.rs`: how long events are kept, by name · `expire.rs`: removes expired events
//! - `vacuum.rs`: removes files that the table does not have any more · `log_cleanup.rs`: removes old commits
//! - `typed_round.rs`: keeps the typed tables up (`typed.rs`)
//! - `lease.rs`: one gateway of a fleet does the upkeep of a lake in S3 · `run.rs`: all of it, again and again

mod compact;
mod expire;
mod lease;
mod log_cleanup;
mod plan;
mod retention;
mod rewrite;
mod run;
mod settings;
mod state;
mod typed_round;
mod vacuum;

pub use compact::{CompactRequest, Compacted};
pub use expire::Expired;
pub use log_cleanup::CleanedLog;
pub(super) use plan::{Rules, urgency};
pub use retention::{NameRetention, Retention};
pub(super) use rewrite::{Outcome, Rewrite, check_space};
pub use run::UpkeepRun;
pub use settings::UpkeepSettings;
pub use state::{Upkeep, UpkeepError};
pub use typed_round::TypedSettings;
pub use vacuum::{VacuumRequest, Vacuumed};
