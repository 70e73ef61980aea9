//! Resource limits of one process of a job and its descendants. The kernel limits open files and
//! file sizes, from before its program begins. The worker counts memory and processes, up to ten
//! times a second, since the kernel's limits measure something else: address space says little of
//! memory, and its limit on processes covers the whole user.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    Pid, Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit, setsid,
};

use super::family::Members;
use crate::cgroup::{GroupLimits, ProcessGroup};

/// Allowed beyond the budget and half of it: for code, stacks, the transport's buffers, and
/// short-lived data of user code.
const BESIDE_BUDGET_BYTES: u64 = 256 << 20;

/// If the limit leaves hardly more than this allowance, the budget is one part in this many of the
/// limit.
const SMALL_PARTS: u64 = 4;

/// A control group counts threads: so many are allowed for each process, and these besides, since a
/// Windrow process has several times as many threads as there are cores.
const THREADS_PER_PROCESS: u64 = 16;
const THREADS_BESIDE: u64 = 4_096;

/// Limits of each process of a job. `None` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Memory of the process and its descendants; by default, one and a half times the budget of
    /// all jobs for intermediate data, plus 256 MiB.
    pub memory_bytes: Option<u64>,
    /// Files and connections that may be open at once.
    pub open_files: u64,
    /// Largest size of any file that it writes, map outputs and parts included.
    pub file_bytes: Option<u64>,
    /// Number of processes: itself and its descendants.
    pub processes: u64,
}

impl Default for JobLimits {
    fn default() -> Self {
        // Reducers read many files at once; a leak is noticed before it hurts.
        Self { memory_bytes: None, open_files: 65_536, file_bytes: None, processes: 1_000 }
    }
}

/// The limit that a process exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// The memory limit, of so many bytes.
    Memory(u64),
    /// The limit on processes, of so many.
    Processes(u64),
}

impl JobLimits {
    /// Fills in the default memory limit for this budget, unless a limit is set.
    pub(super) fn with_budget(self, budget_bytes: u64) -> Self {
        let memory_bytes = self.memory_bytes.unwrap_or_else(|| usual_bytes(budget_bytes));
        Self { memory_bytes: Some(memory_bytes), ..self }
    }

    /// Limits for the process's control group. The kernel counts the page cache of a job's files,
    /// from which the shuffle is served: so a default limit is not lower than on a worker with the
    /// `usual_budget_bytes` of its machine.
    pub(super) fn of_group(self, budget_bytes: u64, usual_budget_bytes: u64) -> GroupLimits {
        let usual = || usual_bytes(budget_bytes.max(usual_budget_bytes));
        GroupLimits {
            memory_bytes: self.memory_bytes.unwrap_or_else(usual),
            threads: self
                .processes
                .saturating_mul(THREADS_PER_PROCESS)
                .saturating_add(THREADS_BESIDE),
        }
    }

    /// The share of `budget_bytes` that a process may use without exceeding its memory limit.
    pub(super) fn budget_within(self, budget_bytes: u64) -> u64 {
        self.memory_bytes.map_or(budget_bytes, |most| {
            let usual = most.saturating_sub(BESIDE_BUDGET_BYTES) / 3 * 2;
            budget_bytes.min(usual.max(most / SMALL_PARTS))
        })
    }

    /// Makes the kernel limit the process of `command` and its descendants, in a session of their
    /// own.
    pub(super) fn bind(self, command: &mut Command) {
        let limit = move || {
            // A session has no terminal, and the process leads a group of its own.
            setsid()?;
            // Inherited descriptors, such as a lock or a log of the worker's parent, must not reach
            // the job. Where the kernel lacks the call, roles have marked them close-on-exec
            // themselves.
            close_inherited();
            // Disables core dumps: nobody wants a dump of gigabytes of data. With a limit of 0, a
            // core handler program would still be asked to take a dump; with a limit of 1, it is
            // not.
            set(Resource::Core, 1)?;
            set(Resource::Nofile, self.open_files)?;
            self.file_bytes.map_or(Ok(()), |bytes| set(Resource::Fsize, bytes))?;
            // As a subreaper, it keeps orphaned descendants countable. Where the system lacks it,
            // nothing changes.
            let _ = set_child_subreaper(Some(getpid()));
            Ok(())
        };
        // SAFETY: between fork and exec, only async-signal-safe operations are allowed: this makes
        // a few system calls, takes no lock and allocates nothing, and neither do its errors.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(limit);
        }
    }

    /// The limit that the process, its descendants and its control group exceed now. Reads a few
    /// kernel files for each of them.
    pub(super) fn excess(self, pid: Pid, group: Option<&ProcessGroup>) -> Option<Excess> {
        let family = Members::of(pid, self.processes.saturating_add(1));
        let of_group = group.and_then(ProcessGroup::memory_bytes);
        if let Some(most) = self.memory_bytes
            && (of_group.is_some_and(|bytes| bytes > most) || family.has_more_memory(most))
        {
            return Some(Excess::Memory(most));
        }
        (family.len() > self.processes).then_some(Excess::Processes(self.processes))
    }
}

