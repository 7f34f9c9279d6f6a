//! Keeps every event with its outcome, for the tests of an application (`lakegate dev`): not a sample, but all of them, up to a
//! limit. Beyond it the oldest are forgotten, and counted.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    question::Question,
    shown::{Request, Shown, Told, event_name},
};
use crate::{
    decode::only_element,
    limits::{RECORDED_BYTES_MAX, RECORDED_EVENTS_MAX},
    outcome::Outcome,
};

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    recorded: Mutex<Recorded>,
    /// The number of the next event.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Recorded {
    events: VecDeque<RecordedEvent>,
    bytes: usize,
    forgotten: u64,
}

/// An event that is kept.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// Its number since the start of the program: 0, 1, …
    pub number: u64,
    /// One line of JSON: see [`Shown`].
    pub line: Arc<str>,
    key: Arc<str>,
    name: Option<Box<str>>,
    outcome: Outcome,
}

/// What is kept that somebody asked for.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// The events, the oldest first.
    pub events: Vec<RecordedEvent>,
    /// Events of any kind that were forgotten because there were too many, since the last reset.
    pub forgotten: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { recorded: Mutex::default(), next: watch::Sender::new(0) }
    }
}

impl RecordedEvent {
    fn matches(&self, question: &Question) -> bool {
        question.wants_key(&self.key) && question.wants_name(self.name.as_deref()) && question.wants_outcome(&self.outcome)
    }

    /// Whether it was rejected.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self.outcome, Outcome::Rejected(_))
    }
}

impl Recorder {
    /// Keeps an event.
    pub(super) fn record(&self, raw: &[u8], request: &Request<'_>, told: &Told<'_>) {
        let line: Arc<str> = Shown::whole_line(raw, request, told).into();
        let mut name = None;
        only_element(raw, |element| name = element.event.as_ref().ok().and_then(event_name).map(|name| Box::from(&*name)));
        let mut recorded = self.lock();
        let number = *self.next.borrow();
        recorded.bytes += line.len();
        recorded.events.push_back(RecordedEvent { number, line, key: request.key.clone(), name, outcome: told.outcome.clone() });
        while recorded.events.len() > RECORDED_EVENTS_MAX || recorded.bytes > RECORDED_BYTES_MAX {
            let Some(oldest) = recorded.events.pop_front() else { break };
            recorded.bytes -= oldest.line.len();
            recorded.forgotten += 1;
        }
        // Under the lock, or another event would get the same number.
        self.next.send_replace(number + 1);
    }

    /// The events that somebody asks for.
    #[must_use]
    pub fn matching(&self, question: &Question) -> Matching {
        let recorded = self.lock();
        let events = recorded.events.iter().filter(|event| event.matches(question)).cloned().collect();
        Matching { events, forgotten: recorded.forgotten }
    }

    /// Waits until at least `count` events match that are kept. Cancel it to wait no longer.
    pub async fn wait(&self, question: &Question, count: usize) -> Matching {
        let mut changes = self.next.subscribe();
        loop {
            changes.mark_unchanged();
            let matching = self.matching(question);
            // The sender is this recorder's, so it cannot be gone.
            if matching.events.len() >= count || changes.changed().await.is_err() {
                return matching;
            }
        }
    }

    /// The events from the number `from` on that are kept, once there are any.
    pub async fn after(&self, from: u64) -> Vec<RecordedEvent> {
        let mut changes = self.next.subscribe();
        let _ = changes.wait_for(|next| *next > from).await;
        self.lock().events.iter().filter(|event| event.number >= from).cloned().collect()
    }

    /// Forgets all events. Returns how many.
    pub fn reset(&self) -> usize {
        let recorded = std::mem::take(&mut *self.lock());
        recorded.events.len()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::outcome::{RejectCode, Rejection};

    fn record(recorder: &Recorder, name: &str, outcome: &Outcome) {
        let raw = format!("{{\"event_name\":\"{name}\"}}");
        let request = Request { key: &"web".into(), is_replay: false, version: &|_, named| named };
        recorder.record(raw.as_bytes(), &request, &Told { outcome, received_millis: 0 });
    }

    fn ask(parameters: &[(&str, &str)]) -> Question {
        Question::parse(parameters.iter().copied()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn all_events_are_kept_and_who_waits_is_told_when_enough_have_come() {
        let recorder = Arc::new(Recorder::default());
        record(&recorder, "menu:a", &Outcome::Accepted);
        let rejection = Outcome::Rejected(Box::new(Rejection::new(RejectCode::SchemaViolation, "no", "/a")));
        record(&recorder, "menu:b", &rejection);
        let menus = ask(&[("event", "menu:*")]);
        assert_eq!(recorder.matching(&menus).events.len(), 2);
        let rejected = recorder.matching(&ask(&[("outcome", "rejected")])).events;
        assert!(rejected.len() == 1 && rejected[0].is_rejected() && rejected[0].line.contains("\"pointer\":\"/a\""));
        let (waiting, for_them) = (recorder.clone(), menus.clone());
        let waits = tokio::spawn(async move { waiting.wait(&for_them, 3).await.events.len() });
        tokio::task::yield_now().await;
        record(&recorder, "order:a", &Outcome::Accepted);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        record(&recorder, "menu:c", &Outcome::Accepted);
        assert_eq!(waits.await.unwrap(), 3);
        assert_eq!(recorder.after(3).await.len(), 1);
        assert_eq!((recorder.reset(), recorder.matching(&menus).events.len()), (4, 0));
        assert!(timeout(Duration::from_secs(5), recorder.wait(&menus, 1)).await.is_err());
        // Numbers go on.
        record(&recorder, "menu:d", &Outcome::Accepted);
        assert_eq!(recorder.after(0).await[0].number, 4);
    }

    #[test]
    fn the_oldest_are_forgotten_and_counted() {
        let recorder = Recorder::default();
        for _ in 0..RECORDED_EVENTS_MAX + 3 {
            record(&recorder, "menu:a", &Outcome::Accepted);
        }
        let matching = recorder.matching(&ask(&[]));
        assert_eq!((matching.events.len(), matching.forgotten, matching.events[0].number), (RECORDED_EVENTS_MAX, 3, 3));
    }
}
