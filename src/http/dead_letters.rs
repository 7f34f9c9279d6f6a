//! `/admin/dead-letters…`: what `lakegate dead-letters` asks of a gateway that runs.

use std::{
    io,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    Gate, body, operator,
    operator_turns::Turn,
    problem::{Problem, ProblemCode},
    run_to_completion::RunToCompletion,
};
use crate::{
    dead_letters::{Filter, Grouped},
    event::unix_millis,
    json::Patch,
    limits::{LETTERS_SHOWN_BYTES_MAX, OPERATOR_ANSWER_TIMEOUT},
    repair::{Letters, RepairError, Replay, Shown, visit_shown},
};

#[derive(Serialize)]
struct List {
    #[serde(flatten)]
    grouped: Grouped,
    unreadable_lines: u64,
}

/// The letters in groups.
pub(super) async fn list(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    let query = Query::read(&parts)?;
    let turn = gate.turns.look()?;
    let archive = gate.repair.archive().clone();
    let found = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        archive.groups(&query.filter)
    })
    .await;
    let (groups, survey) = found.map_err(std::io::Error::other).and_then(|found| found).map_err(RepairError::Disk)?;
    Ok(Json(List { grouped: groups.finish(), unreadable_lines: survey.unreadable_lines }).into_response())
}

/// Some letters, whole, as they are read: no more than a few are in memory.
pub(super) async fn show(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    let query = Query::read(&parts)?;
    let turn = gate.turns.look()?;
    let archive = gate.repair.archive().clone();
    let (pieces, mut received) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let mut answer = LettersAnswer::new(pieces);
        let read = visit_shown(&archive, &query.filter, query.limit, &mut |letter| answer.letter(&letter));
        // Before the end is sent: who has the whole answer may ask again at once.
        std::mem::drop(turn);
        answer.finish(read);
    });
    // Whether the disk can be read shows with the first letter, in time for another status.
    let first = received.recv().await.unwrap_or_else(|| Err(io::Error::other("the letters could not be read")));
    let body = Body::new(Received { first: Some(first.map_err(RepairError::Disk)?), rest: received, is_whole: false });
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// A part of an answer. One of which the last part never comes breaks off: it must not look whole.
enum Piece {
    Begun(Bytes),
    Last(Bytes),
}

/// `{"letters":[…],"truncated":false}`, written letter by letter for a client that reads it in time.
struct LettersAnswer {
    pieces: mpsc::Sender<io::Result<Piece>>,
    deadline: Instant,
    bytes: usize,
    /// What is sent with the next piece.
    text: Vec<u8>,
    is_truncated: bool,
}

impl LettersAnswer {
    fn new(pieces: mpsc::Sender<io::Result<Piece>>) -> Self {
        let deadline = Instant::now() + OPERATOR_ANSWER_TIMEOUT;
        Self { pieces, deadline, bytes: 0, text: b"{\"letters\":[".to_vec(), is_truncated: false }
    }

    /// Adds a letter. Breaks where the answer is long enough, or its client has gone or takes too long.
    fn letter(&mut self, letter: &Shown) -> ControlFlow<()> {
        let Ok(json) = serde_json::to_vec(letter) else { return ControlFlow::Continue(()) };
        // The first one is shown whatever it has.
        if self.bytes > 0 && self.bytes + json.len() > LETTERS_SHOWN_BYTES_MAX {
            self.is_truncated = true;
            return ControlFlow::Break(());
        }
        if self.bytes > 0 {
            self.text.push(b',');
        }
        self.bytes += json.len();
        self.text.extend(json);
        let piece = std::mem::take(&mut self.text);
        self.send(Ok(Piece::Begun(piece.into())))
    }

    fn finish(mut self, read: io::Result<()>) {
        let end = format!("],\"truncated\":{}}}", self.is_truncated);
        self.text.extend(end.into_bytes());
        let last = std::mem::take(&mut self.text);
        let _ = self.send(read.map(|()| Piece::Last(last.into())));
    }

