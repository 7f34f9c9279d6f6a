//! A row of the lake.

/// One event of the lake, with every column and both partition values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the columns; see the module `lake`")]
pub struct LakeRow<'a> {
    pub event_uuid: &'a str,
    pub event_name: &'a str,
    pub event_type: &'a str,
    pub event_subtype: Option<&'a str>,
    pub source: &'a str,
    pub schema_version: Option<i32>,
    pub created_at: f64,
    /// `created_datetime`, Unix milliseconds.
    pub created_millis: i64,
    /// `received_datetime`, Unix milliseconds.
    pub received_millis: i64,
    pub created_date: &'a str,
    pub payload: &'a str,
    /// `None` also if the file has no such column.
    pub client_address: Option<&'a str>,
    /// `None` also if the file has no such column: the scope that all server keys share.
    pub dedup_scope: Option<&'a str>,
}