/// The default memory limit of a process on a worker with this budget.
fn usual_bytes(budget_bytes: u64) -> u64 {
    budget_bytes.saturating_add(budget_bytes / 2).saturating_add(BESIDE_BUDGET_BYTES)
}

/// Marks all descriptors but the standard ones close-on-exec. Async-signal-safe.
fn close_inherited() {
    const AFTER_STANDARD: libc::c_uint = 3;
    // SAFETY: all arguments are integers.
    #[allow(unsafe_code)]
    unsafe {
        let all = libc::c_uint::MAX;
        let how = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        libc::syscall(libc::SYS_close_range, AFTER_STANDARD, all, how);
    }
}

/// Sets the soft and the hard limit, or keeps the present hard limit if that is lower.
fn set(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(most);
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn the_kernel_enforces_the_limits() {
        let limits = JobLimits { file_bytes: Some(4_096), open_files: 17, ..Default::default() };
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n; ulimit -Hn; ulimit -c; ulimit -f"]);
        limits.bind(&mut command);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(said[..3], ["17", "17", "0"]);
        // In blocks of 512 bytes, or of 1,024, depending on the shell.
        assert!(["8", "4"].contains(&said[3]), "{said:?}");
    }

    /// The worker may have inherited any descriptors from its parent.
    #[test]
    fn descriptors_of_the_worker_are_closed() {
        use std::os::fd::AsRawFd;

        let secret = tempfile::tempfile().unwrap();
        let number = secret.as_raw_fd();
        rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
        let open = |bound: bool| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("test -e /proc/self/fd/{number}")]);
            if bound {
                JobLimits::default().bind(&mut command);
            }
            command.status().unwrap().success()
        };
        assert!(open(false) && !open(true));
    }

    #[test]
    fn descendants_are_counted_up_to_a_limit() {
        let mut command = Command::new("sh");
        // A shell gives background commands an empty input unless it is redirected.
        let script = "exec 3<&0; sh -c 'cat <&3 & cat <&3 & echo ready; wait' & cat <&3 & wait";
        command.args(["-c", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let pid = Pid::from_child(&child);
        let limits = |processes| JobLimits { processes, ..Default::default() };
        assert!(Members::of(pid, 100).len() >= 3);
        assert_eq!(Members::of(pid, 2).len(), 2);
        assert_eq!(limits(2).excess(pid, None), Some(Excess::Processes(2)));
        assert_eq!(limits(100).excess(pid, None), None);
        let small = JobLimits { memory_bytes: Some(1), ..limits(2) };
        assert_eq!(small.excess(pid, None), Some(Excess::Memory(1)));
        let _ = child.kill();
        child.wait().unwrap();
    }

    #[test]
    fn the_memory_limit_follows_the_budget_unless_it_is_set() {
        let limits = JobLimits::default();
        assert_eq!(limits.with_budget(1 << 30).memory_bytes, Some((3 << 29) + (256 << 20)));
        assert_eq!(limits.with_budget(u64::MAX).memory_bytes, Some(u64::MAX));
        let said = JobLimits { memory_bytes: Some(5), ..limits };
        assert_eq!(said.with_budget(1 << 30).memory_bytes, Some(5));
    }

    /// A small budget leaves the page cache of a large machine alone, unless a limit is set.
    #[test]
    fn the_kernels_limits_are_no_lower_than_the_workers() {
        let limits = JobLimits { processes: 10, ..Default::default() };
        let of_group = |budget, usual| limits.of_group(budget, usual).memory_bytes;
        assert_eq!(of_group(1 << 30, 8 << 30), (12 << 30) + (256 << 20));
        assert_eq!(of_group(16 << 30, 8 << 30), (24 << 30) + (256 << 20));
        assert_eq!(of_group(u64::MAX, 8 << 30), u64::MAX);
        assert_eq!(limits.of_group(1, 1).threads, 160 + 4_096);
        let said = JobLimits { memory_bytes: Some(5), processes: u64::MAX, ..limits };
        assert_eq!(said.of_group(1 << 30, 8 << 30).memory_bytes, 5);
        assert_eq!(said.of_group(1 << 30, 8 << 30).threads, u64::MAX);
    }

    #[test]
    fn the_budget_stays_below_the_limit() {
        let budget = |memory_bytes, budget_bytes| {
            JobLimits { memory_bytes, ..Default::default() }.budget_within(budget_bytes)
        };
        assert_eq!(budget(None, 1 << 40), 1 << 40);
        assert_eq!(budget(Some((3 << 29) + (256 << 20)), 8 << 30), 1 << 30);
        assert_eq!(budget(Some(1 << 40), 1 << 30), 1 << 30);
        assert_eq!(budget(Some(256 << 20), 8 << 30), 64 << 20);
    }
}
