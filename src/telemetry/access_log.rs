//! One line of JSON for each request, on standard output.
//!
//! It contains no query, header, body or address, so it cannot contain a key. Client text (path, user agent, request id) is
//! truncated, and every byte that is not plain ASCII is escaped, so that no line can be broken or forged. A separate thread
//! writes ([`OutputLines`]): if nobody reads the output, lines are dropped and counted, and no request waits.

use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use serde::Serialize;

use super::output_lines::OutputLines;
use crate::limits::ACCESS_LOG_TEXT_BYTES_MAX;

/// Characters escaped besides non-ASCII: those that end a line or move a terminal's cursor, the quote, and the backslash that
/// begins an escape.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'"').add(b'\\');

/// A request that was answered.
#[derive(Debug)]
pub struct AccessLine<'a> {
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Its method.
    pub method: &'static str,
    /// The route's pattern.
    pub route: &'static str,
    /// Its path, without the query.
    pub path: &'a str,
    /// The protocol's version.
    pub version: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// The code of the answer, if it is a problem.
    pub code: Option<&'static str>,
    /// `Content-Length` of the request.
    pub request_bytes: Option<u64>,
    /// Bytes of the answer's body.
    pub response_bytes: Option<u64>,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// Its id.
    pub request_id: &'a str,
    /// The trace that the request is part of.
    pub trace_id: Option<String>,
}

/// The JSON that is written.
#[derive(Serialize)]
struct Written<'a> {
    time: String,
    method: &'a str,
    route: &'a str,
    path: String,
    http: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

/// Truncates and escapes the text.
fn plain(text: &[u8]) -> String {
    percent_encode(&text[..text.len().min(ACCESS_LOG_TEXT_BYTES_MAX)], ESCAPED).to_string()
}

impl AccessLine<'_> {
    /// The line, with its line end.
    fn write(self) -> Vec<u8> {
        let millis = i64::try_from(self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis());
        let written = Written {
            time: jiff::Timestamp::from_millisecond(millis.unwrap_or(0)).unwrap_or_default().to_string(),
            method: self.method,
            route: self.route,
            path: plain(self.path.as_bytes()),
            http: self.version,
            status: self.status,
            code: self.code,
            duration_ms: (self.took.as_secs_f64() * 1e6).round() / 1e3,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            user_agent: self.user_agent.map(plain),
            request_id: self.request_id,
            trace_id: self.trace_id,
        };
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The access log.
#[derive(Debug)]
pub struct AccessLog(OutputLines);

impl AccessLog {
    /// Writes to these lines.
    #[must_use]
    pub fn new(lines: OutputLines) -> Self {
        Self(lines)
    }

    /// Adds a line, or counts it as dropped.
    pub fn write(&self, line: AccessLine<'_>) {
        self.0.add(line.write());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> AccessLine<'static> {
        AccessLine {
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_111_203_500),
            took: Duration::from_micros(1234),
            method: "POST",
            route: "/v1/events",
            path: "/v1/events",
            version: "HTTP/2",
            status: 202,
            code: None,
            request_bytes: Some(7),
            response_bytes: None,
            user_agent: None,
            request_id: "id",
            trace_id: None,
        }
    }

    fn line(path: &str, user_agent: &[u8]) -> Vec<u8> {
        AccessLine { path, user_agent: Some(user_agent), ..example() }.write()
    }

    #[test]
    fn no_text_of_a_client_breaks_or_forges_a_line_and_none_is_long() {
        // A line end, Unicode line ends, a terminal escape, and the end of a JSON string.
        let hostile = "/x\r\n{\"status\":200}\u{2028}\u{85}\u{1b}[2J";
        let written = line(hostile, b"curl\xff\n");
        let text = String::from_utf8(written).unwrap();
        assert!(text.is_ascii() && text.bytes().filter(u8::is_ascii_control).eq([b'\n']), "{text:?}");
        let line_read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line_read["path"], "/x%0D%0A{%22status%22:200}%E2%80%A8%C2%85%1B[2J");
        assert_eq!(line_read["user_agent"], "curl%FF%0A");
        assert_eq!((line_read["time"].as_str(), &line_read["duration_ms"]), (Some("2026-11-19T18:00:03.5Z"), &1.234.into()));
        let long = line(&"\u{1}".repeat(100_000), &[1; 100_000]);
        assert!(long.len() < 4096, "{} bytes", long.len());
    }
}
