//! The columns that the fields of an event have in a table: made from its schemas, used by the lake.

use serde::{Deserialize, Serialize};

/// The columns of one event name, over all versions of its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventColumns {
    /// The event name.
    pub event_name: String,
    /// The newest schema's description; may be empty.
    pub description: String,
    /// The fields, in the order in which the versions introduced them. The envelope's fields are not among them.
    pub columns: Vec<EventColumn>,
}

/// A field as a column, or a member of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventColumn {
    /// Name of the column: ASCII letters, digits and `_`; unique without regard to case. Two columns may be of one field: then
    /// its type changed, and the later column is named after the version that changed it.
    pub column: String,
    /// Name of the field in the JSON.
    pub field: String,
    /// The versions of the schema whose values the column takes, ascending. Empty for members of a struct.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<u32>,
    /// Its type.
    pub kind: FieldType,
    /// The newest description; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// `boolean`
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A double.
    Number,
    /// A decimal number, from `multipleOf`.
    Decimal {
        /// Digits in all, at most 38.
        precision: u8,
        /// Digits after the point, at most 18.
        scale: u8,
    },
    /// A string.
    Text,
    /// A string of the format `date-time`, as a time in UTC, in microseconds.
    Timestamp,
    /// A string of the format `date`.
    Date,
    /// Anything else: its JSON text.
    Json,
    /// An array whose elements have one type.
    List(Box<FieldType>),
    /// An object with known members.
    Struct(Vec<EventColumn>),
}
