//! The life of a process after its start: it is watched, killed if need be, and reaped, and the
//! cause of its death is reported.
//!
//! It is killed with its whole group while it is not yet reaped and its number is still its own. So
//! the descendants of user code end, too, and no unrelated process is hit.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as StdChild, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use windrow_jobs::{FailureCause, MemoryLimit, RecordPlace};

use super::limits::{Excess, JobLimits};
use super::printed::Printed;
use super::spawner::{Family, Started};
use crate::cgroup::{self, KilledFor, ProcessGroup, machine_memory_bytes};

/// Shortest pause between two checks.
const REST: Duration = Duration::from_millis(100);
/// After a check that took long, as with very many processes, the pause is so many times as long:
/// checks take at most a quarter of a core.
const RESTS_PER_LOOK: u32 = 3;
/// Checks from one read of the kernel's count of kills to the next.
const LOOKS_PER_COUNT: u32 = 50;
/// How long a killed process may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// How long output may still arrive from a process that is gone.
const PRINTED_GRACE: Duration = Duration::from_millis(500);

/// Requests to end a process.
#[derive(Default)]
pub(super) struct Stop {
    kill: CancellationToken,
    is_expected: AtomicBool,
}

impl Stop {
    /// Marks its end as expected: it is not a death.
    pub(super) fn expect_end(&self) {
        self.is_expected.store(true, Ordering::Relaxed);
    }

    /// Kills it for its behaviour: its attempts have died.
    pub(super) fn condemn(&self) {
        self.kill.cancel();
    }

    /// Kills it on purpose, which is not a death: its attempts are cancelled.
    pub(super) fn kill(&self) {
        self.expect_end();
        self.kill.cancel();
    }
}

/// Why a process ended.
#[derive(Clone, Debug)]
pub(super) enum ProcessEnd {
    /// It was asked to end, or killed on purpose.
    Expected,
    /// It was killed for exceeding a limit.
    Exceeded(Excess),
    /// The kernel killed it for want of memory: so much of it is available, by this limit.
    OutOfMemory(u64, MemoryLimit),
    /// It ended by itself, or was killed by somebody else.
    Died {
        status: ExitStatus,
        /// The last lines that it printed.
        output: String,
    },
}

impl ProcessEnd {
    /// The failure of an attempt that ran in it, `alone` or beside others, at `place`.
    pub(super) fn cause(&self, alone: bool, place: &RecordPlace) -> FailureCause {
        use windrow_jobs::Death;
        match self {
            Self::Expected => FailureCause::Cancelled,
            Self::Exceeded(Excess::Memory(limit_bytes)) => {
                let (limit, place) = (MemoryLimit::Process, place.clone());
                FailureCause::OutOfMemory { limit_bytes: *limit_bytes, limit, alone, place }
            }
            Self::OutOfMemory(limit_bytes, limit) => {
                let (limit_bytes, limit, place) = (*limit_bytes, *limit, place.clone());
                FailureCause::OutOfMemory { limit_bytes, limit, alone, place }
            }
            Self::Exceeded(Excess::Processes(most)) => {
                let (death, place) =
                    (Death::Signal(Signal::KILL.as_raw()), Box::new(place.clone()));
                let output = format!(
                    "(killed by its worker: with those that it has started, it was more than {most} processes; see the \
                     worker's --job-processes)"
                );
                FailureCause::ProcessDied { death, alone, place, output }
            }
            Self::Died { status, output } => {
                let death = match status.signal() {
                    Some(signal) => Death::Signal(signal),
                    None => Death::Exit(status.code().unwrap_or_default()),
                };
                let (place, mut output) = (Box::new(place.clone()), output.clone());
                if death == Death::Signal(Signal::XFSZ.as_raw()) {
                    output += "(a file grew beyond the worker's --job-file-size)";
                }
                FailureCause::ProcessDied { death, alone, place, output }
            }
        }
    }
}

/// A process that was started and not reaped.
pub(super) struct Process {
    pub(super) pid: Pid,
    leader: Leader,
    printed: Printed,
    /// Its control group, if it has one.
    group: Option<Arc<ProcessGroup>>,
    kills: KernelKills,
}

/// The process itself, which leads its process group.
struct Leader {
    child: StdChild,
    pid: Pid,
    /// Resolves when it has ended.
    ended: oneshot::Receiver<()>,
    family: Family,
    group: Option<Arc<ProcessGroup>>,
}

