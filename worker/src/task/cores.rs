//! Shares the worker's cores among attempts, chunk by chunk.
//!
//! Two map attempts overlap, each with as many threads as the worker has: while one reads, the
//! other computes. A thread takes a core while it computes one chunk, so that no more threads map
//! than the worker may use, unless a chunk takes longer than the longest wait. Reduce attempts, of
//! which a worker runs one for each thread, take no cores: they may wait for other workers, and
//! must not hold a core while they wait.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::sync::{lock, wait_while};

/// Longest wait for a core. Behind user code that hangs, other attempts run without one.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The cores of a worker. Clones share them.
#[derive(Clone)]
pub struct Cores {
    shared: Arc<Shared>,
}

struct Shared {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The cores that one attempt has taken. They are returned at the latest when the attempt is
/// abandoned, even if its threads never return.
pub struct CoreLease {
    cores: Cores,
    cancel: CancellationToken,
    /// Number of cores taken; `None` once the attempt has been abandoned.
    taken: Mutex<Option<usize>>,
}

/// One core, until it is dropped.
pub struct Core<'a> {
    lease: Option<&'a CoreLease>,
}

impl Cores {
    /// `count` cores, all free.
    pub fn new(count: usize) -> Self {
        Self { shared: Arc::new(Shared { free: Mutex::new(count), freed: Condvar::new() }) }
    }

    /// A lease without a core, for an attempt that `cancel` ends.
    pub fn lease(&self, cancel: CancellationToken) -> CoreLease {
        CoreLease { cores: self.clone(), cancel, taken: Mutex::new(Some(0)) }
    }

    /// Waits for a core; false if none was free in time.
    fn take(&self, cancel: &CancellationToken) -> bool {
        let deadline = Instant::now() + WAIT_MAX;
        let check = || match cancel.is_cancelled() || Instant::now() >= deadline {
            true => Err(()),
            false => Ok(()),
        };
        let free =
            wait_while(&self.shared.freed, lock(&self.shared.free), |free| *free == 0, check);
        let Ok(mut free) = free else { return false };
        *free -= 1;
        true
    }

    fn give_back(&self, count: usize) {
        *lock(&self.shared.free) += count;
        self.shared.freed.notify_all();
    }
}

impl CoreLease {
    /// Takes a core; waits for one, but not for ever.
    pub fn take(&self) -> Core<'_> {
        if !self.cores.take(&self.cancel) {
            return Core { lease: None };
        }
        match &mut *lock(&self.taken) {
            Some(taken) => *taken += 1,
            None => {
                self.cores.give_back(1);
                return Core { lease: None };
            }
        }
        Core { lease: Some(self) }
    }

    /// Returns all cores of the attempt, now and in future.
    pub fn give_up(&self) {
        let taken = lock(&self.taken).take();
        self.cores.give_back(taken.unwrap_or_default());
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        let Some(lease) = self.lease else { return };
        if let Some(taken) = &mut *lock(&lease.taken) {
            *taken -= 1;
            lease.cores.give_back(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(cores: &Cores) -> usize {
        *lock(&cores.shared.free)
    }

    #[test]
    fn no_more_threads_compute_than_there_are_cores() {
        let cores = Cores::new(2);
        let (running, most) = (Mutex::new(0), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let lease = cores.lease(CancellationToken::new());
                    for _ in 0..50 {
                        let _core = lease.take();
                        *lock(&running) += 1;
                        let now = *lock(&running);
                        let mut most = lock(&most);
                        *most = now.max(*most);
                        drop(most);
                        std::thread::yield_now();
                        *lock(&running) -= 1;
                    }
                });
            }
        });
        assert!((1..=2).contains(&*lock(&most)));
        assert_eq!(free(&cores), 2);
    }

    #[test]
    fn an_abandoned_attempt_holds_no_cores() {
        let cores = Cores::new(1);
        let hanging = cores.lease(CancellationToken::new());
        let core = hanging.take();
        assert_eq!(free(&cores), 0);
        hanging.give_up();
        assert_eq!(free(&cores), 1);
        drop(core);
        drop(hanging.take());
        assert_eq!(free(&cores), 1, "a core was returned twice");
    }
}
