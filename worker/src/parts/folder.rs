//! The staging folder, to which other processes may write as well.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, unlinkat};

use crate::files::open_beneath;

/// The coordinator itself makes these last components of a staging folder's path. The components
/// before may be links: they are the submitter's name of the output.
const MADE_BY_COORDINATOR: usize = 2;

/// Opens a staging folder. A link in place of a folder that the coordinator has made is not
/// followed: whoever put it there could write there already, and gains access to nothing else.
///
/// # Errors
///
/// When a system call fails.
pub(crate) fn open_staging(path: &Path) -> io::Result<OwnedFd> {
    let mut output = path;
    for _ in 0..MADE_BY_COORDINATOR {
        output = output.parent().unwrap_or(output);
    }
    let below = path.strip_prefix(output).unwrap_or(path);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open_beneath(open(output, flags, Mode::empty())?, below)?;
    match FileType::from_raw_mode(fstat(&folder)?.st_mode) {
        FileType::Directory => Ok(folder),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Removes an attempt's file, directly in a staging folder. Replacing that folder by a link removes
/// nothing elsewhere.
///
/// # Errors
///
/// When a system call fails.
pub(super) fn remove_staged(path: &Path) -> io::Result<()> {
    let (Some(staging), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok(unlinkat(open_staging(staging)?, name, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_staged_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (staging, other) =
            (dir.path().join("out/_temporary/attempts-1"), dir.path().join("in"));
        let (part, elsewhere) = (staging.join("part-00000.1"), other.join("part-00000.1"));
        for (folder, path) in [(&staging, &part), (&other, &elsewhere)] {
            fs::create_dir_all(folder).unwrap();
            fs::write(path, "x").unwrap();
        }
        remove_staged(&part).unwrap();
        assert!(!part.exists());
        assert_eq!(remove_staged(&part).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_dir(&staging).unwrap();
        symlink(&other, &staging).unwrap();
        remove_staged(&part).unwrap_err();
        assert!(elsewhere.exists());
    }
}
