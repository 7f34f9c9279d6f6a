//! One event in the stream's format, before it is packed into a record.

use super::place::HashKey;

/// An event in the stream's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the spool.
    pub seq: u64,
    /// Its partition key.
    pub key: Box<str>,
    /// The place of its key, or of the packed record that it goes into.
    pub place: HashKey,
    /// Its bytes, with a line end.
    pub data: Box<[u8]>,
    /// Whether an earlier call with this event got no response, so that it may be in the stream already.
    pub is_maybe_sent: bool,
}
