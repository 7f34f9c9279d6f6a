//! Pages of a run that cannot be read. Each page is retried for a limited time; then its identities count as lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::fault::{FaultKind, Operation, Patience, Tries, fault_kind};

/// The state of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageState {
    Intact,
    /// Its identities are forgotten.
    Damaged,
    /// The page may be read later.
    Unreadable,
}

/// A page that could not be read, or whose bytes are not those that were written.
#[derive(Debug)]
struct PageFault {
    tries: Tries,
    try_at: Instant,
    state: PageState,
    reason: String,
}

/// The faulty pages of a run. Without any, no lock is taken and nothing is counted.
#[derive(Debug, Default)]
pub(super) struct UnreadablePages {
    pages: Mutex<BTreeMap<usize, PageFault>>,
    exist: AtomicBool,
}

impl UnreadablePages {
    /// The known state of the page, if it should not be read at the moment.
    pub(super) fn known(&self, page: usize, now: Instant) -> Option<PageState> {
        let fault = self.lock();
        fault.get(&page).filter(|fault| now < fault.try_at).map(|fault| fault.state)
    }

    pub(super) fn exist(&self) -> bool {
        self.exist.load(Ordering::Relaxed)
    }

    /// Notes that the page could not be read. Returns its state, and whether it became lost now.
    pub(super) fn unreadable(&self, page: usize, error: &io::Error, patience: &Patience, now: Instant) -> (PageState, bool) {
        // A transient error is not damage, however long it lasts.
        let passes = fault_kind(error, Operation::Read) == FaultKind::Transient;
        self.note(page, now, error.to_string(), |tries| {
            let pause = tries.failed(patience, now);
            let is_lost = pause.is_none() && !passes;
            (if is_lost { PageState::Damaged } else { PageState::Unreadable }, now + pause.unwrap_or(patience.longest))
        })
    }

    /// Notes that the page's bytes are not those that were written. Returns whether that is new.
    pub(super) fn damaged(&self, page: usize, patience: &Patience, now: Instant) -> bool {
        let reason = "its checksum differs".to_owned();
        self.note(page, now, reason, |_| (PageState::Damaged, now + patience.longest)).1
    }

    fn note(
        &self,
        page: usize,
        now: Instant,
        reason: String,
        judge: impl FnOnce(&mut Tries) -> (PageState, Instant),
    ) -> (PageState, bool) {
        let mut pages = self.lock();
        let first = || PageFault { tries: Tries::default(), try_at: now, state: PageState::Intact, reason: String::new() };
        let fault = pages.entry(page).or_insert_with(first);
        let was_damaged = fault.state == PageState::Damaged;
        (fault.state, fault.try_at) = judge(&mut fault.tries);
        fault.reason = reason;
        self.exist.store(true, Ordering::Relaxed);
        (fault.state, fault.state == PageState::Damaged && !was_damaged)
    }

    /// Notes that the page can be read.
    pub(super) fn intact(&self, page: usize) {
        let mut pages = self.lock();
        pages.remove(&page);
        self.exist.store(!pages.is_empty(), Ordering::Relaxed);
    }

    /// Pages that are due for a retry.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let pages = self.lock();
        pages
            .iter()
            .filter(|(_, fault)| fault.state == PageState::Unreadable && fault.try_at <= now)
            .map(|(page, _)| *page)
            .collect()
    }

    /// Whether a page may be readable later.
    pub(super) fn are_waiting(&self) -> bool {
        self.exist() && self.lock().values().any(|fault| fault.state == PageState::Unreadable)
    }

    /// Whether a page is lost.
    pub(super) fn have_losses(&self) -> bool {
        self.exist() && self.lock().values().any(|fault| fault.state == PageState::Damaged)
    }

    /// Text for a person: how many pages are in `state`, and why.
    pub(super) fn told(&self, state: PageState) -> Option<String> {
        if !self.exist() {
            return None;
        }
        let pages = self.lock();
        let of_state = || pages.iter().filter(|(_, fault)| fault.state == state);
        let (page, fault) = of_state().next()?;
        Some(format!("{} pages, the first is {page}: {}", of_state().count(), fault.reason))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, PageFault>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Patience = Patience { first: SECOND, longest: Duration::from_secs(4), budget: Duration::from_secs(10) };

    #[test]
    fn a_page_is_tried_again_within_its_time_and_is_then_lost_once_and_comes_back_when_it_can_be_read() {
        let start = Instant::now();
        let faults = UnreadablePages::default();
        let error = io::Error::from_raw_os_error(5);
        assert_eq!(faults.unreadable(3, &error, &PATIENCE, start), (PageState::Unreadable, false));
        assert_eq!(faults.known(3, start), Some(PageState::Unreadable));
        assert!(faults.due(start).is_empty());
        assert_eq!(faults.due(start + SECOND), [3]);
        assert_eq!(faults.unreadable(3, &error, &PATIENCE, start + 10 * SECOND), (PageState::Damaged, true));
        assert!(faults.have_losses() && !faults.are_waiting());
        assert_eq!(faults.unreadable(3, &error, &PATIENCE, start + 14 * SECOND), (PageState::Damaged, false), "counted once");
        faults.intact(3);
        assert!(!faults.exist() && faults.known(3, start).is_none());
    }

    #[test]
    fn what_passes_by_itself_is_never_lost() {
        let start = Instant::now();
        let faults = UnreadablePages::default();
        let error = io::Error::from_raw_os_error(24);
        for second in 0..100 {
            assert_eq!(faults.unreadable(0, &error, &PATIENCE, start + second * SECOND), (PageState::Unreadable, false));
        }
    }
}
