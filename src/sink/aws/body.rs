//! Writes the body of a call directly, in the API's JSON protocol, because the SDK copies every event three times.

use base64::{
    Engine as _,
    engine::{general_purpose::PAD, simd::Simd},
};

use crate::json::needs_no_escapes;

/// A body that is being written (`application/x-amz-json-1.1`).
pub(in crate::sink) struct JsonBody {
    bytes: Vec<u8>,
    base64: Simd,
}

impl JsonBody {
    /// An empty body with capacity for `data_bytes` bytes of data and `other_bytes` of all else.
    pub(in crate::sink) fn with_capacity(data_bytes: usize, other_bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(data_bytes * 4 / 3 + other_bytes), base64: Simd::standard(PAD) }
    }

    /// Appends `text`, which is JSON or a part of it.
    pub(in crate::sink) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends `data` as base64, without quotes.
    pub(in crate::sink) fn push_base64(&mut self, data: &[u8]) {
        let start = self.bytes.len();
        self.bytes.resize(start + data.len().div_ceil(3) * 4, 0);
        let written = self.base64.encode_slice(data, &mut self.bytes[start..]);
        debug_assert_eq!(written, Ok(self.bytes.len() - start));
    }

    /// Appends `text` as a JSON string, with quotes.
    pub(in crate::sink) fn push_text(&mut self, text: &str) {
        if needs_no_escapes(text) {
            for part in ["\"", text, "\""] {
                self.push(part);
            }
            return;
        }
        // A string written to memory cannot fail.
        let written = serde_json::to_writer(&mut self.bytes, text);
        debug_assert!(written.is_ok());
    }

    /// The body.
    pub(in crate::sink) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
