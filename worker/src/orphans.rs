//! Processes that became children of this one when their parents ended.
//!
//! ```text
//!  job's process --- forks twice, calls setsid ---> what leaves its group
//!        | ends
//!        v
//!  the nearest ancestor that takes orphans: the worker, or process 1 of its container
//! ```
//!
//! The kernel gives orphans to the main thread of the process that takes them, and lists a thread's
//! children by the thread that has started them (`/proc/self/task/ID/children`). Windrow starts
//! none on its main thread: so what is listed there is an orphan, or was there before Windrow was
//! (a shell that has become this program with `exec`), and is left alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid,
};

use crate::sync::lock;

/// How often to look for some more after all that were there were killed: they may have started
/// others meanwhile.
const ROUNDS_MAX: u32 = 100;
/// For the kernel to end them.
const PAUSE: Duration = Duration::from_millis(5);

/// The orphans of this process.
#[derive(Debug)]
pub struct Orphans {
    /// Children of the main thread that are no orphans.
    not_ours: BTreeSet<i32>,
    /// Whether all orphans of a container come here, also those that no job has left.
    is_process_one: bool,
    /// One at a time, so that no number is killed that was reaped, and given to somebody else,
    /// meanwhile.
    looking: Mutex<()>,
}

impl Orphans {
    /// Call it before any orphan can come.
    pub fn new() -> Self {
        let not_ours = children_of_main_thread().into_iter().collect();
        let is_process_one = getpid() == Pid::INIT;
        Self { not_ours, is_process_one, looking: Mutex::default() }
    }

    /// From now on, what descends from this process comes here when its parent ends.
    ///
    /// # Errors
    /// When the system has nothing of the kind.
    pub fn take_all(&self) -> io::Result<()> {
        Ok(set_child_subreaper(Some(getpid()))?)
    }

    /// Takes leave of those that have ended, which would stay in the table of processes for ever.
    pub fn reap(&self) {
        let _one_at_a_time = lock(&self.looking);
        self.listed().into_iter().for_each(reap);
    }

    /// Kills and reaps those that jobs have left. `is_jobs` tells, by its environment, what a job
    /// has started, where others come here as well: process 1 gets what `docker exec` has left
    /// behind, too.
    pub fn end_those_of_jobs(&self, is_jobs: impl Fn(&[u8]) -> bool) {
        let _one_at_a_time = lock(&self.looking);
        for _ in 0..ROUNDS_MAX {
            let mut orphans = self.listed();
            orphans.retain(|pid| !self.is_process_one || is_jobs(&environment(*pid)));
            if orphans.is_empty() {
                return;
            }
            for pid in orphans {
                // It is not reaped before, so the number is still its own.
                let _ = kill_process(pid, Signal::KILL);
                reap(pid);
            }
            std::thread::park_timeout(PAUSE);
        }
        tracing::warn!("processes that a job has left behind do not end");
    }

    fn listed(&self) -> Vec<Pid> {
        let children = children_of_main_thread().into_iter();
        let ours = children.filter(|pid| self.is_process_one || !self.not_ours.contains(pid));
        ours.filter_map(Pid::from_raw).collect()
    }
}

impl Default for Orphans {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the kernel does not list children, there are none to care for.
fn children_of_main_thread() -> Vec<i32> {
    let id = getpid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/self/task/{id}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// With which it was started; empty when it has gone.
fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default()
}

/// Takes leave of a process if it has ended.
fn reap(pid: Pid) {
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process, as it is: whatever its main thread has started before is not touched.
    #[test]
    fn what_was_there_before_is_left_alone() {
        let mut orphans = Orphans::new();
        orphans.not_ours.insert(1);
        assert!(orphans.listed().iter().all(|pid| pid.as_raw_nonzero().get() != 1));
        orphans.reap();
    }

    #[test]
    fn an_environment_tells_whose_a_process_is() {
        let own = environment(getpid());
        assert!(own.windows(5).any(|window| window == b"PATH="), "{} bytes", own.len());
    }
}
