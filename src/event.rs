//! The event: its name, its time, and the record that is kept of it.
//!
//! An event is a JSON object that a client wrote. The gateway never rewrites it: beside the untouched bytes (the
//! *payload*) it keeps an [`Envelope`] of what it read from them and what it added. Both together are a [`Record`],
//! which is what the spool holds and a sink delivers.

mod created_at;
mod name;
mod record;

pub use created_at::{CreatedAt, CreatedAtError, Date, IsoMillis, iso_millis, millis_of_iso, partition_date, unix_millis};
pub use name::{EventName, EventNameError};
pub use record::{Envelope, Record, RecordError};

/// Fields that a client must send, in the order in which their absence is reported.
pub const REQUIRED_FIELDS: [&str; 3] = ["event_uuid", "event_name", "created_at"];

/// Fields that only the gateway writes. A client's own value for one of them is replaced (DESIGN.md, "The event").
pub const RESERVED_FIELDS: [&str; 5] = ["created_datetime", "event_type", "event_subtype", "received_datetime", "source"];

/// Field of an event whose client's address is kept. Reserved only there, as the next one.
pub const CLIENT_ADDRESS_FIELD: &str = "client_address";

/// Field of an event that was accepted without asking the dedup store of the fleet; its value is then `unchecked`. Reserved
/// only there: every other event keeps a field of this name as its client wrote it.
pub const DEDUP_FIELD: &str = "dedup";
