//! What the terminal shows at the moment: the last report, the history, and how the person at the keys wants it sorted.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::{
    limits::TOP_HISTORY_POLLS,
    overview::{KeyReport, Report, ShardReport, sort_by_number},
};

/// By what the keys are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KeyOrder {
    #[default]
    Noise,
    Rejected,
    Refused,
}

/// By what the shards are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ShardOrder {
    #[default]
    Throttled,
    Waiting,
    Rate,
}

impl KeyOrder {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Noise => "events and refusals",
            Self::Rejected => "rejected events",
            Self::Refused => "refused requests",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Noise => Self::Rejected,
            Self::Rejected => Self::Refused,
            Self::Refused => Self::Noise,
        }
    }

    fn number(self, key: &KeyReport) -> f64 {
        match self {
            Self::Noise => key.events_per_second + key.refused_requests_per_second,
            Self::Rejected => key.rejected_events_per_second,
            Self::Refused => key.refused_requests_per_second,
        }
    }
}

impl ShardOrder {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Waiting => "waiting",
            Self::Rate => "lowest rate",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Throttled => Self::Waiting,
            Self::Waiting => Self::Rate,
            Self::Rate => Self::Throttled,
        }
    }

    fn number(self, shard: &ShardReport) -> f64 {
        match self {
            Self::Throttled => shard.throttled_records_per_second,
            Self::Waiting => shard.waiting_events,
            // A shard that is not held comes last.
            Self::Rate => shard.rate.map_or(0.0, |rate| 1.0 / rate.max(f64::MIN_POSITIVE)),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The last report; `None` before the first poll has ended.
    pub(super) report: Option<Report>,
    /// Events received in a second, of the last polls. `None`: not known.
    pub(super) history: VecDeque<Option<f64>>,
    pub(super) key_order: KeyOrder,
    pub(super) shard_order: ShardOrder,
    pub(super) is_paused: bool,
    /// Whether colours may be used.
    pub(super) has_colours: bool,
}

impl View {
    /// Shows a report, unless paused. The history goes on in any case.
    pub(super) fn take(&mut self, report: Report) {
        // The first poll of all has no rate.
        if self.report.is_some() {
            self.history.push_back(report.events.received_per_second);
        }
        if self.history.len() > TOP_HISTORY_POLLS {
            self.history.pop_front();
        }
        if !self.is_paused || self.report.is_none() {
            self.report = Some(report);
            self.sort();
        }
    }

    fn sort(&mut self) {
        let (keys, shards) = (self.key_order, self.shard_order);
        if let Some(report) = &mut self.report {
            sort_by_number(&mut report.keys, |key| keys.number(key));
            sort_by_number(&mut report.shards, |shard| shards.number(shard));
        }
    }

    /// Obeys a key. Returns false if it ends the program.
    pub(super) fn obey(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            // In raw mode the terminal sends no signal.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('k') => self.key_order = self.key_order.next(),
            KeyCode::Char('s') => self.shard_order = self.shard_order.next(),
            _ => {}
        }
        self.sort();
        true
    }
}
