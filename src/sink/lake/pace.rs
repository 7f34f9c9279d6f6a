//! How fast long work on the lake goes: at full speed, or a part of the time, and when it stops.

use std::{
    cell::Cell,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Tells work to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

/// The work was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl StopSignal {
    /// Tells all work with this signal to stop.
    pub fn stop(&self) {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.inner.1.notify_all();
    }

    /// Waits for `time`, or until the work must stop.
    ///
    /// # Errors
    /// [`Stopped`] if it must stop.
    pub fn wait(&self, time: Duration) -> Result<(), Stopped> {
        let stopped = self.inner.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.inner.1.wait_timeout_while(stopped, time, |stopped| !*stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 { Err(Stopped) } else { Ok(()) }
    }
}

/// The pace of one thread.
#[derive(Debug)]
pub struct Pace {
    stop: StopSignal,
    /// Percent of the time to work; the rest are pauses.
    percent: u32,
    since: Cell<Instant>,
}

impl Pace {
    /// Works all the time, until `stop`.
    #[must_use]
    pub fn full(stop: StopSignal) -> Self {
        Self::new(100, stop)
    }

    /// Works `percent` of the time, until `stop`.
    #[must_use]
    pub fn new(percent: u32, stop: StopSignal) -> Self {
        Self { stop, percent: percent.clamp(1, 100), since: Cell::new(Instant::now()) }
    }

    /// Called after each small step of work: pauses in proportion to the time that the step took.
    ///
    /// # Errors
    /// [`Stopped`] if the work must stop.
    pub fn step(&self) -> Result<(), Stopped> {
        let worked = self.since.get().elapsed();
        let paused = self.stop.wait(worked * (100 - self.percent) / self.percent);
        self.since.set(Instant::now());
        paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_pauses_in_proportion_to_its_work_and_a_stop_ends_the_pause() {
        let stop = StopSignal::default();
        let pace = Pace::new(10, stop.clone());
        let busy = Instant::now();
        while busy.elapsed() < Duration::from_millis(5) {}
        assert_eq!(pace.step(), Ok(()));
        assert!(busy.elapsed() >= Duration::from_millis(50), "{:?}", busy.elapsed());
        let waiting = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait(Duration::from_secs(600))
        });
        stop.stop();
        assert_eq!(waiting.join().unwrap(), Err(Stopped));
        assert_eq!(pace.step(), Err(Stopped));
        assert_eq!(Pace::full(stop).step(), Err(Stopped));
    }
}
