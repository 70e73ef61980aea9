//! The memory limits of the control groups that this process is in, of version 1 and 2.
//!
//! A limit of any group on the way up holds. In a container the path that the kernel names may not be visible, while
//! the container's own group lies at the root: so that is looked at too.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The lowest memory limit, in bytes; `None` where there is none.
pub(super) fn memory_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter();
    limits.filter_map(|path| parse_limit(&fs::read_to_string(path).ok()?)).min()
}

/// The files that may hold a limit. `groups` is what `/proc/self/cgroup` says: `number:controllers:path`, with no
/// controllers for version 2.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, names): (_, &[_]) = if controllers.is_empty() {
            (ROOT.to_string(), &["memory.max", "memory.high"])
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (format!("{ROOT}/memory"), &["memory.limit_in_bytes"])
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
        limit_files(groups).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn groups_of_version_2_are_looked_at_up_to_the_root() {
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
    fn of_version_1_the_memory_controller_counts() {
        let expected = [
            "/sys/fs/cgroup/memory/docker/a:b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        assert_eq!(files("4:cpu,cpuacct:/x\n3:hugetlb,memory:/docker/a:b\n"), expected);
        assert!(files("1:name=systemd:/\nnonsense\n").is_empty());
    }

    #[test]
    fn limits_are_numbers_or_absent() {
        assert_eq!(parse_limit("536870912\n"), Some(512 << 20));
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit(""), None);
    }
}
