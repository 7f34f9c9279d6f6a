//! Live events: what came in, and what became of it, for those who look at this moment (`lakegate tail`).
//!
//! ```text
//! request ─▶ does anybody watch?  no: nothing more happens
//!            yes: the place of each event in the body is noted while it is validated,
//!                 and when the outcomes are known, each event gets a random rank ─▶ sample of the tick ─▶ stream
//! ```
//!
//! - **Nobody watches**: one relaxed load for each request. Nothing is allocated, and no lock is taken.
//! - **Somebody watches**: for each event its place is noted, and two integers are compared. An event is copied only if its rank
//!   is among the highest of the tick so far: of a million a second that is some hundred ([`Reservoir`]). Its line is made when it is
//!   shown.
//! - **Fair**: each event of a tick that is asked for is as likely to be shown as any other, whichever request it came in. A
//!   watcher is told how many there were.
//! - **A slow reader** costs itself only: it has no queue. A tick lasts until the reader takes it, in the memory of one tick; what it
//!   missed is counted, and told.
//! - **Values** of payloads are shown only if configured (`admin.tail_payloads`). Client addresses are never shown.
//!
//! [`Reservoir`]: reservoir::Reservoir

mod audience;
mod question;
mod recorder;
mod redacted;
mod reservoir;
mod shown;
mod watcher;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::limits::WATCHERS_MAX;
pub use audience::Audience;
pub use question::{Question, QuestionError};
pub use recorder::{Matching, RecordedEvent, Recorder};
pub use shown::{Request, Shown, Told, Version, event_name};
pub use watcher::Seen;
use watcher::Watcher;

/// Where requests meet watchers.
#[derive(Debug)]
pub struct LiveEvents {
    /// Whether there are any watchers, or a recorder.
    is_watched: AtomicBool,
    /// Keeps every event, in `lakegate dev` only.
    recorder: Option<Arc<Recorder>>,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    shows_payloads: bool,
    ended: watch::Sender<bool>,
}

/// The place of a watcher, until this is dropped.
#[derive(Debug)]
pub struct Tail {
    live: Arc<LiveEvents>,
    watcher: Arc<Watcher>,
    ticks: Interval,
    ended: watch::Receiver<bool>,
    is_over: bool,
}

impl LiveEvents {
    /// Nobody watches yet. `shows_payloads` is whether watchers see values; `recorder` gets every event.
    #[must_use]
    pub fn new(shows_payloads: bool, recorder: Option<Arc<Recorder>>) -> Arc<Self> {
        let (is_watched, watchers, ended) = (AtomicBool::new(recorder.is_some()), Mutex::default(), watch::Sender::new(false));
        Arc::new(Self { is_watched, recorder, watchers, shows_payloads, ended })
    }

    /// Those who watch the events of `key`, of a request with this body; `None` if nobody does.
    #[inline]
    #[must_use]
    pub fn audience(&self, key: &str, body: &Bytes) -> Option<Box<Audience>> {
        if self.is_watched.load(Relaxed) { self.audience_of(key, body) } else { None }
    }

    #[cold]
    fn audience_of(&self, key: &str, body: &Bytes) -> Option<Box<Audience>> {
        let watchers: Vec<_> = self.lock().iter().filter(|watcher| watcher.question.wants_key(key)).cloned().collect();
        let has_audience = !watchers.is_empty() || self.recorder.is_some();
        has_audience.then(|| Box::new(Audience::new(watchers, self.recorder.clone(), self.shows_payloads, body.clone())))
    }

    /// Watches from now on. `None` if there are as many watchers as there may be.
    #[must_use]
    pub fn watch(self: &Arc<Self>, question: Question) -> Option<Tail> {
        let tick = question.tick();
        let watcher = Arc::new(Watcher::new(question));
        let mut watchers = self.lock();
        if watchers.len() >= WATCHERS_MAX {
            return None;
        }
        watchers.push(watcher.clone());
        self.is_watched.store(true, Relaxed);
        drop(watchers);
        let mut ticks = interval_at(Instant::now() + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Tail { live: self.clone(), watcher, ticks, ended: self.ended.subscribe(), is_over: false })
    }

