//! The life of a process after it was started: it is watched, killed where it must be, reaped, and what it died of is told.
//!
//! It is killed with its whole group while its number is still its own, before it is reaped. So what user code has started
//! goes too, and nobody else's process is met by mistake.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as StdChild, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use windrow_jobs::{FailureCause, Place};

use super::printed::Printed;

/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long output of a process that is gone may still come.
const PRINTED_GRACE: Duration = Duration::from_millis(500);

/// Who wants it to end, and how.
#[derive(Default)]
pub(super) struct Stop {
    kill: CancellationToken,
    is_expected: AtomicBool,
}

impl Stop {
    /// Its end will be no death.
    pub(super) fn expect_end(&self) {
        self.is_expected.store(true, Ordering::Relaxed);
    }

    /// Kills it for what it does: what runs in it has died.
    pub(super) fn condemn(&self) {
        self.kill.cancel();
    }

    /// Kills it, which is no death either: what runs in it is cancelled.
    pub(super) fn kill(&self) {
        self.expect_end();
        self.kill.cancel();
    }
}

/// What a process died of.
#[derive(Clone, Debug)]
pub(super) enum Death {
    /// It was asked to, or killed on purpose.
    Expected,
    /// It was killed for its memory.
    OutOfMemory {
        /// What it might have used.
        limit_bytes: u64,
    },
    /// By itself, or by somebody else's hand.
    Died {
        status: ExitStatus,
        /// The last lines that it printed.
        output: String,
    },
}

impl Death {
    /// What an attempt failed of that ran in it, `alone` or beside others.
    pub(super) fn cause(&self, alone: bool) -> FailureCause {
        use windrow_jobs::Death;
        match self {
            Self::Expected => FailureCause::Cancelled,
            Self::OutOfMemory { limit_bytes } => {
                let place = Place::default();
                FailureCause::OutOfMemory { limit_bytes: *limit_bytes, alone, place }
            }
            Self::Died { status, output } => {
                let death = match status.signal() {
                    Some(signal) => Death::Signal(signal),
                    None => Death::Exit(status.code().unwrap_or_default()),
                };
                let (place, output) = (Box::default(), output.clone());
                FailureCause::ProcessDied { death, alone, place, output }
            }
        }
    }
}

/// A process that was started and not reaped.
pub(super) struct Process {
    child: StdChild,
    pub(super) pid: Pid,
    /// When it has ended.
    ended: oneshot::Receiver<()>,
    printed: Printed,
}

impl Process {
    /// Takes over a process that leads a group of its own. Kills it on failure.
    pub(super) fn new(mut child: StdChild, printed: Printed) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        match wait_for_end(pid) {
            Ok(ended) => Ok(Self { child, pid, ended, printed }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Watches it until it is gone, with all of its group.
    pub(super) async fn watch(mut self, stop: &Stop, memory_limit_bytes: u64) -> Death {
        let is_too_large = tokio::select! {
            biased;
            _ = &mut self.ended => false,
            () = stop.kill.cancelled() => false,
            () = outgrows(self.pid, memory_limit_bytes) => true,
        };
        kill_group(self.pid);
        if !self.ended.is_terminated() {
            let _ = self.ended.await;
        }
        // Of what was begun meanwhile.
        kill_group(self.pid);
        let status = self.child.wait();
        if timeout(PRINTED_GRACE, self.printed.end()).await.is_err() {
            tracing::warn!(
                pid = self.pid.as_raw_nonzero(),
                "a process has left some behind that are not of its group"
            );
        }
        match status {
            _ if is_too_large => Death::OutOfMemory { limit_bytes: memory_limit_bytes },
            Ok(status) if !stop.is_expected.load(Ordering::Relaxed) => {
                Death::Died { status, output: self.printed.last_lines() }
            }
            // Nobody else waits for it, so that this does not fail.
            _ => Death::Expected,
        }
    }
}

/// Waits on a thread of its own, and leaves the process to be reaped.
fn wait_for_end(pid: Pid) -> io::Result<oneshot::Receiver<()>> {
    let (sender, ended) = oneshot::channel();
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        let _ = sender.send(());
    };
    std::thread::Builder::new().name("windrow-wait".into()).spawn(wait)?;
    Ok(ended)
}

fn kill_group(pid: Pid) {
    // It fails where there is nobody left.
    let _ = kill_process_group(pid, Signal::KILL);
}

/// Returns when the process takes up more memory than `limit_bytes`.
async fn outgrows(pid: Pid, limit_bytes: u64) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if own_memory_bytes(pid).is_some_and(|bytes| bytes > limit_bytes) {
            return;
        }
    }
}

/// What it takes up in memory, without what it shares with files. Reads a file of the kernel's, which does not block.
fn own_memory_bytes(pid: Pid) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok()?;
    let mut pages = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}
