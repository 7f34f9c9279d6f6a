//! The event: its name, its time, and the record that is kept of it.
//!
//! An event is a JSON object that a client wrote. The gateway never rewrites it: beside the untouched bytes (the
//! *payload*) it keeps an [`Envelope`] of what it read from them and what it added. Both together are a [`Record`],
//! which is what the spool holds and a sink delivers.

mod created_at;
mod name;
mod record;
mod scope;

pub use created_at::{CreatedAt, CreatedAtError, CreatedDays, Date, IsoMillis, iso_millis, millis_of_iso, unix_millis};
pub use name::{EventName, EventNameError};
pub use record::{Envelope, Record, RecordError, probable_uuid};
pub use scope::ScopeSecret;

/// Fields that a client must send, in the order in which their absence is reported.
pub const REQUIRED_FIELDS: [&str; 3] = ["event_uuid", "event_name", "created_at"];

/// Fields that only the gateway writes. A client's own value for one of them is replaced (DESIGN.md, "The event").
pub const RESERVED_FIELDS: [&str; 6] =
    ["created_datetime", "event_type", "event_subtype", "received_datetime", "source", DEDUP_SCOPE_FIELD];

/// Field of an event whose identity holds within the scope of the key that sent it: the name of that key. Absent where the
/// event is in the scope that all server keys share. Reserved in every event, so that nobody can claim a scope.
pub const DEDUP_SCOPE_FIELD: &str = "dedup_scope";

/// Field of an event whose client's address is kept. Reserved only there, as the next one.
pub const CLIENT_ADDRESS_FIELD: &str = "client_address";

/// Field of a late event ([`Envelope::is_late`]) in the flat form: the day of its receipt. Reserved only there. The envelope
/// form and the lake have it for every event.
pub const CREATED_DATE_FIELD: &str = "created_date";

/// Field of an event that was accepted without asking the dedup store of the fleet; its value is then `unchecked`. Reserved
/// only there: every other event keeps a field of this name as its client wrote it.
pub const DEDUP_FIELD: &str = "dedup";
