//! The control group of one process of a job, with all that descends from it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Pid;

use super::group::{Group, number};
use crate::sync::lock;

/// How long to wait for the end of what was killed. As long as the process itself is waited for.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// More than the kernel has numbers for is no limit, and refused by it.
const THREADS_MAX: u64 = 4 << 20;

/// What the kernel lets the processes of a group have together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    /// Memory, with that of files in the page cache, which goes first.
    pub(crate) memory_bytes: u64,
    /// Processes and threads.
    pub(crate) threads: u64,
}

/// For what the kernel has killed processes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KilledFor {
    /// They had more memory than the group may have, which is so much.
    ItsLimit(u64),
    /// The machine, or a group above, had no more.
    Another,
}

/// A group that holds one process of a job, until that is gone. What is left in it is killed when
/// it is dropped.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    group: Group,
    /// Who writes to it comes in.
    entry: File,
    /// What the kernel limits memory to, and counts.
    memory_bytes: Option<u64>,
    /// Where it goes when it cannot be removed.
    left: Arc<Mutex<Vec<Group>>>,
}

impl ProcessGroup {
    /// Has a group that was just made.
    pub(super) fn new(group: Group, left: Arc<Mutex<Vec<Group>>>) -> io::Result<Self> {
        let entry = group.open("cgroup.procs").inspect_err(|_| drop(group.remove()))?;
        Ok(Self { group, entry, memory_bytes: None, left })
    }

    /// Sets limits, as far as there are controllers for them. Where one cannot be set, the others
    /// count, and the worker's own.
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
            // All of it: what has lost one of its processes is of no use.
            self.set("memory.oom.group", "1");
            self.memory_bytes = Some(limits.memory_bytes);
        }
    }

    fn set(&self, file: &str, value: &str) -> bool {
        let written = self.group.write(file, value).inspect_err(|error| {
            let group = self.group.folder().display();
            tracing::warn!(%group, file, value, %error, "a control group is not limited");
        });
        written.is_ok()
    }

    /// Has the process of `command` come in before its program begins. To be called before it is
    /// bound in other ways.
    pub(crate) fn bind(&self, command: &mut Command) -> io::Result<()> {
        let mut entry = self.entry.try_clone()?;
        let enter = move || {
            // Without it, the process is what it was without groups: its worker looks whether it is
            // there.
            let _ = entry.write(b"0");
            Ok(())
        };
        // SAFETY: between fork and exec, only what is safe in a signal handler may be done: this
        // makes one system call, and takes no lock and no memory.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(enter);
        }
        Ok(())
    }

    /// Says so if a process that was to come in has not.
    pub(crate) fn expect(&self, pid: Pid) {
        let path = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
        let groups = fs::read_to_string(path).unwrap_or_default();
        let mut own = groups.lines().filter_map(|line| line.strip_prefix("0::"));
        if own.any(|path| !path.trim_end_matches(" (deleted)").ends_with(self.group.name())) {
            let group = self.group.folder().display();
            tracing::warn!(%group, pid = pid.as_raw_nonzero(), "a process could not enter its control group");
        }
    }

    /// Kills all that is in it.
    pub(crate) fn kill(&self) {
        if let Err(error) = self.group.kill() {
            let group = self.group.folder().display();
            tracing::warn!(%group, %error, "the processes of a control group cannot be killed as one");
        }
    }

    /// Kills all that is in it, and waits until that is gone, but not for long.
    pub(crate) fn end(&self) {
        if !self.group.end(END_TIME_MAX) {
            let group = self.group.folder().display();
            tracing::warn!(%group, "a control group has processes that were killed and do not end");
        }
    }

    /// Memory that its processes have, by the kernel's count: what is mapped, in files in memory,
    /// or the kernel's own on their behalf, swapped out or not, but nothing that the kernel can
    /// drop at any time. (Where there is swap, its limit has the kernel swap, and kill after that
    /// only.) `None` where the kernel does not count it.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes?;
        let whole = |file| self.group.read(file).ok()?.trim().parse::<u64>().ok();
        // Not everywhere is swap counted.
        let (all, swapped) = (whole("memory.current")?, whole("memory.swap.current").unwrap_or(0));
        let stat = self.group.read("memory.stat").ok()?;
        let of = |name| number(&stat, name);
        // Files in memory are among the files.
        let files = of("file")?.saturating_sub(of("shmem")?);
        // What is on its way between the two is in both.
        let swapped = swapped.saturating_sub(of("swapcached").unwrap_or(0));
        Some(all.saturating_sub(files).saturating_sub(of("slab_reclaimable")?) + swapped)
    }

    /// For what the kernel has killed some of its processes. `None` where it has not, or does not
    /// say.
    pub(crate) fn killed_for(&self) -> Option<KilledFor> {
        let limit = self.memory_bytes?;
        let events = self.group.read("memory.events").ok()?;
        let of = |name| number(&events, name);
        if of("oom_kill")? == 0 {
            return None;
        }
        // It counts as out of memory only what has met its own limit.
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

    /// A folder that looks like a group with these files.
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
    fn what_can_be_limited_is() {
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
    fn what_cannot_be_limited_is_left_as_it_is() {
        let (mut group, _folder) = group(&[("pids.max", "")]);
        let limits = GroupLimits { threads: u64::MAX, ..LIMITS };
        group.limit(&["memory", "pids"], limits);
        assert_eq!(group.memory_bytes, None, "there is no such file");
        assert_eq!(group.group.read("pids.max").unwrap(), "max");
    }

    #[test]
    fn what_files_take_up_does_not_count_unless_they_are_in_memory() {
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
    fn a_kill_for_its_own_limit_is_told_from_one_for_another() {
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

    /// As the kernel refuses to remove one that has processes in it, since here are files.
    #[test]
    fn one_that_cannot_be_removed_is_remembered() {
        let (kept, _folder) = group(&[]);
        let (left, expected) = (Arc::clone(&kept.left), kept.group.clone());
        drop(kept);
        assert_eq!(*lock(&left), std::slice::from_ref(&expected));
        assert_eq!(expected.read("cgroup.kill").unwrap(), "1", "and killed again");
    }
}