    fn send(&self, piece: io::Result<Piece>) -> ControlFlow<()> {
        let sent = Handle::current().block_on(timeout_at(self.deadline, self.pieces.send(piece)));
        if matches!(sent, Ok(Ok(()))) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// A body whose pieces come from elsewhere.
struct Received {
    first: Option<Piece>,
    rest: mpsc::Receiver<io::Result<Piece>>,
    is_whole: bool,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_whole {
            return Poll::Ready(None);
        }
        let piece = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(self.rest.poll_recv(context)),
        };
        let piece = piece.unwrap_or_else(|| Err(io::Error::other("the client took too long")))?;
        self.is_whole = matches!(piece, Piece::Last(_));
        let (Piece::Begun(bytes) | Piece::Last(bytes)) = piece;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// What is asked for in the address: `where` any number of times, and `limit`.
struct Query {
    filter: Filter,
    limit: usize,
}

impl Query {
    fn read(request: &Parts) -> Result<Self, Problem> {
        let (mut conditions, mut limit) = (Vec::new(), 1);
        for pair in request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().map_err(|_| wrong("the address is not UTF-8"))?;
            match name {
                "where" => conditions.push(value.into_owned()),
                "limit" => limit = value.parse().map_err(|_| wrong("limit is no number"))?,
                _ => return Err(wrong("only `where` and `limit` can be asked for")),
            }
        }
        Ok(Self { filter: filter(&conditions)?, limit })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    /// Which gateway is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    #[serde(default)]
    patch: Option<Box<RawValue>>,
    #[serde(default)]
    dry_run: bool,
    /// Letters from elsewhere, one per line.
    #[serde(default)]
    letters: Option<String>,
}

/// Replays letters.
pub(super) async fn replay(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (asked, turn): (ReplayBody, Turn) = read(&gate, request).await?;
    check_gateway(&gate, asked.gateway)?;
    let patch = asked.patch.map(|patch| Patch::parse(patch.get())).transpose().map_err(|error| wrong(error.to_string()))?;
    let replay = Replay {
        filter: filter(&asked.conditions)?,
        patch,
        dry_run: asked.dry_run,
        letters: asked.letters.map_or(Letters::Kept, |lines| Letters::Given(lines.into_bytes())),
    };
    let senders: Vec<_> = gate.policy.load().keys.sources().cloned().collect();
    let report = RunToCompletion::new(async move {
        let _turn = turn;
        gate.repair.replay(replay, &senders).await
    })
    .await?;
    Ok(Json(report).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropBody {
    /// Which gateway is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    /// That every open letter is meant.
    #[serde(default)]
    all: bool,
}

/// Takes letters out for good.
pub(super) async fn drop(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (asked, turn): (DropBody, Turn) = read(&gate, request).await?;
    check_gateway(&gate, asked.gateway)?;
    let filter = filter(&asked.conditions)?;
    if filter.is_empty() && !asked.all {
        return Err(wrong("nothing says which letters are to be dropped; `\"all\": true` drops all that are open"));
    }
    let dropped = RunToCompletion::new(async move {
        let _turn = turn;
        gate.repair.drop_letters(&filter).await
    })
    .await?;
    Ok(Json(dropped).into_response())
}

/// Another gateway may have taken over the address of the one that is meant.
fn check_gateway(gate: &Gate, meant: Option<Uuid>) -> Result<(), Problem> {
    match meant {
        Some(meant) if meant != gate.ingest.spool.id() => {
            Err(wrong("this is not the gateway that is meant: its data folder is another one"))
        }
        _ => Ok(()),
    }
}

fn filter(conditions: &[String]) -> Result<Filter, Problem> {
    Filter::parse(conditions, unix_millis(SystemTime::now())).map_err(|error| wrong(error.to_string()))
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidRepair, detail)
}

/// What is asked, and the turn to do it.
async fn read<T: DeserializeOwned>(gate: &Gate, request: Request) -> Result<(T, Turn), Problem> {
    let (parts, body) = request.into_parts();
    operator::authorize(&parts)?;
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down"));
    }
    // No form of a web page can send this.
    if parts.headers.get(header::CONTENT_TYPE) != Some(&HeaderValue::from_static("application/json")) {
        let detail = "a repair is application/json";
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail).header(header::ACCEPT, "application/json"));
    }
    let turn = gate.turns.repair()?;
    let mut share = gate.bodies.share(None, None);
    let bytes = body::read(body, &mut share).await?;
    let asked = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("the body is no repair: {error}")))?;
    Ok((asked, turn))
}