impl Leader {
    /// Kills the whole group, then processes that have left it, and returns the leader's exit
    /// status. The control group holds all of them, except those that could leave it where nothing
    /// else confines them.
    async fn kill(mut self) -> io::Result<ExitStatus> {
        self.group.iter().for_each(|group| group.kill());
        kill_group(self.pid);
        if !self.ended.is_terminated() {
            let _ = self.ended.await;
        }
        // Kills processes that were started meanwhile.
        kill_group(self.pid);
        self.family.kill().await;
        if let Some(group) = self.group.take() {
            let _ = spawn_blocking(move || group.end()).await;
        }
        self.child.wait()
    }
}

impl Process {
    /// Takes over a process that leads a process group of its own, and may have a control group.
    /// `kills` was counted before it was started.
    pub(super) fn new(
        started: Started,
        printed: Printed,
        group: Option<Arc<ProcessGroup>>,
        kills: KernelKills,
    ) -> Self {
        let Started { child, ended, family } = started;
        let pid = Pid::from_child(&child);
        let leader = Leader { child, pid, ended, family, group: group.clone() };
        Self { pid, leader, printed, group, kills }
    }

    /// Watches it until it is gone, with all of its group; calls `on_end` as soon as that is
    /// certain, and uses `end_orphans` to end processes that have left its group. A process that
    /// the kernel does not end, because it waits for a disk or a network file system, counts as
    /// gone after a while: nothing waits for it longer.
    pub(super) async fn watch(
        mut self,
        stop: &Stop,
        limits: JobLimits,
        on_end: impl FnOnce(),
        end_orphans: impl FnOnce() + Send + 'static,
    ) -> ProcessEnd {
        let excess = tokio::select! {
            biased;
            _ = &mut self.leader.ended => None,
            () = stop.kill.cancelled() => None,
            excess = outgrows(self.pid, limits, self.group.as_ref(), &mut self.kills) => Some(excess),
        };
        on_end();
        // The task goes on by itself after the timeout.
        let gone = timeout(KILL_GRACE, tokio::spawn(self.leader.kill())).await;
        if gone.is_err() {
            tracing::warn!(
                pid = self.pid.as_raw_nonzero(),
                "a process was killed and has not ended for {} s: the kernel is waiting for something; giving up waiting for it",
                KILL_GRACE.as_secs()
            );
        }
        let killed = ExitStatus::from_raw(Signal::KILL.as_raw());
        // Nobody else waits for it, so reading its status does not fail.
        let status = gone.ok().and_then(Result::ok).and_then(Result::ok).unwrap_or(killed);
        let _ = spawn_blocking(end_orphans).await;
        if timeout(PRINTED_GRACE, self.printed.end()).await.is_err() {
            tracing::warn!(
                pid = self.pid.as_raw_nonzero(),
                "a process has left behind processes outside its group"
            );
        }
        if let Some(excess) = excess {
            return ProcessEnd::Exceeded(excess);
        }
        if stop.is_expected.load(Ordering::Relaxed) {
            return ProcessEnd::Expected;
        }
        if status.signal() == Some(Signal::KILL.as_raw())
            && let Some(death) = self.kills.death(self.group.as_deref())
        {
            return death;
        }
        ProcessEnd::Died { status, output: self.printed.last_lines() }
    }
}

/// The kernel's count of out-of-memory kills some time before a process ended. The kernel counts a
/// kill when it decides on it, which may be long before the process is gone.
pub(super) struct KernelKills {
    /// Reads the count; `None` if the kernel does not say.
    count: fn() -> Option<u64>,
    before: Option<u64>,
    next: Option<u64>,
    looks: u32,
}

impl KernelKills {
    /// The current count. To be taken before a process is started: its worker may be so short of
    /// memory or of time that the kernel kills the process before anybody watches it.
    pub(super) fn count() -> Self {
        Self::counted_by(cgroup::oom_kills)
    }

    fn counted_by(count: fn() -> Option<u64>) -> Self {
        let now = count();
        Self { count, before: now, next: now, looks: 0 }
    }

    /// To be called at each check of the process.
    fn look(&mut self) {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_COUNT) {
            self.before = self.next;
            self.next = (self.count)();
        }
    }

    /// The process's end, if the kernel has killed it for want of memory. A control group of its
    /// own tells for certain; without one, a recent kill makes it likely.
    fn death(&self, group: Option<&ProcessGroup>) -> Option<ProcessEnd> {
        match group.and_then(ProcessGroup::killed_for) {
            Some(KilledFor::ItsLimit(bytes)) => Some(ProcessEnd::Exceeded(Excess::Memory(bytes))),
            Some(KilledFor::Another) => Some(out_of_memory()),
            None => ((self.count)()? > self.before?).then(out_of_memory),
        }
    }
}

