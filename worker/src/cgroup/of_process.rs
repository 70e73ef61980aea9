//! The control group of one process of a job and all its descendants.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Pid;

use super::group::{Group, number};
use crate::sync::lock;

/// How long to wait for the end of killed processes: as long as for the process itself.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// The kernel has no more process ids than this, and refuses a higher limit.
const THREADS_MAX: u64 = 4 << 20;

/// Limits for all processes of a group together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    /// Memory, including the page cache, which is reclaimed first.
    pub(crate) memory_bytes: u64,
    /// Number of processes and threads.
    pub(crate) threads: u64,
}

/// Whose limit made the kernel kill processes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KilledFor {
    /// The group's own limit, of so many bytes.
    ItsLimit(u64),
    /// The limit of the machine or of a group above.
    Another,
}

/// A group that holds one process of a job until that is gone. Dropping it kills the processes that
/// are left.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    group: Group,
    /// A process that writes to this file enters the group.
    entry: File,
    /// The memory limit that the kernel enforces; `None` where it counts no memory.
    memory_bytes: Option<u64>,
    /// Where the group is kept if it cannot be removed.
    left: Arc<Mutex<Vec<Group>>>,
}

impl ProcessGroup {
    /// Takes a group that was just created.
    pub(super) fn new(group: Group, left: Arc<Mutex<Vec<Group>>>) -> io::Result<Self> {
        let entry = group.open("cgroup.procs").inspect_err(|_| drop(group.remove()))?;
        Ok(Self { group, entry, memory_bytes: None, left })
    }

    /// Sets the limits for which there are controllers. Where one cannot be set, the others and the
    /// worker's own limits still apply.
    pub(super) fn limit(&mut self, controllers: &[&str], limits: GroupLimits) {
        if controllers.contains(&"pids") {
            let threads = match limits.threads {
                0..=THREADS_MAX => limits.threads.to_string(),
                _ => "max".to_string(),
            };
            self.set("pids.max", &threads);
        }
        if controllers.contains(&"memory")
            && self.set("memory.max", &limits.memory_bytes.to_string())
        {
            // Kills the whole group at once: a job that has lost one of its processes cannot go on.
            self.set("memory.oom.group", "1");
            self.memory_bytes = Some(limits.memory_bytes);
        }
    }

    fn set(&self, file: &str, value: &str) -> bool {
        let written = self.group.write(file, value).inspect_err(|error| {
            let group = self.group.folder().display();
            tracing::warn!(%group, file, value, %error, "cannot set a limit of a control group");
        });
        written.is_ok()
    }

