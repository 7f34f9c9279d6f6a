//! `GET /errors`: every code with its meaning and what to do, as a page for people. The `type` of each problem links to it.
//!
//! The page comes from the same lists as `lakegate errors`. It is made once, has no scripts, and loads nothing.

use std::{collections::HashSet, fmt::Write, sync::LazyLock};

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    cached::{Kept, answer},
    problem::{Problem, ProblemCode},
};
use crate::{
    conditions::Condition,
    digest::etag,
    outcome::{RejectCode, RetryCause},
};

/// The contract, as it was when the gateway was built.
const CONTRACT: &str = include_str!("../../openapi.yaml");

/// The style sheet. Text has a contrast of at least 7:1, links of at least 4.5:1, in both colour schemes (WCAG AA).
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:70rem;color:#1b1f24;background:#fff}\
a{color:#0b57d0}code{font-family:ui-monospace,monospace;overflow-wrap:anywhere}\
div{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #767b82}\
tr:target{background:#fff3bf}\
@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#15181c}a{color:#9ecbff}tr:target{background:#4a3f10}}";

/// A page or a file that never changes while the gateway runs.
struct Document {
    text: Bytes,
    etag: String,
}

impl Document {
    fn new(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self { etag: etag(&text), text }
    }
}

/// Sends the page.
pub(super) async fn errors(headers: HeaderMap) -> Response {
    static PAGE: LazyLock<Document> = LazyLock::new(|| Document::new(page()));
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    });
    let mut response = answer(&headers, "text/html; charset=utf-8", Kept::UntilAsked, &PAGE.etag, PAGE.text.clone());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Sends `openapi.yaml`.
pub(super) async fn contract(headers: HeaderMap) -> Response {
    static FILE: LazyLock<Document> = LazyLock::new(|| Document::new(Bytes::from_static(CONTRACT.as_bytes())));
    answer(&headers, "application/yaml; charset=utf-8", Kept::UntilAsked, &FILE.etag, FILE.text.clone())
}

fn page() -> String {
    let mut page = Page { html: String::new(), ids: HashSet::new() };
    let _ = write!(
        page.html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Lakegate: codes</title><style>{STYLE}</style></head>\
         <body><main><h1>Codes</h1><p>The codes are stable: match on them, and not on the texts beside them. \
         <a href=\"/openapi.yaml\">The contract</a> describes every answer.</p>"
    );
    let mut problems = ProblemCode::ALL;
    problems.sort_by_key(|code| (code.parts().0.as_u16(), code.as_str()));
    page.table(
        "Of a request",
        "As `application/problem+json`. Nothing of the request was taken, unless it has counts and `results`.",
        &["code", "status", "meaning", "what to do", "send it again?"],
        problems.iter().map(|code| {
            let (status, name, title) = code.parts();
            let again = if Problem::may_be_repeated(*code) { "yes, later" } else { "not as it is" };
            (name, vec![status.as_u16().to_string(), title.to_owned(), code.advice().to_owned(), again.to_owned()])
        }),
    );
    page.table(
        "Of a rejected event",
        "In `results`. The event is in the dead letters; do not send it again as it is.",
        &["code", "meaning", "what to do"],
        RejectCode::IN_ANSWERS
            .iter()
            .chain(&[RejectCode::ConflictingDuplicate])
            .map(|code| (code.as_str(), vec![code.meaning().to_owned(), code.advice().to_owned()])),
    );
    page.table(
        "Of an event to send again",
        "In `results`, with the status `retry`. Send the event again after `Retry-After`, with the same `event_uuid`.",
        &["code", "meaning"],
        RetryCause::ALL.iter().map(|cause| (cause.as_str(), vec![cause.detail().to_owned()])),
    );
    page.table(
        "Of the gateway",
        "In `reasons` of `/readyz`, until it is over. While one that blocks holds, no event is stored.",
        &["code", "blocks", "meaning", "what a person does"],
        Condition::ALL.iter().map(|condition| {
            let blocks = if condition.blocks() { "yes" } else { "no" };
            (condition.code(), vec![blocks.to_owned(), condition.meaning().to_owned(), condition.action().to_owned()])
        }),
    );
    page.html.push_str("</main></body></html>\n");
    page.html
}

struct Page {
    html: String,
    /// The anchors so far. A code that stands in several tables has its plain anchor in the first.
    ids: HashSet<String>,
}

impl Page {
    fn table(&mut self, title: &str, lead: &str, head: &[&str], rows: impl Iterator<Item = (&'static str, Vec<String>)>) {
        let _ = write!(self.html, "<h2>{title}</h2><p>{}</p><div><table><thead><tr>", inline(lead));
        for name in head {
            let _ = write!(self.html, "<th scope=\"col\">{name}</th>");
        }
        self.html.push_str("</tr></thead><tbody>");
        for (code, cells) in rows {
            let mut id = code.to_owned();
            while !self.ids.insert(id.clone()) {
                id.insert_str(0, "also-");
            }
            let _ = write!(self.html, "<tr id=\"{id}\"><th scope=\"row\"><a href=\"#{id}\"><code>{code}</code></a></th>");
            for cell in cells {
                let _ = write!(self.html, "<td>{}</td>", inline(&cell));
            }
            self.html.push_str("</tr>");
        }
        self.html.push_str("</tbody></table></div>");
    }
}

/// Text with `code` in backticks, as HTML.
fn inline(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut html = String::new();
    for (index, part) in escaped.split('`').enumerate() {
        let _ = if index % 2 == 1 { write!(html, "<code>{part}</code>") } else { write!(html, "{part}") };
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_an_anchor_for_each_code_and_each_anchor_once() {
        let page = page();
        let codes = ProblemCode::ALL.map(ProblemCode::as_str).into_iter();
        let codes = codes.chain(RejectCode::IN_ANSWERS.map(RejectCode::as_str));
        let codes = codes.chain(RetryCause::ALL.map(RetryCause::as_str)).chain(Condition::ALL.map(Condition::code));
        for code in codes {
            assert_eq!(page.matches(&format!("id=\"{code}\"")).count(), 1, "{code}");
        }
        let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert!(!page.contains("<script") && !page.contains('`') && !page.contains("style=\""), "{page}");
        assert_eq!(inline("a `<b>` & `c`"), "a <code>&lt;b&gt;</code> &amp; <code>c</code>");
    }

    /// The relative luminance of a colour (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let digits = if colour.len() == 3 { colour.chars().flat_map(|digit| [digit; 2]).collect() } else { colour.to_owned() };
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    #[test]
    fn text_and_links_have_the_contrast_of_wcag_aa_in_both_schemes() {
        // Text, link, page, marked row.
        for [text, link, page, marked] in [["1b1f24", "0b57d0", "fff", "fff3bf"], ["e8eaed", "9ecbff", "15181c", "4a3f10"]] {
            for colour in [text, link, page, marked] {
                assert!(STYLE.contains(&format!("#{colour}")), "{colour}");
            }
            for (front, back) in [(text, page), (link, page), (text, marked), (link, marked)] {
                let (a, b) = (luminance(front).max(luminance(back)), luminance(front).min(luminance(back)));
                assert!((a + 0.05) / (b + 0.05) >= 4.5, "{front} on {back}");
            }
        }
    }
}
