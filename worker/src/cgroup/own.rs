//! The control group of version 2 of this process, and whether it was delegated to it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{getxattr, statfs};
use rustix::process::geteuid;

use super::group::Group;

/// Magic number of the cgroup2 file system.
const FILE_SYSTEM: u32 = 0x6367_7270;

/// How systemd marks a group with `Delegate=yes`. A user other than root can read the second mark
/// only.
const MARKS: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// Files whose ownership comes with delegation.
const GIVEN: [&str; 2] = ["cgroup.procs", "cgroup.subtree_control"];

/// The group of this process; `None` where it is not visible here.
pub(super) fn own_group() -> Option<Group> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let folder = own_folder(&groups, &mounts)?;
    // Another file system may be mounted above it.
    let is_group = statfs(&folder).is_ok_and(|found| found.f_type as u32 == FILE_SYSTEM);
    is_group.then(|| Group::at(folder))
}

/// `groups` is the content of `/proc/self/cgroup`, `mounts` that of `mountinfo` beside it. A mount
/// shows the groups below its root.
fn own_folder(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    // The kernel reports such a path to a process in a namespace that does not hold its group.
    if own.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3).map(unescaped);
        let (root, folder) = (fields.next()?, PathBuf::from(fields.next()?));
        Some(folder.join(own.strip_prefix(root).ok()?))
    })
}

/// `mountinfo` escapes blanks and some other characters as three octal digits.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_string(), |field, (escaped, character)| field.replace(escaped, character))
}

/// Whether the group was delegated to this process's user: by systemd, which marks it, or by
/// somebody else who made that user its owner. A group below another group of the same user was
/// made by one of that user's programs, which may have plans for it.
pub(super) fn is_delegated(group: &Group) -> io::Result<bool> {
    let user = geteuid().as_raw();
    let belongs = |path: &Path| fs::metadata(path).map(|found| found.uid() == user);
    if !belongs(group.folder())? {
        return Ok(false);
    }
    if MARKS.iter().any(|mark| is_marked(group.folder(), mark)) {
        return Ok(true);
    }
    for file in GIVEN {
        if !belongs(&group.folder().join(file))? {
            return Ok(false);
        }
    }
    let above = group.folder().parent().map_or(Ok(true), belongs)?;
    Ok(user != 0 && !above)
}

fn is_marked(folder: &Path, mark: &str) -> bool {
    let mut value = [0; 8];
    getxattr(folder, mark, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
}

#[cfg(test)]
mod tests {
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    const MOUNT: &str = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n";

    fn folder(groups: &str, mounts: &str) -> Option<String> {
        Some(own_folder(groups, mounts)?.display().to_string())
    }

    #[test]
    fn the_own_group_is_found_through_its_mount() {
        let service = "0::/system.slice/windrow.service\n";
        let expected = "/sys/fs/cgroup/system.slice/windrow.service";
        assert_eq!(folder(service, MOUNT).as_deref(), Some(expected));
        let both = format!("5:memory:/elsewhere\n{service}");
        let v1 = "36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expected = "/sys/fs/cgroup/unified/system.slice/windrow.service";
        assert_eq!(folder(&both, &format!("{v1}{hybrid}")).as_deref(), Some(expected));
        assert_eq!(folder(service, v1), None);
        assert_eq!(folder("5:memory:/elsewhere\n", MOUNT), None, "version 1 only");
        assert_eq!(folder("", ""), None);
    }

    /// In a container with, and without, a namespace of its own.
    #[test]
    fn a_mount_may_show_only_some_groups() {
        let part = "41 31 0:38 /docker/a /sys/fs/cgroup\\040x ro - cgroup2 cgroup ro\n";
        assert_eq!(folder("0::/docker/a/b", part).as_deref(), Some("/sys/fs/cgroup x/b"));
        assert_eq!(folder("0::/docker/ab", part), None, "another one, of which it shows nothing");
        assert_eq!(folder("0::/", MOUNT).as_deref(), Some("/sys/fs/cgroup/"));
        assert_eq!(folder("0::/../outside", MOUNT), None);
    }

    /// A folder that mimics a group which this user has made itself.
    #[test]
    fn a_group_that_was_not_delegated_is_not_taken() {
        let above = tempfile::tempdir().unwrap();
        let group = Group::at(above.path().join("service"));
        group.make().unwrap();
        for file in GIVEN {
            fs::write(group.folder().join(file), "").unwrap();
        }
        assert!(!is_delegated(&group).unwrap());
        // Not every file system has extended attributes.
        if setxattr(group.folder(), MARKS[1], b"0", XattrFlags::CREATE).is_ok() {
            assert!(!is_delegated(&group).unwrap());
            setxattr(group.folder(), MARKS[1], b"1", XattrFlags::REPLACE).unwrap();
            assert!(is_delegated(&group).unwrap());
        }
        assert!(is_delegated(&group.below("missing")).is_err());
    }
}
