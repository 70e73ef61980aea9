//! The reasons that a system error leaves out: no inodes on a disk with space, a limit of this
//! process, the wrong user.
//!
//! The only module of this crate that makes system calls. Whoever meets an error calls it when
//! reporting the error.

use std::fs::{Metadata, metadata};
use std::io::{self, ErrorKind};
use std::path::Path;

/// EMFILE, which the standard library has no name for.
const OPEN_FILES: i32 = 24;

/// The message of an `error` in an access to `path`, with the reason that the system leaves out.
pub fn explained(path: &Path, error: &io::Error) -> String {
    match missing(path, error) {
        Some(missing) => format!("{error}: {missing}"),
        None => error.to_string(),
    }
}

fn missing(path: &Path, error: &io::Error) -> Option<String> {
    match error.kind() {
        _ if error.raw_os_error() == Some(OPEN_FILES) => {
            Some("this process may not have more open ('ulimit -n', LimitNOFILE=)".to_string())
        }
        ErrorKind::StorageFull => has_no_inodes(path).then(|| {
            "its file system has space, but no inodes are left ('df -i' shows them); remove files".to_string()
        }),
        ErrorKind::FileTooLarge => {
            Some("no file of this process may be larger ('ulimit -f', LimitFSIZE=)".to_string())
        }
        ErrorKind::PermissionDenied => users(path),
        _ => None,
    }
}

/// `path`, or its nearest ancestor that exists.
fn nearest(path: &Path) -> Option<(&Path, Metadata)> {
    path.ancestors().find_map(|path| Some((path, metadata(path).ok()?)))
}

#[cfg(target_os = "linux")]
fn has_no_inodes(path: &Path) -> bool {
    let Some((there, _)) = nearest(path) else { return false };
    // A file system that allocates inodes on demand, such as Btrfs, reports a total of 0.
    rustix::fs::statvfs(there)
        .is_ok_and(|disk| disk.f_files > 0 && disk.f_favail == 0 && disk.f_bavail > 0)
}

#[cfg(not(target_os = "linux"))]
fn has_no_inodes(_: &Path) -> bool {
    false
}

/// This process's user and groups against the owner of the path. Root is refused for other reasons.
#[cfg(target_os = "linux")]
fn users(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    use rustix::process::{getegid, geteuid, getgroups};

    let user = geteuid();
    if user.is_root() {
        return None;
    }
    let (there, metadata) = nearest(path)?;
    let mut groups: Vec<u32> =
        getgroups().unwrap_or_default().iter().map(|id| id.as_raw()).collect();
    groups.push(getegid().as_raw());
    groups.sort_unstable();
    groups.dedup();
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    Some(format!(
        "this process runs as user {} in the groups {}, and {} belongs to user {} and group {}, with mode {:o}",
        user.as_raw(),
        groups.join(", "),
        there.display(),
        metadata.uid(),
        metadata.gid(),
        metadata.mode() & 0o7777
    ))
}

#[cfg(not(target_os = "linux"))]
fn users(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_errors_are_left_as_they_are() {
        let error = io::Error::from(ErrorKind::NotFound);
        assert_eq!(explained(Path::new("/nowhere/at/all"), &error), error.to_string());
        // The root has inodes, or this test could not have been built.
        let full = io::Error::from(ErrorKind::StorageFull);
        assert_eq!(explained(Path::new("/nowhere/at/all"), &full), full.to_string());
    }

    #[test]
    fn limits_of_this_process_are_named() {
        let error = io::Error::from(ErrorKind::FileTooLarge);
        assert!(explained(Path::new("/x"), &error).contains("ulimit -f"));
        let error = io::Error::from_raw_os_error(OPEN_FILES);
        assert!(explained(Path::new("/x"), &error).contains("ulimit -n"));
    }

    #[test]
    fn a_refusal_names_the_user_and_the_owner_of_the_nearest_existing_folder() {
        let error = io::Error::from(ErrorKind::PermissionDenied);
        let text = explained(Path::new("/proc/self/nothing/here"), &error);
        if rustix::process::geteuid().is_root() {
            assert_eq!(text, error.to_string());
        } else {
            assert!(text.contains("and /proc/self belongs to user"), "{text}");
        }
    }
}
