//! One event in the form of the stream, before it is packed into a record.

use super::hash::HashKey;

/// An event in the stream's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the spool.
    pub seq: u64,
    /// Its partition key.
    pub key: Box<str>,
    /// Its place: that of its key, or of the packed record that it goes into.
    pub place: HashKey,
    /// Its bytes, with a line end.
    pub data: Box<[u8]>,
    /// Whether an earlier call with it got no answer, so that it may be in the stream already.
    pub is_maybe_sent: bool,
}
