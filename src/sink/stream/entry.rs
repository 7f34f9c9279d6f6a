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
    /// Its headers, if the stream has any, and its bytes.
    pub data: Box<[u8]>,
    /// Bytes of the headers.
    pub headers_bytes: u32,
    /// Whether an earlier call with this event got no response, so that it may be in the stream already.
    pub is_maybe_sent: bool,
}

impl Entry {
    /// Its headers, in the form of the stream.
    #[must_use]
    pub fn headers(&self) -> &[u8] {
        &self.data[..self.headers_bytes as usize]
    }

    /// Its bytes without the headers.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.data[self.headers_bytes as usize..]
    }
}
