//! Where is my event? Everything that the gateway knows of one `event_uuid`.
//!
//! ```text
//! event_uuid ─▶ dedup window ─▶ number in the spool ─▶ ledger: when, which key, how each sink ended it
//!                                                  └▶ spool: the segment, while the event is there
//!            ─▶ dead letters: rejected, or refused by a sink; replayed since
//!            ─▶ lake: the file, the row group and the row
//! ```
//!
//! Nothing is kept for this on an event's way but what the dedup window and the ledger keep anyway. Each place is asked for
//! itself, and one that cannot be read is named in the answer instead of being passed over.

mod places;
mod story;

pub use places::{Finder, FinderLake};
pub use story::{Acceptance, InLake, InSink, InSpool, KnownSince, Rejection, SentAgain, Status, Story};