/// The lowest limit of this worker or its machine.
fn out_of_memory() -> ProcessEnd {
    match cgroup::kill_limit_bytes() {
        Some(bytes) if bytes < machine_memory_bytes() => {
            ProcessEnd::OutOfMemory(bytes, MemoryLimit::Group)
        }
        _ => ProcessEnd::OutOfMemory(machine_memory_bytes(), MemoryLimit::Machine),
    }
}

fn kill_group(pid: Pid) {
    // Fails if the group is empty. The leader, which is not reaped yet, may have left its group.
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = kill_process(pid, Signal::KILL);
}

/// Returns when the process exceeds one of its limits.
async fn outgrows(
    pid: Pid,
    limits: JobLimits,
    group: Option<&Arc<ProcessGroup>>,
    kills: &mut KernelKills,
) -> Excess {
    loop {
        kills.look();
        let begun = Instant::now();
        let group = group.cloned();
        let look = spawn_blocking(move || limits.excess(pid, group.as_deref()));
        if let Ok(Some(excess)) = look.await {
            return excess;
        }
        sleep(REST.max(begun.elapsed() * RESTS_PER_LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::executor::children::spawner::spawn;

    thread_local! {
        /// In place of the kernel's count.
        static KILLS: Cell<u64> = const { Cell::new(7) };
    }

    fn simulated() -> KernelKills {
        KernelKills::counted_by(|| Some(KILLS.get()))
    }

    /// A sleeping process, and its folder.
    async fn sleeping() -> (Started, Printed, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, theirs) = io::pipe().unwrap();
        let printed = Printed::record(pipe, folder.path().join("printed")).unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000").process_group(0).stdout(theirs).stderr(Stdio::null());
        (spawn(command, false).await.unwrap(), printed, folder)
    }

    #[tokio::test]
    async fn a_condemned_process_dies_and_a_stopped_one_does_not() {
        for is_expected in [false, true] {
            let (started, printed, _folder) = sleeping().await;
            let process = Process::new(started, printed, None, simulated());
            let stop = Stop::default();
            if is_expected {
                stop.kill();
            } else {
                stop.condemn();
            }
            match process.watch(&stop, JobLimits::default(), || {}, || {}).await {
                ProcessEnd::Died { status, .. } => {
                    assert_eq!((status.signal(), is_expected), (Some(9), false));
                }
                death => assert!(is_expected && matches!(death, ProcessEnd::Expected), "{death:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_kill_for_want_of_memory_counts_although_nobody_watches_yet() {
        let kills = simulated();
        let (started, printed, _folder) = sleeping().await;
        let process = Process::new(started, printed, None, kills);
        KILLS.set(KILLS.get() + 1);
        kill_process(process.pid, Signal::KILL).unwrap();
        let death = process.watch(&Stop::default(), JobLimits::default(), || {}, || {}).await;
        assert!(matches!(death, ProcessEnd::OutOfMemory(..)), "{death:?}");
    }

    #[test]
    fn only_a_recent_kill_explains_a_death() {
        let mut kills = simulated();
        assert!(kills.death(None).is_none());
        KILLS.set(KILLS.get() + 1);
        assert!(kills.death(None).is_some());
        (0..LOOKS_PER_COUNT).for_each(|_| kills.look());
        assert!(kills.death(None).is_some(), "the process may take its time to end");
        (0..LOOKS_PER_COUNT).for_each(|_| kills.look());
        assert!(kills.death(None).is_none(), "it has killed another process");
    }

    /// Simulates uninterruptible sleep: the process is killed, and its end is never noticed.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_does_not_end_is_given_up() {
        let (started, printed, _folder) = sleeping().await;
        let (never, ended) = oneshot::channel();
        let process = Process::new(Started { ended, ..started }, printed, None, simulated());
        let stop = Stop::default();
        stop.condemn();
        let mut has_ended = false;
        let death = process.watch(&stop, JobLimits::default(), || has_ended = true, || {}).await;
        assert!(
            has_ended
                && matches!(death, ProcessEnd::Died { status, .. } if status.signal() == Some(9))
        );
        // It is reaped once it ends.
        never.send(()).unwrap();
    }
}
