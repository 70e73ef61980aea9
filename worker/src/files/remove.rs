//! Removes a folder with all its contents, whatever a job has put there: folders without
//! permissions, links, and folders nested to any depth.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::rights::{OF_A_FOLDER, claim, open_path};

/// Entries that are listed at once: a job may have made any number of them.
const ENTRIES_MAX: usize = 4_096;

/// Most listings of one folder: one for so many entries, and one for each level of nesting.
const PASSES_MAX: usize = 25_000;

/// Renames a folder, and returns its new name: removal takes a while, and the old name must be free
/// at once. A folder that could not be removed before keeps its name.
///
/// # Errors
///
/// When a system call fails.
pub(crate) fn put_aside(folder: &Path) -> io::Result<PathBuf> {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
    let mut n = 0u64;
    loop {
        let aside = folder.with_extension(format!("removed-{n}"));
        match std::fs::rename(folder, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if matches!(error.kind(), AlreadyExists | DirectoryNotEmpty) => n += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Removes a folder with all its contents. Follows no link, restores missing permissions where this
/// user is the owner, and needs few descriptors and no stack, however deep the folder is: the
/// contents of inner folders are moved up first.
///
/// # Errors
///
/// When a system call fails; everything that could be removed is gone.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let folder = open_path(path, OFlags::DIRECTORY)?;
    empty(&folder)?;
    drop(folder);
    Ok(rustix::fs::rmdir(path)?)
}

fn empty(folder: &OwnedFd) -> io::Result<()> {
    claim(folder, OF_A_FOLDER)?;
    let mut moved = 0;
    for _ in 0..PASSES_MAX {
        let entries = some_entries(folder)?;
        if entries.is_empty() {
            return Ok(());
        }
        for name in entries {
            if !remove_at_once(folder, &name)? {
                move_up(folder, &name, &mut moved)?;
            }
        }
    }
    Err(io::Error::other(
        "it is nested very deep, or somebody keeps writing there; the rest is removed",
    ))
}

/// Moves inner folders of a folder up into this one, as far as they are listed at once, and removes
/// its other entries.
fn move_up(folder: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    let Some(inner) = if_any(open_folder(folder, name))? else { return Ok(()) };
    claim(&inner, OF_A_FOLDER)?;
    for within in some_entries(&inner)? {
        if remove_at_once(&inner, &within)? {
            continue;
        }
        // The kernel lets only a user who can write to a folder move it.
        let Some(found) = if_any(open_folder(&inner, &within))? else { continue };
        claim(found, OF_A_FOLDER)?;
        loop {
            *moved += 1;
            let here = CString::new(format!("removed.{moved}"))?;
            match if_any(renameat(&inner, &within, folder, here)) {
                Ok(_) => break,
                // The name is taken already.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    match if_any(unlinkat(folder, name, AtFlags::REMOVEDIR)) {
        Ok(_) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file or an empty folder. False for a folder with contents.
fn remove_at_once(folder: &OwnedFd, name: &CStr) -> io::Result<bool> {
    let not_a_file = match if_any(unlinkat(folder, name, AtFlags::empty())) {
        Ok(_) => return Ok(true),
        Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
        Err(error) => return Err(error.into()),
    };
    match if_any(unlinkat(folder, name, AtFlags::REMOVEDIR)) {
        Ok(_) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(Errno::NOTDIR) => Err(not_a_file.into()),
        Err(error) => Err(error.into()),
    }
}

/// Some entries of a folder, which may have been opened with `O_PATH`.
fn some_entries(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(openat(folder, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let is_way = entry.file_type() == FileType::Directory
            && matches!(entry.file_name().to_bytes(), b"." | b"..");
        if !is_way {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == ENTRIES_MAX {
            break;
        }
    }
    Ok(names)
}

fn open_folder(folder: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// `None` if the entry is gone.
fn if_any<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Err(Errno::NOENT) => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::files::testing::without_privileges;

    #[test]
    fn a_folder_is_removed_whatever_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir_all(kept.join("in")).unwrap();
        fs::write(kept.join("in/file"), "x").unwrap();
        let job = dir.path().join("job");
        for folder in ["a/b/c", "d/e", "removed.1/f"] {
            fs::create_dir_all(job.join(folder)).unwrap();
        }
        for file in ["a/file", "a/b/c/file", "removed.2", "d/e/file"] {
            fs::write(job.join(file), "x").unwrap();
        }
        symlink(&kept, job.join("a/link")).unwrap();
        symlink(&kept, job.join("link")).unwrap();
        for (folder, mode) in [("a/b/c", 0), ("a/b", 0o500), ("d/e", 0o555), ("d", 0), ("", 0)] {
            fs::set_permissions(job.join(folder), Permissions::from_mode(mode)).unwrap();
        }
        without_privileges(|| remove_tree(&job)).unwrap();
        assert!(!job.exists());
        assert_eq!(fs::read(kept.join("in/file")).unwrap(), b"x");
        let error = remove_tree(&job).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn folders_moved_aside_before_do_not_collide() {
        let dir = tempfile::tempdir().unwrap();
        let (job, left) = (dir.path().join("job-1"), dir.path().join("job-1.removed-0"));
        for folder in [&job, &left] {
            fs::create_dir_all(folder.join("in")).unwrap();
        }
        let aside = put_aside(&job).unwrap();
        assert_eq!(aside, dir.path().join("job-1.removed-1"));
        assert!(aside.join("in").exists() && left.join("in").exists() && !job.exists());
        assert_eq!(put_aside(&job).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// A link in the folder's place is not followed, and a file is not taken for a folder.
    #[test]
    fn a_link_or_file_in_place_of_a_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, link) = (dir.path().join("folder"), dir.path().join("link"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
        symlink(&folder, &link).unwrap();
        remove_tree(&link).unwrap_err();
        remove_tree(&folder.join("file")).unwrap_err();
        assert!(folder.join("file").exists());
    }

    /// Deeper than any limit on paths, stack or descriptors.
    #[test]
    fn a_very_deep_folder_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let job = dir.path().join("job");
        fs::create_dir(&job).unwrap();
        let mut at = open_path(&job, OFlags::DIRECTORY).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open_folder(&at, c"d").unwrap();
        }
        drop(at);
        remove_tree(&job).unwrap();
        assert!(!job.exists());
    }
}