    /// Ends the streams of all watchers, because the gateway stops.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Waits for the end of a tick. `None` after the last one: the gateway stops.
    pub async fn next(&mut self) -> Option<Seen> {
        if self.is_over {
            return None;
        }
        tokio::select! {
            _ = self.ended.wait_for(|ended| *ended) => self.is_over = true,
            _ = self.ticks.tick() => {}
        }
        Some(self.watcher.take())
    }

    /// An event as one line of JSON, without the end of the line.
    #[must_use]
    pub fn line(&self, event: &Shown, version: &Version<'_>) -> String {
        event.line(version, self.live.shows_payloads)
    }

    /// Whether the gateway stops: no further tick comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut watchers = self.live.lock();
        watchers.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        self.live.is_watched.store(!watchers.is_empty() || self.live.recorder.is_some(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    fn ask(live: &Arc<LiveEvents>, parameters: &[(&str, &str)]) -> Option<Tail> {
        live.watch(Question::parse(parameters.iter().copied()).unwrap())
    }

    /// A request of `key` with events of these names, all accepted.
    fn request(live: &LiveEvents, key: &str, names: &[&str]) {
        let events: Vec<String> = names.iter().map(|name| format!("{{\"event_name\":\"{name}\"}}")).collect();
        let body = Bytes::from(format!("[{}]", events.join(",")));
        let Some(mut audience) = live.audience(key, &body) else { return };
        let mut at = 1;
        for (event, name) in events.iter().zip(names) {
            audience.note(&body[at..at + event.len()], || Some((*name).into()));
            at += event.len() + 1;
        }
        let request = Request { key: &key.into(), is_replay: false, version: &|_, named| named };
        audience.show(&request, |_| Some(Told { outcome: &Outcome::Accepted, received_millis: 0 }));
    }

    async fn names(tail: &mut Tail) -> Vec<String> {
        let seen = tail.next().await.unwrap();
        let line = |event| serde_json::from_str::<serde_json::Value>(&tail.line(event, &|_, named| named)).unwrap();
        seen.events.iter().map(|event| line(event)["event_name"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_watcher_sees_what_it_asked_for_and_nobody_is_asked_once_all_are_gone() {
        let live = LiveEvents::new(false, None);
        assert!(live.audience("web", &Bytes::new()).is_none());
        let mut menus = ask(&live, &[("event", "menu:*")]).unwrap();
        let mut tills = ask(&live, &[("key", "till")]).unwrap();
        request(&live, "web", &["menu:a", "order:a", "menu:b"]);
        request(&live, "till", &["menu:c", "order:b"]);
        assert_eq!(names(&mut menus).await, ["menu:a", "menu:b", "menu:c"]);
        assert_eq!(names(&mut tills).await, ["menu:c", "order:b"]);
        drop(menus);
        assert!(live.audience("web", &Bytes::new()).is_none(), "nobody asks for this key");
        assert!(live.audience("till", &Bytes::new()).is_some());
        drop(tills);
        assert!(!live.is_watched.load(Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn watchers_have_a_limit_and_give_their_places_back() {
        let live = LiveEvents::new(false, None);
        let mut tails: Vec<Tail> = (0..WATCHERS_MAX).map(|_| ask(&live, &[]).unwrap()).collect();
        assert!(ask(&live, &[]).is_none());
        tails.pop();
        assert!(ask(&live, &[]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_a_stream_at_once_and_shows_what_came_before() {
        let live = LiveEvents::new(false, None);
        let mut tail = ask(&live, &[("rate", "1")]).unwrap();
        request(&live, "web", &["last:one"]);
        let started = Instant::now();
        live.end();
        assert_eq!(names(&mut tail).await, ["last:one"]);
        assert!(tail.is_over() && tail.next().await.is_none());
        assert_eq!(started.elapsed().as_millis(), 0);
        assert!(
            ask(&live, &[]).unwrap().next().await.is_some_and(|seen| seen.events.is_empty()),
            "who comes too late sees the end"
        );
    }
}
