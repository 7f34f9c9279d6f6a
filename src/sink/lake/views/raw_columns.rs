//! The columns of `events_raw`, and how they are selected from the files.

use super::{names::quoted, request::Dialect};
use crate::sink::lake::columns::{CLIENT_ADDRESS, DEDUP_SCOPE};

/// The columns of `events_raw`, partitions included: these, then optionally [`CLIENT_ADDRESS`], and [`DEDUP_SCOPE`].
const RAW_COLUMNS: [&str; 12] = [
    "event_uuid",
    "event_name",
    "event_type",
    "event_subtype",
    "source",
    "schema_version",
    "created_at",
    "created_datetime",
    "received_datetime",
    "created_date",
    IS_LATE,
    "payload",
];

/// A column that no file has, computed from two others. An event may have a field of the same name.
pub(super) const IS_LATE: &str = "is_late";

impl Dialect {
    /// The day of a time, in the type of `created_date`: Athena prunes the folders of a range only if it is a text.
    fn day_of(self, column: &str) -> String {
        match self {
            Self::Duckdb => format!("CAST({column} AS date)"),
            Self::Athena => format!("CAST(CAST({column} AS date) AS varchar)"),
        }
    }

    /// The SELECT list of `events_raw` for files in dated folders.
    pub(super) fn selected(self, columns: &[&str]) -> String {
        list(columns, |name| (name == IS_LATE).then(|| format!("created_date <> {}", self.day_of("created_datetime"))))
    }

    /// The same, for files in `created_date=late`.
    pub(super) fn selected_late(self, columns: &[&str]) -> String {
        list(columns, |name| match name {
            "created_date" => Some(self.day_of("received_datetime")),
            IS_LATE => Some("true".to_owned()),
            _ => None,
        })
    }
}

/// The columns of a SELECT; `made` computes some of them.
fn list(columns: &[&str], made: impl Fn(&str) -> Option<String>) -> String {
    let column = |name: &&str| match made(name) {
        Some(value) => format!("{value} AS {}", quoted(name)),
        None => quoted(name),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

pub(super) fn raw_columns(has_addresses: bool) -> Vec<&'static str> {
    RAW_COLUMNS.into_iter().chain(has_addresses.then_some(CLIENT_ADDRESS)).chain([DEDUP_SCOPE]).collect()
}

/// What a column means, as Glue shows it.
pub(in crate::sink::lake) fn comment(name: &str) -> &'static str {
    match name {
        "event_uuid" => "UUID that the sender gave the event; the same event sent again has the same one.",
        "event_name" => "Name of the event, such as menu:item:viewed.",
        "event_type" => "First part of event_name.",
        "event_subtype" => "Second part of event_name.",
        "source" => "Name of the key that sent the event.",
        "schema_version" => "Version of the schema that accepted the event.",
        "created_at" => "When the sender says that the event happened: Unix time in seconds.",
        "created_datetime" => "created_at as a time, UTC.",
        "received_datetime" => "When the gateway received the event, UTC.",
        "created_date" => "Day of created_datetime (UTC); of received_datetime if the event is late.",
        IS_LATE => "Whether created_date is the day of receipt, because the event came too late or was dated ahead.",
        "payload" => "The event as its sender wrote it: JSON.",
        CLIENT_ADDRESS => "Address of the client, as [privacy] allows.",
        DEDUP_SCOPE => "Scope of event_uuid for events of browser keys; NULL for server keys.",
        _ => "",
    }
}
