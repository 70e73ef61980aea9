//! Orphans: processes that became children of this one when their parents ended.
//!
//! ```text
//!  job's process --- forks twice, calls setsid ---> a process outside its group
//!        | ends
//!        v
//!  the nearest subreaper: the worker, or process 1 of its container
//! ```
//!
//! The kernel gives orphans to the main thread of the process that adopts them, and lists children
//! under the thread that has started them (`/proc/self/task/ID/children`). Windrow starts no
//! process on its main thread: so a child listed there is an orphan; or it is older than Windrow
//! (of a shell that has become this program with `exec`), and is left alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid,
};

use crate::sync::lock;

/// How often to look for more after all visible orphans were killed: they may have started others
/// meanwhile.
const ROUNDS_MAX: u32 = 100;
/// Time for the kernel to end them.
const PAUSE: Duration = Duration::from_millis(5);

/// The orphans of this process.
#[derive(Debug)]
pub struct Orphans {
    /// Children of the main thread that are not orphans.
    not_ours: BTreeSet<i32>,
    /// Whether all orphans of a container come here, including those that are not of a job.
    is_process_one: bool,
    /// One at a time, so that no process id is killed that was reaped, and reused, meanwhile.
    looking: Mutex<()>,
}

impl Orphans {
    /// To be called before any orphan can arrive.
    pub fn new() -> Self {
        let not_ours = children_of_main_thread().into_iter().collect();
        let is_process_one = getpid() == Pid::INIT;
        Self { not_ours, is_process_one, looking: Mutex::default() }
    }

    /// From now on, orphaned descendants of this process are adopted by it.
    ///
    /// # Errors
    ///
    /// When the system does not support it.
    pub fn take_all(&self) -> io::Result<()> {
        Ok(set_child_subreaper(Some(getpid()))?)
    }

    /// Reaps orphans that have ended, which would stay in the process table for ever.
    pub fn reap(&self) {
        let _one_at_a_time = lock(&self.looking);
        self.listed().into_iter().for_each(reap);
    }

    /// Kills and reaps orphans of jobs. `is_jobs` recognizes a job's process by its environment
    /// where other orphans arrive as well: process 1 also gets those of `docker exec`.
    pub fn end_those_of_jobs(&self, is_jobs: impl Fn(&[u8]) -> bool) {
        let _one_at_a_time = lock(&self.looking);
        for _ in 0..ROUNDS_MAX {
            let mut orphans = self.listed();
            orphans.retain(|pid| !self.is_process_one || is_jobs(&environment(*pid)));
            if orphans.is_empty() {
                return;
            }
            for pid in orphans {
                // It has not been reaped, so the id is still its own.
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

/// Where the kernel does not list children, no orphans are found.
fn children_of_main_thread() -> Vec<i32> {
    let id = getpid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/self/task/{id}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The environment with which it was started; empty when it is gone.
fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default()
}

/// Reaps a process if it has ended.
fn reap(pid: Pid) {
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For this process as it is: earlier children of its main thread are not touched.
    #[test]
    fn earlier_children_are_left_alone() {
        let mut orphans = Orphans::new();
        orphans.not_ours.insert(1);
        assert!(orphans.listed().iter().all(|pid| pid.as_raw_nonzero().get() != 1));
        orphans.reap();
    }

    #[test]
    fn a_process_is_recognized_by_its_environment() {
        let own = environment(getpid());
        assert!(own.windows(5).any(|window| window == b"PATH="), "{} bytes", own.len());
    }
}
