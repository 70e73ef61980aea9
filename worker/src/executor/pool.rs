//! Thread pools for attempts: each attempt has one to itself while it runs.
//!
//! So a thread that waits for its own attempt never takes up work of another one, two attempts of a
//! worker share the cores as the system sees fit, and an attempt that hangs takes nothing with it
//! but its own pool.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::time::sleep;
use windrow_jobs::FailureCause;

use crate::sync::lock;

/// How often to ask again for threads that the system does not have.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Most pools that are kept for reuse.
const IDLE_MAX: usize = 64;

/// Pools that no attempt uses. Clones share them.
#[derive(Clone, Default)]
pub struct Pools {
    idle: Arc<Mutex<Vec<ThreadPool>>>,
}

impl Pools {
    /// A pool of `threads` threads: an idle one, or a new one. Where the system has no threads
    /// left, one of more threads will do; where there is none either, it waits for a while: those
    /// of others end.
    pub async fn lease(&self, threads: usize) -> Result<ThreadPool, FailureCause> {
        let mut tries_left = TRIES;
        loop {
            match self.try_lease(threads) {
                Err(_) if tries_left > 0 => tries_left -= 1,
                leased => return leased,
            }
            sleep(PAUSE).await;
        }
    }

    fn try_lease(&self, threads: usize) -> Result<ThreadPool, FailureCause> {
        let mut idle = lock(&self.idle);
        let found = idle.iter().position(|pool| pool.current_num_threads() == threads);
        if let Some(index) = found {
            return Ok(idle.swap_remove(index));
        }
        drop(idle);
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|thread| format!("windrow-task-{thread}"))
            .build()
            .or_else(|error| self.larger(threads).ok_or_else(|| refused(&error)))
    }

    /// An idle pool of more threads.
    fn larger(&self, threads: usize) -> Option<ThreadPool> {
        let mut idle = lock(&self.idle);
        let index = idle.iter().position(|pool| pool.current_num_threads() > threads)?;
        Some(idle.swap_remove(index))
    }

    /// Takes a pool back on which nothing runs any more. A pool that is dropped instead ends with
    /// what runs on it.
    pub fn give_back(&self, pool: ThreadPool) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_MAX {
            idle.push(pool);
        }
    }
}

fn refused(error: &ThreadPoolBuildError) -> FailureCause {
    FailureCause::Io {
        path: "threads".into(),
        message: format!(
            "cannot be started: {error} ('ulimit -u', TasksMax=, or pids.max of the control group)"
        ),
        disk_full: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_that_was_given_back_is_used_again_for_as_many_threads() {
        let pools = Pools::default();
        let pool = pools.lease(2).await.unwrap();
        let first = pool.install(|| std::thread::current().id());
        assert_eq!(
            pools.lease(2).await.unwrap().current_num_threads(),
            2,
            "a second one meanwhile"
        );
        pools.give_back(pool);
        assert_eq!(pools.lease(1).await.unwrap().current_num_threads(), 1);
        let again = pools.lease(2).await.unwrap();
        let ids = again.broadcast(|_| std::thread::current().id());
        assert!(ids.contains(&first));
        pools.give_back(again);
        assert_eq!(pools.larger(2).map(|pool| pool.current_num_threads()), None);
        assert_eq!(pools.larger(1).map(|pool| pool.current_num_threads()), Some(2));
    }
}
