//! The threads on which blocks are made: started on demand, up to a limit, and kept.
//!
//! The runtime's own threads for blocking work end when they are idle; if the system then refuses a
//! new one, work waits for a thread that never comes. Here the first thread stays, so that accepted
//! work is always done.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::sync::lock;

/// Enough to keep disks busy; their computing shares the machine's cores anyway.
const THREADS_MAX: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// Threads that live as long as this.
#[derive(Default)]
pub(super) struct Threads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

impl Threads {
    /// Runs `work` on a thread. The receiver fails if it panics. An error if there is no thread,
    /// and none can be started.
    pub(super) fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        // If nobody waits any more, the result is dropped here.
        let work = Box::new(move || drop(sender.send(work())));
        let mut state = lock(&self.0.state);
        if state.waiting.len() >= state.idle && state.threads < THREADS_MAX {
            match self.spawn() {
                Ok(()) => state.threads += 1,
                // The existing threads do the work a little later.
                Err(error) if state.threads > 0 => tracing::debug!(%error, "no further thread"),
                Err(error) => return Err(error),
            }
        }
        state.waiting.push_back(work);
        self.0.changed.notify_one();
        Ok(receiver)
    }

    fn spawn(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("windrow-serve".into());
        thread.spawn(move || shared.work()).map(drop)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.0.state).is_over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(work) = self.next() {
            // A panic drops the sender, which the caller notices.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            if state.is_over {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limited_number_of_threads_does_all_work_and_survives_panics() {
        let threads = Threads::default();
        let panicked = threads.start(|| panic!("as it should")).unwrap();
        assert!(panicked.await.is_err());
        let all: Vec<_> = (0..1_000).map(|n| threads.start(move || n * 2).unwrap()).collect();
        for (n, done) in all.into_iter().enumerate() {
            assert_eq!(done.await.unwrap(), n * 2);
        }
        let started = lock(&threads.0.state).threads;
        assert!((1..=THREADS_MAX).contains(&started), "{started}");
        let shared = Arc::downgrade(&threads.0);
        drop(threads);
        // Threads drop their reference when they end.
        while shared.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    }
}