    /// Makes the process of `command` enter the group before its program begins. To be called
    /// before the other restrictions are bound.
    pub(crate) fn bind(&self, command: &mut Command) -> io::Result<()> {
        let mut entry = self.entry.try_clone()?;
        let enter = move || {
            // On failure, the process runs outside the group; its worker checks that later
            // (`expect`).
            let _ = entry.write(b"0");
            Ok(())
        };
        // SAFETY: between fork and exec, only async-signal-safe operations are allowed: this makes
        // one system call, takes no lock, and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(enter);
        }
        Ok(())
    }

    /// Logs a warning if a process has not entered the group.
    pub(crate) fn expect(&self, pid: Pid) {
        let path = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
        let groups = fs::read_to_string(path).unwrap_or_default();
        let mut own = groups.lines().filter_map(|line| line.strip_prefix("0::"));
        if own.any(|path| !path.trim_end_matches(" (deleted)").ends_with(self.group.name())) {
            let group = self.group.folder().display();
            tracing::warn!(%group, pid = pid.as_raw_nonzero(), "a process could not enter its control group");
        }
    }

    /// Kills all its processes.
    pub(crate) fn kill(&self) {
        if let Err(error) = self.group.kill() {
            let group = self.group.folder().display();
            tracing::warn!(%group, %error, "cannot kill the processes of a control group at once");
        }
    }

    /// Kills all its processes, and waits for their end for a bounded time.
    pub(crate) fn end(&self) {
        if !self.group.end(END_TIME_MAX) {
            let group = self.group.folder().display();
            tracing::warn!(%group, "a control group has killed processes that do not end");
        }
    }

    /// Memory of its processes as counted by the kernel: mapped memory, files in memory, and kernel
    /// memory on their behalf, swapped out or not, but nothing that the kernel can drop at any
    /// time. (Where there is swap, the kernel swaps at the limit, and only kills after that.)
    /// `None` where the kernel does not count memory.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes?;
        let whole = |file| self.group.read(file).ok()?.trim().parse::<u64>().ok();
        // Swap is not counted everywhere.
        let (all, swapped) = (whole("memory.current")?, whole("memory.swap.current").unwrap_or(0));
        let stat = self.group.read("memory.stat").ok()?;
        let of = |name| number(&stat, name);
        // Files in memory (shmem) are counted among the files.
        let files = of("file")?.saturating_sub(of("shmem")?);
        // Pages on their way between memory and swap are counted in both.
        let swapped = swapped.saturating_sub(of("swapcached").unwrap_or(0));
        Some(all.saturating_sub(files).saturating_sub(of("slab_reclaimable")?) + swapped)
    }

    /// Why the kernel has killed some of its processes. `None` if it has not, or does not say.
    pub(crate) fn killed_for(&self) -> Option<KilledFor> {
        let limit = self.memory_bytes?;
        let events = self.group.read("memory.events").ok()?;
        let of = |name| number(&events, name);
        if of("oom_kill")? == 0 {
            return None;
        }
        // The kernel counts an OOM event only in the group whose limit was met.
        Some(if of("oom")? > 0 { KilledFor::ItsLimit(limit) } else { KilledFor::Another })
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        match self.group.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let _ = self.group.kill();
                lock(&self.left).push(self.group.clone());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GroupLimits = GroupLimits { memory_bytes: 1 << 20, threads: 77 };

    /// A folder that mimics a group with these files.
    fn group(files: &[(&str, &str)]) -> (ProcessGroup, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::at(folder.path().join("job"));
        group.make().unwrap();
        for (name, text) in [("cgroup.procs", ""), ("cgroup.kill", "")].iter().chain(files) {
            fs::write(group.folder().join(name), text).unwrap();
        }
        (ProcessGroup::new(group, Arc::default()).unwrap(), folder)
    }

    const MEMORY: [(&str, &str); 2] = [("memory.max", ""), ("memory.oom.group", "")];

    #[test]
    fn available_controllers_are_limited() {
        let (mut limited, _folder) = group(&[&MEMORY[..], &[("pids.max", "")]].concat());
        limited.limit(&["memory", "pids", "cpu"], LIMITS);
        let read = |file| limited.group.read(file).unwrap();
        assert_eq!(
            ["memory.max", "memory.oom.group", "pids.max"].map(read),
            ["1048576", "1", "77"]
        );
        let (mut unlimited, _folder) = group(&[]);
        unlimited.limit(&[], LIMITS);
        assert_eq!((unlimited.memory_bytes(), unlimited.killed_for()), (None, None));
    }

    #[test]
    fn missing_controllers_are_left_alone() {
        let (mut group, _folder) = group(&[("pids.max", "")]);
        let limits = GroupLimits { threads: u64::MAX, ..LIMITS };
        group.limit(&["memory", "pids"], limits);
        assert_eq!(group.memory_bytes, None, "there is no such file");
        assert_eq!(group.group.read("pids.max").unwrap(), "max");
    }

    #[test]
    fn page_cache_does_not_count_but_shared_memory_does() {
        let swap = [("memory.swap.current", "400\n")];
        let stat = "anon 100\nfile 5000\nkernel 70\nshmem 30\nslab_reclaimable 20\n";
        let memory = [("memory.current", "5300\n"), ("memory.stat", stat)];
        let resident = 5_300 - (5_000 - 30) - 20;
        for (swap, expected) in [(&[][..], resident), (&swap, resident + 400)] {
            let (mut counted, _folder) = group(&[&MEMORY[..], &memory, swap].concat());
            assert_eq!(counted.memory_bytes(), None);
            counted.limit(&["memory"], LIMITS);
            assert_eq!(counted.memory_bytes(), Some(expected));
        }
        let cached = [
            ("memory.current", "5300\n"),
            ("memory.stat", "file 0\nshmem 0\nslab_reclaimable 0\nswapcached 70\n"),
        ];
        let (mut counted, _folder) = group(&[&MEMORY[..], &cached, &swap].concat());
        counted.limit(&["memory"], LIMITS);
        assert_eq!(counted.memory_bytes(), Some(5_300 + 400 - 70), "it is in both");
    }

    #[test]
    fn a_kill_at_its_own_limit_is_told_from_a_kill_at_another() {
        let cases = [
            ("oom 0\noom_kill 0\n", None),
            ("oom 3\noom_kill 0\n", None),
            ("oom 1\noom_kill 2\noom_group_kill 1\n", Some(KilledFor::ItsLimit(1 << 20))),
            ("oom 0\noom_kill 2\noom_group_kill 1\n", Some(KilledFor::Another)),
            ("nonsense", None),
        ];
        for (events, expected) in cases {
            let (mut killed, _folder) =
                group(&[&MEMORY[..], &[("memory.events", events)]].concat());
            killed.limit(&["memory"], LIMITS);
            assert_eq!(killed.killed_for(), expected, "{events}");
        }
    }

    /// The folder cannot be removed since it holds files, as the kernel refuses to remove a group
    /// that holds processes.
    #[test]
    fn a_group_that_cannot_be_removed_is_remembered() {
        let (kept, _folder) = group(&[]);
        let (left, expected) = (Arc::clone(&kept.left), kept.group.clone());
        drop(kept);
        assert_eq!(*lock(&left), std::slice::from_ref(&expected));
        assert_eq!(expected.read("cgroup.kill").unwrap(), "1", "and killed again");
    }
}
