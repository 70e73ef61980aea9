//! What one process of a job may use, with what it starts. Open files and sizes of files the kernel
//! limits, from before its program begins; memory and processes the worker counts, up to ten times
//! a second, since the kernel counts something else: address space says little of memory, and its
//! processes are those of the whole user.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    Pid, Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit, setsid,
};

use super::family::Members;
use crate::cgroup::{GroupLimits, ProcessGroup};

/// A process may take up half as much memory again as is budgeted, and this: for code, stacks, the
/// transport's buffers, and what user code holds for a moment.
const BESIDE_BUDGET_BYTES: u64 = 256 << 20;

/// Where it may have hardly more than what is beside the budget, one part in this many is its
/// budget.
const SMALL_PARTS: u64 = 4;

/// Where the kernel counts them, threads count: for each process so many, and these besides, since
/// one process of Windrow's has several times as many as there are cores.
const THREADS_PER_PROCESS: u64 = 16;
const THREADS_BESIDE: u64 = 4_096;

/// Limits of each process of a job. `None` sets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Memory of its own, and of what descends from it; where it is left out, half as much again as
    /// all jobs together may use for intermediate data, and 256 MiB.
    pub memory_bytes: Option<u64>,
    /// Files and connections that it has open at once.
    pub open_files: u64,
    /// Size of any file that it writes, map outputs and parts included.
    pub file_bytes: Option<u64>,
    /// Itself and those that descend from it, at once.
    pub processes: u64,
}

impl Default for JobLimits {
    fn default() -> Self {
        // Reducers read from many files at once; a leak is noticed before it hurts.
        Self { memory_bytes: None, open_files: 65_536, file_bytes: None, processes: 1_000 }
    }
}

/// What a process has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// So many bytes would have been allowed.
    Memory(u64),
    /// So many.
    Processes(u64),
}

impl JobLimits {
    /// Fills in the limit of memory that is usual on a worker with this budget, unless another one
    /// is set.
    pub(super) fn with_budget(self, budget_bytes: u64) -> Self {
        let memory_bytes = self.memory_bytes.unwrap_or_else(|| usual_bytes(budget_bytes));
        Self { memory_bytes: Some(memory_bytes), ..self }
    }

    /// What the kernel is told where each process has a control group. It counts what a job's files
    /// have in the page cache, on which the shuffle lives: so a limit that nobody has asked for is
    /// not less than on a worker which has the `usual_budget_bytes` of its machine.
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

    /// What a process may be told to use of `budget_bytes`, so that it is not killed for doing so.
    pub(super) fn budget_within(self, budget_bytes: u64) -> u64 {
        self.memory_bytes.map_or(budget_bytes, |most| {
            let usual = most.saturating_sub(BESIDE_BUDGET_BYTES) / 3 * 2;
            budget_bytes.min(usual.max(most / SMALL_PARTS))
        })
    }

    /// Has the kernel limit the process of `command`, with all that it starts, and give it a
    /// session of its own.
    pub(super) fn bind(self, command: &mut Command) {
        let limit = move || {
            // So it has no terminal, and leads a group of its own.
            setsid()?;
            // What its worker was started with is not for it: a lock of whoever has started that, a
            // log. Where the kernel does not know the call, roles have seen to it themselves.
            close_inherited();
            // A dump of a process with gigabytes of data is of no use to anybody. Where a program
            // takes dumps, the kernel asks it to take one of no bytes as well, but none of a single
            // byte.
            set(Resource::Core, 1)?;
            set(Resource::Nofile, self.open_files)?;
            self.file_bytes.map_or(Ok(()), |bytes| set(Resource::Fsize, bytes))?;
            // What it starts, and what leaves it, stays countable. Where the system has nothing of
            // the kind, it is as it was.
            let _ = set_child_subreaper(Some(getpid()));
            Ok(())
        };
        // SAFETY: between fork and exec, only what is safe in a signal handler may be done: this
        // makes a few system calls, and takes no lock and no memory, and neither do its errors.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(limit);
        }
    }

    /// What the process has too much of now, with all that descends from it, and all that is in its
    /// control group. Reads some files of the kernel's for each of them.
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

/// Of memory, for a process on a worker with this budget.
fn usual_bytes(budget_bytes: u64) -> u64 {
    budget_bytes.saturating_add(budget_bytes / 2).saturating_add(BESIDE_BUDGET_BYTES)
}

/// Has all descriptors but the standard ones closed when the program begins. As it is safe between
/// fork and exec.
fn close_inherited() {
    const AFTER_STANDARD: libc::c_uint = 3;
    // SAFETY: it is given numbers only.
    #[allow(unsafe_code)]
    unsafe {
        let all = libc::c_uint::MAX;
        let how = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        libc::syscall(libc::SYS_close_range, AFTER_STANDARD, all, how);
    }
}

/// For good, or to what is allowed already if that is less.
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
    fn the_kernel_keeps_what_it_was_told() {
        let limits = JobLimits { file_bytes: Some(4_096), open_files: 17, ..Default::default() };
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n; ulimit -Hn; ulimit -c; ulimit -f"]);
        limits.bind(&mut command);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(said[..3], ["17", "17", "0"]);
        // In blocks of 512 bytes, or of 1,024.
        assert!(["8", "4"].contains(&said[3]), "{said:?}");
    }

    /// What the worker was started with may be anything of whoever has started it.
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
        // What a shell starts in the background reads nothing unless it is told to.
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
    fn memory_follows_the_budget_unless_it_is_said() {
        let limits = JobLimits::default();
        assert_eq!(limits.with_budget(1 << 30).memory_bytes, Some((3 << 29) + (256 << 20)));
        assert_eq!(limits.with_budget(u64::MAX).memory_bytes, Some(u64::MAX));
        let said = JobLimits { memory_bytes: Some(5), ..limits };
        assert_eq!(said.with_budget(1 << 30).memory_bytes, Some(5));
    }

    /// A small budget leaves a large machine its page cache, unless somebody has said what is the
    /// most.
    #[test]
    fn the_kernels_limits_are_no_less_than_the_workers() {
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
