//! Where the code of a job may write besides its own folder: opened once, for all of its processes.
//!
//! The coordinator sends declared paths as they really are. Whoever may write to one of them can
//! put a link in its place while the job runs: so no link is followed, and what one process was
//! allowed is what the next one is.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::ConfineError;
use super::surroundings::is_no_workers;
use crate::files::open_beneath;
use crate::parts::open_staging;

/// Where files are not files: processes, control groups, devices.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What lies there and is files all the same.
const SHARED_MEMORY: &str = "/dev/shm";

/// What was opened. It is not opened again.
#[derive(Debug)]
pub(crate) struct Writable {
    /// Where parts go.
    pub(in super::super) staging: OwnedFd,
    /// What the submitter has declared.
    pub(super) declared: Vec<OwnedFd>,
}

impl Writable {
    /// Opens the folder for parts, and what was declared; nothing of which may lie in a folder that
    /// is `hidden` from jobs, or have one in it. May block for a moment.
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

/// Refuses a folder that is hidden from jobs, what is in it, and what has it in it; what is the
/// kernel's; and another worker's folder, and what is in that.
fn refuse_hidden(file: &OwnedFd, hidden: &[PathBuf]) -> io::Result<()> {
    // The path of what is open, so that nobody can exchange it meanwhile.
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if hidden.first().is_some_and(|own| overlap(&real, own)) {
        let reason = "this worker's folder, or part of it, lies there; jobs must not write to that";
        return Err(io::Error::other(reason));
    }
    if let Some(hidden) = hidden.iter().find(|hidden| overlap(&real, hidden)) {
        let reason = format!("{} is hidden from jobs, and lies there", hidden.display());
        return Err(io::Error::other(reason));
    }
    if let Some(system) = KERNELS.iter().find(|system| real.starts_with(system))
        && !real.starts_with(SHARED_MEMORY)
    {
        let reason = format!("what lies in {system} is the kernel's, and other processes'");
        return Err(io::Error::other(reason));
    }
    if !real.ancestors().all(is_no_workers) {
        let reason = "it is another worker's folder, or lies in it, or that cannot be known; jobs must not write to that";
        return Err(io::Error::other(reason));
    }
    Ok(())
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
