//! Files that must not be left behind, that must be there when they count as written, and that
//! cannot be read.

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
    /// Answers for the file at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it a new name, in place of whatever has it. It is still removed when this is dropped.
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
                tracing::warn!(path = %self.path.display(), %error, "a file could not be removed");
            }
            _ => {}
        }
    }
}

/// File systems of this machine's own, by the numbers of statfs(2): ext2 to ext4, xfs, btrfs,
/// tmpfs, ramfs, overlayfs, f2fs, zfs and bcachefs. Their `close` has nothing to say, and who wants
/// their files to outlast a power failure forces them to disk.
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

/// Closes a file that was written. An error if the file system could not keep what it has taken:
/// those of a network, and those in user space, say so only now.
pub fn close_written(file: File) -> io::Result<()> {
    let kind = rustix::fs::fstatfs(&file)?.f_type as u32;
    if !LOCAL.contains(&kind) {
        file.sync_data()?;
    }
    // SAFETY: the descriptor was this file's own, which has let go of it, and is not used again.
    #[allow(unsafe_code)]
    let closed = unsafe { libc::close(file.into_raw_fd()) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether an error says that this process or machine has run out of something, be the file or the
/// connection as it may.
pub fn is_exhausted(error: &io::Error) -> bool {
    const CODES: [i32; 5] =
        [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

/// Whether an error says more of who reads a file than of the file: what is exhausted, or not
/// allowed.
pub fn is_readers_own(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, StorageFull};
    is_exhausted(error) || matches!(error.kind(), PermissionDenied | QuotaExceeded | StorageFull)
}

/// Removes a folder and all in it, by another name.
pub fn remove_folder(path: &Path) {
    match put_aside(path).and_then(|aside| remove_tree(&aside)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a folder could not be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    /// Does something on a thread for which permissions count, also where root runs the tests.
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
    fn it_is_removed_under_its_last_name_unless_kept() {
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
    fn what_close_says_is_heard() {
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
    fn an_error_is_the_readers_own_or_the_files() {
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
