//! The paths, besides its own folder, to which a job's code may write: opened once, for all its
//! processes.
//!
//! The coordinator sends canonical paths. Whoever may write to one of them can replace it by a link
//! while the job runs: so no link is followed, and all processes of a job write to the same
//! folders.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::ConfineError;
use super::surroundings::is_no_workers;
use crate::files::open_beneath;
use crate::parts::open_staging;

/// File systems of the kernel: processes, control groups, devices.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The exception, which holds ordinary files.
const SHARED_MEMORY: &str = "/dev/shm";

/// The opened paths. They are not opened again.
#[derive(Debug)]
pub(crate) struct Writable {
    /// The folder for parts.
    pub(in super::super) staging: OwnedFd,
    /// The declared paths.
    pub(super) declared: Vec<OwnedFd>,
}

impl Writable {
    /// Opens the folder for parts, and the declared paths. None of them may be `hidden` from jobs,
    /// below a hidden folder, or above one. May block for a moment.
    pub(in super::super) fn open(
        staging: &Path,
        declared: &[PathBuf],
        hidden: &[PathBuf],
    ) -> Result<Self, ConfineError> {
        let failed = |error| ConfineError::Output { path: staging.to_path_buf(), error };
        let opened = open_staging(staging).map_err(failed)?;
        refuse_hidden(&opened, hidden).map_err(|error| refused(staging, error))?;
        let open_declared = |path: &PathBuf| {
            let file = open_without_links(path)?;
            refuse_hidden(&file, hidden)?;
            Ok(file)
        };
        let declared = declared
            .iter()
            .map(|path| open_declared(path).map_err(|error| refused(path, error)))
            .collect::<Result<_, _>>()?;
        Ok(Self { staging: opened, declared })
    }
}

fn refused(path: &Path, error: io::Error) -> ConfineError {
    ConfineError::Writable { path: path.to_path_buf(), error }
}

fn open_without_links(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open("/", flags, Mode::empty())?;
    open_beneath(root, path.strip_prefix("/").unwrap_or(path))
}

/// Refuses a folder that is hidden from jobs, and any path below or above one; the kernel's file
/// systems; and another worker's folder, with all below it.
fn refuse_hidden(file: &OwnedFd, hidden: &[PathBuf]) -> io::Result<()> {
    // The path of the opened file, which nobody can exchange meanwhile.
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if hidden.first().is_some_and(|own| overlap(&real, own)) {
        let reason = "it overlaps with this worker's folder, to which jobs must not write";
        return Err(io::Error::other(reason));
    }
    if let Some(hidden) = hidden.iter().find(|hidden| overlap(&real, hidden)) {
        let reason = format!("it overlaps with {}, which is hidden from jobs", hidden.display());
        return Err(io::Error::other(reason));
    }
    if let Some(system) = KERNELS.iter().find(|system| real.starts_with(system))
        && !real.starts_with(SHARED_MEMORY)
    {
        let reason = format!("{system} belongs to the kernel and to other processes");
        return Err(io::Error::other(reason));
    }
    if !real.ancestors().all(is_no_workers) {
        let reason = "it is, or may be, in another worker's folder, to which jobs must not write";
        return Err(io::Error::other(reason));
    }
    Ok(())
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
