//! Thread pools for attempts: each running attempt has a pool to itself.
//!
//! So a thread that waits for its own attempt never picks up work of another, the operating system
//! shares the cores between two attempts, and an attempt that hangs blocks only its own pool.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::time::sleep;
use windrow_jobs::FailureCause;

use crate::sync::lock;

/// How often to retry while the system refuses threads.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Most pools that are kept for reuse.
const IDLE_MAX: usize = 64;

/// Idle pools. Clones share them.
#[derive(Clone, Default)]
pub struct Pools {
    idle: Arc<Mutex<Vec<ThreadPool>>>,
}

impl Pools {
    /// A pool of `threads` threads: an idle one, or a new one. If the system refuses new threads, a
    /// larger idle pool is used; if there is none, it retries for a while: other threads end.
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

    /// Takes back a pool that is idle again. A pool that is dropped instead ends when its work
    /// does.
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
    async fn a_returned_pool_is_reused_for_the_same_number_of_threads() {
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
