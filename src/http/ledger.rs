//! `/admin/ledger`: the accounts of minutes, which `lakegate ledger` prints.

use std::{ops::Range, sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Request, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};

use super::{
    Gate, operator,
    problem::{Problem, ProblemCode},
    query::parameters,
};
use crate::{
    event::unix_millis,
    ledger::{Detail, LedgerError, TIMES, time_of},
    limits::{LEDGER_DETAIL_MINUTES_MAX, LEDGER_MINUTES_MAX, LEDGER_SINCE},
};

/// What is asked for.
struct Question {
    millis: Range<i64>,
    detail: Detail,
}

/// `GET /admin/ledger?since=TIME&until=TIME&by=key&by=event_name`
pub(super) async fn get(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    operator::authorize(&parts)?;
    let Question { millis, detail } = Question::read(&parts)?;
    let turn = gate.turns.question()?;
    let ledger = gate.ingest.ledger.clone();
    let read = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        ledger.rows(millis, detail)
    });
    let rows = read.await.unwrap_or_else(|panic| Err(LedgerError::Disk(std::io::Error::other(panic))));
    Ok(Json(rows.map_err(|error| Problem::new(ProblemCode::StorageUnavailable, error.to_string()))?).into_response())
}

impl Question {
    fn read(request: &Parts) -> Result<Self, Problem> {
        let now = unix_millis(SystemTime::now());
        let (mut since, mut until, mut detail) = (now - LEDGER_SINCE.as_millis() as i64, now, Detail::default());
        for (name, value) in parameters(request).map_err(wrong)? {
            let time = || time_of(&value, now).ok_or_else(|| wrong(format!("{value:?} is no time; {TIMES}")));
            match (name, &*value) {
                ("since", _) => since = time()?,
                ("until", _) => until = time()?,
                ("by", "key") => detail.by_key = true,
                ("by", "event_name") => detail.by_event_name = true,
                ("by", _) => return Err(wrong("by is key or event_name")),
                _ => return Err(wrong("only `since`, `until` and `by` can be asked for")),
            }
        }
        let minutes = until.saturating_sub(since) / 60_000;
        let most = if detail == Detail::default() { LEDGER_MINUTES_MAX } else { LEDGER_DETAIL_MINUTES_MAX };
        if minutes > most {
            return Err(wrong(format!("one answer has at most {most} minutes; ask for a shorter time")));
        }
        Ok(Self { millis: since..until, detail })
    }
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidQuestion, detail)
}
