//! Threads and tasks that the gateway cannot work without. If one of them panics, or ends without being asked to,
//! [`Condition::PartEnded`] is raised and the program ends with the reason. Otherwise the gateway would still look healthy.

use std::{
    io,
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

use super::list::{Condition, Conditions};

/// Held by a thread or a task while it works. Dropped by a panic, it raises [`Condition::PartEnded`]; dropped otherwise, for
/// example by an abort, it does nothing.
#[derive(Debug)]
pub struct Vital {
    conditions: Conditions,
    name: &'static str,
}

impl Conditions {
    /// A guard for the thread or task with this `name`.
    #[must_use]
    pub fn vital(&self, name: &'static str) -> Vital {
        Vital { conditions: self.clone(), name }
    }
}

impl Vital {
    /// Reports that the thread or task ended unexpectedly.
    pub fn ended(&self, why: &str) {
        self.conditions.raise(Condition::PartEnded, self.name, why);
    }

    /// Starts a thread with this name. The thread ends only when its owner ends it.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn thread(self, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(self.name.into()).spawn(move || {
            work();
            drop(self);
        })
    }

    /// Runs a task that must never end.
    pub async fn forever(self, task: impl Future<Output = ()>) {
        task.await;
        self.ended("it ended, and nobody asked it to");
    }

    /// Runs a task that may end only after `asked` became true.
    pub async fn until(self, asked: watch::Receiver<bool>, task: impl Future<Output = ()>) {
        task.await;
        if !*asked.borrow() {
            self.ended("it ended, and nobody asked it to");
        }
    }

    /// Runs a task that ends after its work.
    pub async fn once(self, task: impl Future<Output = ()>) {
        task.await;
        drop(self);
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            self.ended("it panicked; the log has the place");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn ended(conditions: &Conditions) -> Vec<String> {
        conditions.list().into_iter().map(|raised| format!("{} {}", raised.place, raised.detail)).collect()
    }

    #[test]
    fn a_thread_that_panics_is_told_and_one_that_does_its_work_is_not() {
        let conditions = Conditions::default();
        conditions.vital("good").thread(|| ()).unwrap().join().unwrap();
        assert!(ended(&conditions).is_empty());
        conditions.vital("bad").thread(|| panic!("as the test wants it")).unwrap().join().unwrap_err();
        assert_eq!(ended(&conditions), ["bad it panicked; the log has the place"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_too_early_is_told_and_one_that_is_aborted_is_not() {
        let conditions = Conditions::default();
        let (ask, asked) = watch::channel(false);
        tokio::spawn(conditions.vital("once").once(async {})).await.unwrap();
        let aborted = tokio::spawn(conditions.vital("aborted").forever(pending()));
        tokio::task::yield_now().await;
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled() && ended(&conditions).is_empty());

        tokio::spawn(conditions.vital("until").until(asked.clone(), async {})).await.unwrap();
        tokio::spawn(conditions.vital("forever").forever(async {})).await.unwrap();
        tokio::spawn(conditions.vital("panics").once(async {
            tokio::task::yield_now().await;
            panic!("as the test wants it");
        }))
        .await
        .unwrap_err();
        conditions.when(Condition::PartEnded).await;
        let early = "it ended, and nobody asked it to";
        assert_eq!(
            ended(&conditions),
            [format!("forever {early}"), "panics it panicked; the log has the place".into(), format!("until {early}")]
        );

        let conditions = Conditions::default();
        ask.send_replace(true);
        tokio::spawn(conditions.vital("until").until(asked, async {})).await.unwrap();
        assert!(ended(&conditions).is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_condition_is_woken_by_it_and_by_no_other() {
        let conditions = Conditions::default();
        let waiting = conditions.clone();
        let waits = tokio::spawn(async move { waiting.when(Condition::PartEnded).await });
        tokio::task::yield_now().await;
        conditions.raise(Condition::SpoolFull, "", "");
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        conditions.vital("x").ended("why");
        waits.await.unwrap();
    }
}
