//! Temporary files, files that must be complete when they count as written, and permissions.

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};

mod beneath;
mod remove;
mod rights;

pub(crate) use beneath::open_beneath;
pub(crate) use remove::{put_aside, remove_tree};
pub(crate) use rights::{OF_A_FOLDER, PASSES, give_back, give_back_at, share};

/// A file that is removed when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct TemporaryFile {
    path: PathBuf,
    kept: bool,
}

impl TemporaryFile {
    /// Takes responsibility for the file at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it, replacing any file of that name. It is still removed when this is dropped.
    pub fn rename(&mut self, to: PathBuf) -> io::Result<()> {
        std::fs::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "cannot remove a file");
            }
            _ => {}
        }
    }
}

/// Local file systems, by the magic numbers of statfs(2): ext2 to ext4, xfs, btrfs, tmpfs, ramfs,
/// overlayfs, f2fs, zfs and bcachefs. Their `close` reports no errors; a caller whose files must
/// survive a power failure syncs them.
const LOCAL: [u32; 9] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
];

/// Closes a file that was written. Fails if the file system could not store the data: network and
/// user-space file systems report that only now.
pub fn close_written(file: File) -> io::Result<()> {
    let kind = rustix::fs::fstatfs(&file)?.f_type as u32;
    if !LOCAL.contains(&kind) {
        file.sync_data()?;
    }
    // SAFETY: the descriptor was taken out of this file, and is not used again.
    #[allow(unsafe_code)]
    let closed = unsafe { libc::close(file.into_raw_fd()) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether an error means that this process or machine has run out of some resource, whatever the
/// state of the file or connection.
pub fn is_exhausted(error: &io::Error) -> bool {
    const CODES: [i32; 5] =
        [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

/// Whether an error is the reader's fault rather than the file's: exhausted resources, or missing
/// permissions.
pub fn is_readers_own(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, StorageFull};
    is_exhausted(error) || matches!(error.kind(), PermissionDenied | QuotaExceeded | StorageFull)
}

/// Renames a folder, and removes it with all its contents.
pub fn remove_folder(path: &Path) {
    match put_aside(path).and_then(|aside| remove_tree(&aside)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a folder");
        }
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    /// Runs `work` on a thread for which permissions count, even if root runs the tests.
    pub(crate) fn without_privileges<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        let bound = || {
            if rustix::process::geteuid().is_root() {
                let none = CapabilitySet::empty();
                let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
                set_capabilities(None, sets).unwrap();
            }
            work()
        };
        std::thread::scope(|scope| scope.spawn(bound).join().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_is_removed_under_its_last_name_unless_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "x").unwrap();
        let mut file = TemporaryFile::new(a.clone());
        file.rename(b.clone()).unwrap();
        assert!(!a.exists() && b.exists());
        drop(file);
        assert!(!b.exists());
        std::fs::write(&a, "x").unwrap();
        TemporaryFile::new(a.clone()).keep();
        assert!(a.exists());
    }

    #[test]
    fn errors_of_close_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        close_written(File::create(&path).unwrap()).unwrap();
        let file = File::open(&path).unwrap();
        let taken = file.try_clone().unwrap().into_raw_fd();
        // Neither has a disk behind it.
        close_written(File::from(std::os::fd::OwnedFd::from(
            std::os::unix::net::UnixStream::pair().unwrap().0,
        )))
        .unwrap_err();
        drop(file);
        assert!(std::fs::read_link(format!("/proc/self/fd/{taken}")).is_ok());
    }

    #[test]
    fn errors_are_blamed_on_the_reader_or_on_the_file() {
        let of = io::Error::from_raw_os_error;
        for own in
            [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EACCES, libc::EPERM, libc::ENOSPC]
        {
            assert!(is_readers_own(&of(own)), "{own}");
        }
        for files in [libc::ENOENT, libc::EIO, libc::ESTALE, libc::EISDIR] {
            assert!(!is_readers_own(&of(files)), "{files}");
        }
        assert!(!is_exhausted(&of(libc::EACCES)) && !is_exhausted(&of(libc::ECONNREFUSED)));
    }
}
