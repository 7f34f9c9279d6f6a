//! The event: its name, its time, and its stored record.
//!
//! An event is a JSON object that a client wrote. The gateway never rewrites it. Beside the unchanged bytes (the *payload*),
//! the gateway stores an [`Envelope`] with the fields that it read and added. Both together are a [`Record`], which the spool
//! holds and a sink delivers.

mod columns;
mod created_at;
mod created_at_error;
mod name;
mod record;
mod rfc3339;
mod scope;

pub use columns::{EventColumn, EventColumns, FieldType};
pub use created_at::{CreatedAt, CreatedDays, Date, IsoMillis, iso_millis, millis_of_iso, unix_millis};
pub use created_at_error::CreatedAtError;
pub use name::{EventName, EventNameError};
pub use record::{Envelope, Record, RecordError, RecordHead, probable_uuid};
pub use scope::ScopeSecret;

/// Required fields, in the order in which missing ones are reported.
pub const REQUIRED_FIELDS: [&str; 3] = ["event_uuid", "event_name", "created_at"];

/// Fields that only the gateway writes. A client's own value for one of them is replaced (docs/backend.md).
pub const RESERVED_FIELDS: [&str; 6] =
    ["created_datetime", "event_type", "event_subtype", "received_datetime", "source", DEDUP_SCOPE_FIELD];

/// Whether a member of an event is of the envelope, and no field of the event's own.
#[must_use]
pub fn is_of_envelope(name: &str) -> bool {
    name == "schema_version" || REQUIRED_FIELDS.contains(&name) || RESERVED_FIELDS.contains(&name)
}

/// Field with the scope of an event's identity: the name of the key that sent the event. Absent if the event is in the scope
/// that all server keys share. Reserved in every event, so that no client can claim a scope.
pub const DEDUP_SCOPE_FIELD: &str = "dedup_scope";

/// Field with the client's address, if the address is kept. Reserved only in such events, like the fields below.
pub const CLIENT_ADDRESS_FIELD: &str = "client_address";

/// Field of a late event ([`Envelope::is_late`]) in the flat form: the day of its receipt. Reserved only in late events. The
/// envelope form and the lake have this field for every event.
pub const CREATED_DATE_FIELD: &str = "created_date";

/// Field of an event that was accepted without asking the dedup store of the fleet, with the value `unchecked`. Reserved only
/// in such events: every other event keeps its client's field of this name.
pub const DEDUP_FIELD: &str = "dedup";
