//! `/admin/dead-letters…`: the interface that `lakegate dead-letters` uses on a running gateway.

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
    operator_turns::{Turn, Turns},
    problem::{Problem, ProblemCode},
    query::parameters,
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

/// Lists the dead letters in groups.
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

/// Sends whole dead letters as they are read from disk, so only a few are in memory.
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
        // Release the turn before the end is sent, because a client with the whole answer may send its next request at once.
        std::mem::drop(turn);
        answer.finish(read);
    });
    // Wait for the first piece: a disk error appears with it, while the status can still change.
    let first = received.recv().await.unwrap_or_else(|| Err(io::Error::other("the letters could not be read")));
    let body = Body::new(Received { first: Some(first.map_err(RepairError::Disk)?), rest: received, is_whole: false });
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// A part of an answer. An answer without its last part is cut off, so that it does not look complete.
enum Piece {
    Begun(Bytes),
    Last(Bytes),
}

/// `{"letters":[…],"truncated":false}`, written one dead letter at a time, for a client that must read it in time.
struct LettersAnswer {
    pieces: mpsc::Sender<io::Result<Piece>>,
    deadline: Instant,
    bytes: usize,
    /// The text to send with the next piece.
    text: Vec<u8>,
    is_truncated: bool,
}

impl LettersAnswer {
    fn new(pieces: mpsc::Sender<io::Result<Piece>>) -> Self {
        let deadline = Instant::now() + OPERATOR_ANSWER_TIMEOUT;
        Self { pieces, deadline, bytes: 0, text: b"{\"letters\":[".to_vec(), is_truncated: false }
    }

    /// Adds a dead letter. Breaks if the answer is long enough, or the client has gone or takes too long.
    fn letter(&mut self, letter: &Shown) -> ControlFlow<()> {
        let Ok(json) = serde_json::to_vec(letter) else { return ControlFlow::Continue(()) };
        // The first dead letter is shown whatever its size.
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

/// A response body whose pieces come from a channel.
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

/// The query parameters: any number of `where`, and `limit`.
struct Query {
    filter: Filter,
    limit: usize,
}

impl Query {
    fn read(request: &Parts) -> Result<Self, Problem> {
        let (mut conditions, mut limit) = (Vec::new(), 1);
        for (name, value) in parameters(request).map_err(wrong)? {
            match name {
                "where" => conditions.push(value),
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
    /// The gateway that is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    #[serde(default)]
    patch: Option<Box<RawValue>>,
    #[serde(default)]
    dry_run: bool,
    /// Dead letters from another source, one per line.
    #[serde(default)]
    letters: Option<String>,
}

/// Replays dead letters.
pub(super) async fn replay(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let may_change = operator::check_change(&gate, request.headers());
    let (asked, turn): (ReplayBody, Turn) = read_change(&gate, request, Turns::repair, wrong).await?;
    if !asked.dry_run {
        may_change?;
    }
    check_gateway(&gate, asked.gateway, wrong)?;
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
    /// The gateway that is meant, by the identity of its spool.
    #[serde(default)]
    gateway: Option<Uuid>,
    #[serde(default, rename = "where")]
    conditions: Vec<String>,
    /// Confirms that all open dead letters are meant.
    #[serde(default)]
    all: bool,
}

/// Removes dead letters permanently.
pub(super) async fn drop(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    operator::check_change(&gate, request.headers())?;
    let (asked, turn): (DropBody, Turn) = read_change(&gate, request, Turns::repair, wrong).await?;
    check_gateway(&gate, asked.gateway, wrong)?;
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

/// Refuses a request for another gateway: this gateway may have taken over its address.
pub(super) fn check_gateway(gate: &Gate, meant: Option<Uuid>, wrong: fn(String) -> Problem) -> Result<(), Problem> {
    match meant {
        Some(meant) if meant != gate.ingest.spool.id() => {
            Err(wrong("this is not the gateway that is meant: its data folder is another one".to_owned()))
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

/// Reads a request that changes something, and takes its turn. `wrong` is the problem of a body that is not understood.
pub(super) async fn read_change<T: DeserializeOwned>(
    gate: &Gate,
    request: Request,
    take_turn: fn(&Turns) -> Result<Turn, Problem>,
    wrong: fn(String) -> Problem,
) -> Result<(T, Turn), Problem> {
    let (parts, body) = request.into_parts();
    operator::authorize(&parts)?;
    if gate.is_stopping() {
        return Err(Problem::new(ProblemCode::Stopping, "this gateway is shutting down"));
    }
    // An HTML form cannot send this content type.
    if parts.headers.get(header::CONTENT_TYPE) != Some(&HeaderValue::from_static("application/json")) {
        let detail = "the request is application/json";
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail).header(header::ACCEPT, "application/json"));
    }
    let turn = take_turn(&gate.turns)?;
    let mut share = gate.bodies.share(None, None);
    let bytes = body::read(body, parts.version, &mut share).await?;
    let asked = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("the body is not understood: {error}")))?;
    Ok((asked, turn))
}
