//! The console: a web page for operators at `/` of their listener, and what it asks first.
//!
//! Its files are below `http/console/`: plain modules, without a build step and without code of others; only what is for readers of the
//! source alone, comments and indentation, is not sent. The page is the same for everybody. All that it shows it asks for, as any program may (`/admin/…`), and puts into the document as text, never as markup.
//!
//! What protects it, beside the guards of the listener (`operator.rs`):
//!
//! | danger | guard |
//! |---|---|
//! | a client's text becomes a script | no markup is ever parsed; the policy allows scripts from here only, none inline, and Trusted Types forbid the rest |
//! | a page of elsewhere frames it, opens it, or loads its files | `frame-ancestors 'none'`, opener and resource policies. Of `lakegate dev`, pages of this machine may frame it |
//! | a page of elsewhere makes a browser change something | `Sec-Fetch-Site` and `Origin`; and the console itself changes nothing unless configured |
//! | a page's own name points here (DNS rebinding) | `Host` |

use std::sync::{Arc, LazyLock};

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

use super::{
    Gate,
    cached::{Kept, answer},
    console_state::FirstEvent,
    operator,
    problem::{Problem, ProblemCode},
};
use crate::{digest::etag, json::quoted};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// The page.
const PAGE: &str = "index.html";

macro_rules! files {
    ($($content_type:ident $name:literal),* $(,)?) => {
        /// Every file: its name, its content type, and its text as written.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $content_type, include_str!(concat!("console/", $name)))),*];
    };
}

files! {
    HTML "index.html",
    ICON "icon.svg",
    STYLE "console.css",
    SCRIPT "main.js",
    SCRIPT "api.js",
    SCRIPT "dom.js",
    SCRIPT "format.js",
    SCRIPT "stream.js",
    SCRIPT "first.js",
    SCRIPT "event.js",
    SCRIPT "overview.js",
    SCRIPT "live.js",
    SCRIPT "rejections.js",
    SCRIPT "repair.js",
    SCRIPT "patch.js",
    SCRIPT "schemas.js",
    SCRIPT "find.js",
    SCRIPT "ledger.js",
    SCRIPT "keys.js",
    SCRIPT "fleet.js",
}

/// Sent with every file. `trusted-types 'none'` lets no script make markup of a text, in browsers that know it.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// The policy of a rig: an application that is made on this machine may show the console beside itself.
static RIG_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = HEADERS[0].1.replace("frame-ancestors 'none'", "frame-ancestors http://localhost:* http://127.0.0.1:*");
    HeaderValue::from_str(&policy).expect("ASCII")
});

/// `GET /`: the page.
pub(super) async fn page(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let mut response = send(PAGE, request)?;
    if gate.rig.is_some() {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, RIG_POLICY.clone());
        response.headers_mut().remove(header::X_FRAME_OPTIONS);
    }
    Ok(response)
}

/// `GET /console/{file}`: what the page is made of.
pub(super) async fn file(Path(name): Path<String>, request: Request) -> Result<Response, Problem> {
    send(&name, request)
}

/// A text without what is for readers of the source alone: indentation, and lines of scripts that are comments. No text in these files
/// goes over several lines.
fn served(content_type: &str, text: &str) -> String {
    let is_comment = |line: &str| content_type == SCRIPT && ["//", "/**", "* ", "*/"].iter().any(|mark| line.starts_with(mark));
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !is_comment(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A file as it is sent, and its `ETag`.
struct Served {
    text: Bytes,
    etag: String,
}

/// Every file, in the order of [`FILES`].
static SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| {
    let file = |(_, content_type, text): &(&str, &str, &str)| {
        let text = served(content_type, text);
        Served { etag: etag(&text), text: text.into() }
    };
    FILES.iter().map(file).collect()
});

fn send(name: &str, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    let Some(index) = FILES.iter().position(|(found, _, _)| *found == name) else {
        return Err(Problem::new(ProblemCode::NotFound, format!("the console has no file {}", quoted(name))));
    };
    let Served { text, etag } = &SERVED[index];
    let mut response = answer(&parts.headers, FILES[index].1, Kept::UntilAsked, etag, text.clone());
    response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Ok(response)
}

/// What the page must know at first.
#[derive(Serialize)]
struct Settings<'a> {
    version: &'static str,
    /// The identity of the gateway's spool: a replay names it.
    gateway: String,
    allow_changes: bool,
    shows_payloads: bool,
    /// How many other gateways are shown.
    fleet: usize,
    first_event: &'a FirstEvent,
}

/// `GET /admin/console`
pub(super) async fn settings(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    operator::authorize(&request.into_parts().0)?;
    let console = &gate.console;
    let settings = Settings {
        version: env!("CARGO_PKG_VERSION"),
        gateway: gate.ingest.spool.id().to_string(),
        allow_changes: console.allow_changes,
        shows_payloads: console.shows_payloads,
        fleet: console.fleet.len(),
        first_event: &console.first_event,
    };
    Ok(Json(settings).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONSOLE_BYTES_MAX;

    #[test]
    fn the_console_is_small_and_every_file_of_its_folder_is_served() {
        let bytes: usize = SERVED.iter().map(|served| served.text.len()).sum();
        assert!(bytes <= CONSOLE_BYTES_MAX, "{bytes} bytes of {CONSOLE_BYTES_MAX}");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/console");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.rsplit_once('.').is_some_and(|(_, extension)| ["js", "css", "html", "svg"].contains(&extension)))
            .collect();
        let mut served: Vec<String> = FILES.iter().map(|(name, _, _)| (*name).to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }

    #[test]
    fn nothing_in_the_console_parses_markup_or_names_another_host() {
        for (name, _, text) in FILES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "eval(",
                "new Function",
                " style=\"",
                " onclick",
            ] {
                assert!(!text.contains(word), "{name} has {word}");
            }
            // The namespace of SVG, and an example of an address.
            let known = ["http://www.w3.org/2000/svg", "http://10.0.0."];
            let foreign = text.match_indices("://").filter(|(at, _)| {
                let from = at.saturating_sub("http".len());
                !known.iter().any(|known| text[from..].starts_with(known))
            });
            assert_eq!(foreign.count(), 0, "{name} names an address");
        }
    }

    #[test]
    fn what_is_sent_lacks_comments_and_indentation_only() {
        let text = "// What it is for.\nconst a = 1; // one\n\n/**\n * @param {number} b\n */\nfunction f(b) {\n  /** @type {any} */\n  let c;\n}\n";
        assert_eq!(served(SCRIPT, text), "const a = 1; // one\nfunction f(b) {\nlet c;\n}\n");
        assert_eq!(served(STYLE, "* { x: y; }\n@media {\n  a {}\n}"), "* { x: y; }\n@media {\na {}\n}\n");
        for (name, _, text) in FILES.iter().filter(|(_, content_type, _)| *content_type == SCRIPT) {
            for line in text.lines().map(str::trim).filter(|line| line.starts_with("/**")) {
                assert!(line.ends_with("*/") || !line.contains("*/"), "{name} has code behind a comment: {line}");
            }
            // A backtick that is still open at the end of a line begins a text whose indentation counts.
            let is_closed = |line: &str| line.starts_with("//") || line.matches('`').count().is_multiple_of(2);
            assert!(text.lines().all(is_closed), "{name} has a text over several lines");
        }
    }
}
