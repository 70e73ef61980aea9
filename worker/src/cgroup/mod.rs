//! The memory of this machine, and of the control groups of this process, of version 1 and 2:
//! their limits, and how often the kernel has killed one of their processes for want of memory.
//! Where a group of version 2 was delegated to this worker (`delegated`), each process of a job
//! gets a group of its own in it (`of_process`).
//!
//! The limits of all groups up to the root apply. In a container, the path that the kernel names
//! may not be visible, while the container's own group is mounted at the root: so the root is
//! checked, too.

use std::fs;
use std::path::{Path, PathBuf};

mod delegated;
mod group;
mod of_process;
mod own;

pub(crate) use delegated::Delegated;
pub(crate) use of_process::{GroupLimits, KilledFor, ProcessGroup};

/// Assumed if the system does not say.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;

const ROOT: &str = "/sys/fs/cgroup";

/// Soft and hard limits, beyond which allocations are slowed down or refused.
const LIMITS: Names = Names { v1: &["memory.limit_in_bytes"], v2: &["memory.max", "memory.high"] };
/// Hard limits, beyond which the kernel kills.
const LAST_LIMITS: Names = Names { v1: &["memory.limit_in_bytes"], v2: &["memory.max"] };
/// Files with lines of names and numbers, one of them [`KILLS`].
const EVENTS: Names = Names { v1: &["memory.oom_control"], v2: &["memory.events"] };
/// The kernel's count of kills; the machine-wide file has the same name for it.
const KILLS: &str = "oom_kill";

/// Names of a group's files, by the version of control groups.
struct Names {
    v1: &'static [&'static str],
    v2: &'static [&'static str],
}

/// The lowest memory limit, in bytes; `None` where there is none.
fn memory_limit_bytes() -> Option<u64> {
    lowest(&LIMITS)
}

/// Default memory for tasks, in bytes: half of what the machine or a control group lets this
/// process use. The rest is for the page cache, from which the shuffle is served.
pub fn default_memory_bytes() -> u64 {
    let machine = machine_memory_bytes();
    memory_limit_bytes().map_or(machine, |limit| limit.min(machine)) / 2
}

/// The lowest limit at which the kernel kills, in bytes; `None` where there is none.
pub(crate) fn kill_limit_bytes() -> Option<u64> {
    lowest(&LAST_LIMITS)
}

/// How often the kernel has killed a process of this process's group for want of memory. If the
/// group does not say: of the whole machine.
pub(crate) fn oom_kills() -> Option<u64> {
    let mut files = files(&EVENTS).into_iter();
    let of_group = files.find_map(|path| count_kills(&fs::read_to_string(path).ok()?));
    of_group.or_else(|| count_kills(&fs::read_to_string("/proc/vmstat").ok()?))
}

/// The machine's memory, in bytes.
pub(crate) fn machine_memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    total_memory_bytes(&meminfo).unwrap_or(MEMORY_BYTES_UNKNOWN)
}

fn total_memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn count_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix(KILLS)?.trim().parse().ok())
}

fn lowest(names: &Names) -> Option<u64> {
    let limits = files(names).into_iter();
    limits.filter_map(|path| parse_limit(&fs::read_to_string(path).ok()?)).min()
}

fn files(names: &Names) -> Vec<PathBuf> {
    files_of(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default(), names)
}

/// The files of these names, in the process's own group and then in the groups above it. `groups`
/// is the content of `/proc/self/cgroup`: `number:controllers:path`, with no controllers for
/// version 2.
fn files_of(groups: &str, names: &Names) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, names) = if controllers.is_empty() {
            (ROOT.to_string(), names.v2)
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (format!("{ROOT}/memory"), names.v1)
        } else {
            continue;
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            files.extend(names.iter().map(|name| Path::new(&mount).join(group).join(name)));
        }
    }
    files
}

/// `max` means no limit.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(groups: &str) -> Vec<String> {
        files_of(groups, &LIMITS).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn groups_of_version_2_are_read_up_to_the_root() {
        let expected = [
            "/sys/fs/cgroup/user.slice/job/memory.max",
            "/sys/fs/cgroup/user.slice/job/memory.high",
            "/sys/fs/cgroup/user.slice/memory.max",
            "/sys/fs/cgroup/user.slice/memory.high",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory.high",
        ];
        assert_eq!(files("0::/user.slice/job\n"), expected);
    }

    #[test]
    fn for_version_1_the_memory_controller_is_read() {
        let expected = [
            "/sys/fs/cgroup/memory/docker/a:b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        assert_eq!(files("4:cpu,cpuacct:/x\n3:hugetlb,memory:/docker/a:b\n"), expected);
        assert!(files("1:name=systemd:/\nnonsense\n").is_empty());
    }

    #[test]
    fn limits_are_parsed_as_numbers_or_as_none() {
        assert_eq!(parse_limit("536870912\n"), Some(512 << 20));
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit(""), None);
    }

    #[test]
    fn kills_are_read_from_both_versions_and_from_the_machine() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n";
        let machine = "nr_free_pages 1\noom_kill 3\n";
        for events in [v1, v2, machine] {
            assert_eq!(count_kills(events), Some(3), "{events}");
        }
        assert_eq!(count_kills("oom_kill_disable 0\n"), None, "an old kernel");
        let files = files_of("0::/job\n", &EVENTS);
        assert_eq!(files[0], Path::new("/sys/fs/cgroup/job/memory.events"), "its own group first");
    }

    #[test]
    fn total_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24651784 kB\nMemFree:          123 kB\n";
        assert_eq!(total_memory_bytes(meminfo), Some(24_651_784 << 10));
        assert_eq!(total_memory_bytes("MemFree: 123 kB\n"), None);
    }
}
