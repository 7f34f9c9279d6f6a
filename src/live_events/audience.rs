//! Those who watch the events of one request.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use fastrand::Rng;

use super::{
    recorder::Recorder,
    shown::{Request, Shown, Told},
    watcher::Watcher,
};

/// See the module. It notes the place of each event in the body while the events are validated, and shows them when their outcomes
/// are known: only then is it known who wants to see which.
#[derive(Debug)]
pub struct Audience {
    watchers: Vec<Arc<Watcher>>,
    recorder: Option<Arc<Recorder>>,
    /// Whether some of them ask for names.
    asks_for_names: bool,
    shows_payloads: bool,
    body: Bytes,
    noted: Vec<Noted>,
}

/// The place of an event in the body, and a bit for each watcher that wants its name.
#[derive(Debug, Clone, Copy)]
struct Noted {
    start: u32,
    length: u32,
    wanted_by: u8,
}

impl Audience {
    pub(super) fn new(watchers: Vec<Arc<Watcher>>, recorder: Option<Arc<Recorder>>, shows_payloads: bool, body: Bytes) -> Self {
        let asks_for_names = watchers.iter().any(|watcher| watcher.question.asks_for_names());
        Self { watchers, recorder, asks_for_names, shows_payloads, body, noted: Vec::new() }
    }

    /// Notes the next event of the body. `name` is read only if somebody asks for names.
    pub fn note<'a>(&mut self, raw: &[u8], name: impl FnOnce() -> Option<Cow<'a, str>>) {
        let wanted_by = match self.asks_for_names {
            false => u8::MAX,
            true => {
                let name = name();
                let wants = |watcher: &Arc<Watcher>| watcher.question.wants_name(name.as_deref());
                self.watchers.iter().enumerate().fold(0, |bits, (at, watcher)| bits | u8::from(wants(watcher)) << at)
            }
        };
        // A part of the body: see `decode`.
        let start = raw.as_ptr().addr().wrapping_sub(self.body.as_ptr().addr());
        self.noted.push(Noted { start: start as u32, length: raw.len() as u32, wanted_by });
    }

    /// Shows the noted events to those who asked for them. `told` gives for an index what became of that event.
    pub fn show<'a>(self, request: &Request<'_>, told: impl Fn(usize) -> Option<Told<'a>>) {
        if let Some(recorder) = &self.recorder {
            let told = (0..self.noted.len()).filter_map(|index| Some((index, told(index)?)));
            told.for_each(|(index, told)| recorder.record(self.raw(index), request, &told));
        }
        let mut rng = Rng::new();
        for (at, watcher) in self.watchers.iter().enumerate() {
            let is_wanted = |(_, noted): &(usize, &Noted)| noted.wanted_by & (1 << at) != 0;
            let wanted = self.noted.iter().enumerate().filter(is_wanted).map(|(index, _)| index);
            let events = wanted.filter_map(|index| told(index).map(|told| (index, told)));
            watcher.offer(&mut rng, events, |index, told| Shown::keep(self.raw(index), request, told, self.shows_payloads));
        }
    }

    fn raw(&self, index: usize) -> &[u8] {
        let place = self.noted.get(index).map(|noted| noted.start as usize..noted.start as usize + noted.length as usize);
        place.and_then(|place| self.body.get(place)).unwrap_or_default()
    }
}
