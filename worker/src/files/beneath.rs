//! Opens what lies beneath a folder, whatever links somebody has put there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

/// Goes down folder by folder, since older kernels cannot be asked to follow no link at all.
///
/// # Errors
/// When the system says so, or there is a link in the path.
pub(crate) fn open_beneath(mut folder: OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    for component in path.components() {
        if component == Component::CurDir {
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        folder = openat(&folder, component.as_os_str(), flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&folder)?.st_mode) == FileType::Symlink {
            let text = "there is a link in it by now, which is not followed; name what it leads to";
            return Err(io::Error::other(text));
        }
    }
    Ok(folder)
}
