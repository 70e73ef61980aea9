//! Opens files beneath a folder without following links.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

/// Descends folder by folder, since older kernels lack `openat2`, which can be asked to follow no
/// link at all.
///
/// # Errors
///
/// When a system call fails, or there is a link in the path.
pub(crate) fn open_beneath(mut folder: OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    for component in path.components() {
        if component == Component::CurDir {
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        folder = openat(&folder, component.as_os_str(), flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&folder)?.st_mode) == FileType::Symlink {
            let text = "part of it was replaced by a link meanwhile, which is not followed; \
                        name the link's target";
            return Err(io::Error::other(text));
        }
    }
    Ok(folder)
}
