//! The ledger: what happened to every event, minute by minute, so that it can be proved that nothing was lost.
//!
//! ```text
//! received + replayed = accepted + duplicate + rejected + retry          for each minute of receipt, key and event name
//! accepted = delivered + refused + lost + erased + skipped + dropped + spooled            for each minute and each sink
//! ```
//!
//! The way of the events leaves notes in memory ([`Ledger::accepted`], [`Ledger::answered`], and an observer of each sink's
//! progress). The ledger's own thread takes them every second, counts them, and commits them with the position up to which they
//! are counted (`writer.rs`). Each event has a number in the spool, and each sink a set of numbers that it has settled, so that
//! nothing is counted twice and nothing is left out, whenever the gateway is killed: see `start.rs`. The numbers of events also
//! answer where one event is: [`Ledger::accepted_event`].
//!
//! # What it costs
//!
//! Some hundred instructions for an accepted event: a look-up of its name, and its place in a run of like events. On disk some 4
//! bytes for an event that came alone and 1 for one of a batch, as long as the dedup window remembers it, and a row of about 1 KiB
//! for a minute of 100 event names, for [`LEDGER_DAYS`](crate::limits::LEDGER_DAYS).
//!
//! # Faults
//!
//! No event waits for its ledger. While it cannot be written, notes stay in memory, within a limit that costs keys and names, not
//! counts. A damaged ledger is set aside, and begins again. After a kill the answers of the last second that stored nothing
//! (`duplicate`, `rejected`, `retry`) are not counted. After a power cut the same holds, because each commit is durable.
//!
//! # The modules
//!
//! `names`: numbers for names · `accepted`, `notes`: what the events leave · `minutes`: which minute an event belongs to · `account`:
//! the account of a minute · `books`: what is counted · `start`: bringing it up to date · `encode`, `tables`, `store`, `reading`: on
//! disk · `shared`: what the thread and its callers share · `writer`: the thread · `handle`: the public side · `view`: for people

mod accepted;
mod account;
mod books;
mod encode;
mod handle;
mod minutes;
mod names;
mod notes;
mod reading;
mod shared;
mod start;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use accepted::AcceptedEvents;
pub use account::{Account, Answers, Endings};
pub use handle::Ledger;
pub use minutes::{TIMES, minute_of, minute_start, time_of};
pub use names::{KnownNames, LedgerNames, NameId, Names, OTHER};
pub use notes::Repeated;
pub use shared::LedgerConfig;
pub use tables::LedgerError;
pub use view::{AcceptedEvent, Detail, LedgerRows, MinuteRow, OTHER_NAMES, RepeatedEvent, SettledEvent, SinkRow, minute_text};
