//! Which program the process of a job runs, and in which surroundings.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use windrow_jobs::FailureCause;

use crate::files::give_back;

/// What the owner of an executable must be allowed to do with it.
const TO_START: u32 = 0o500;

/// The argument by which a program knows that it is to be the process of a job.
pub const CHILD_ARGUMENT: &str = "--windrow-job-process";

/// What such a process inherits of its worker's environment: how to find programs and files, and
/// how to show text, time and panics. Credentials are not among it. Its temporary folder is one of
/// its own.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "RUST_BACKTRACE", "RUST_LOG"];

/// An executable that serves as the process of a job when it is started with certain arguments:
/// `prefix`, and then [`CHILD_ARGUMENT`](super::CHILD_ARGUMENT). Clones are the same.
#[derive(Clone, Debug)]
pub struct ChildProgram {
    /// Kept open, so that it does no harm when the file is replaced.
    executable: Arc<File>,
    prefix: Vec<OsString>,
}

impl ChildProgram {
    /// The executable of this process. `prefix` are the arguments that come before those of
    /// Windrow's, in programs that have commands besides.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn own(prefix: Vec<OsString>) -> io::Result<Self> {
        Ok(Self { executable: Arc::new(File::open("/proc/self/exe")?), prefix })
    }

    /// The same executable with other arguments before those of Windrow's.
    pub(crate) fn with_prefix(&self, prefix: Vec<OsString>) -> Self {
        Self { executable: Arc::clone(&self.executable), prefix }
    }

    /// A program that was shipped here, with the arguments that come before those of Windrow's.
    pub(crate) fn shipped(executable: File, prefix: Vec<OsString>) -> Self {
        Self { executable: Arc::new(executable), prefix }
    }

    /// Has this user be allowed to start it, if it is the file's owner: a job's process can take
    /// that away.
    pub(crate) fn make_usable(&self) -> Result<(), FailureCause> {
        let failed = |error| FailureCause::io(self.path(), &error);
        give_back(&*self.executable, TO_START).map_err(failed)
    }

    fn path(&self) -> PathBuf {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.executable.as_raw_fd()));
        path.unwrap_or_default()
    }

    /// What the system's refusal to start it comes from.
    pub(super) fn why_not_started(&self, error: &io::Error) -> String {
        let path = self.path();
        match error.kind() {
            io::ErrorKind::PermissionDenied if is_noexec(&self.executable) => format!(
                "{} lies on a file system that is mounted noexec; give the worker a folder elsewhere (--dir)",
                path.display()
            ),
            io::ErrorKind::PermissionDenied => format!("{}: {error}", path.display()),
            io::ErrorKind::WouldBlock => format!(
                "{error}: there are no more processes or threads to be had ('ulimit -u', TasksMax=, or pids.max of the control \
                 group)"
            ),
            _ => error.to_string(),
        }
    }

    /// What is started.
    pub(super) fn executable(&self) -> &File {
        &self.executable
    }

    /// The command that starts it, without any input or output.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.executable.as_raw_fd()));
        command.arg0("windrow-job").args(&self.prefix).arg(CHILD_ARGUMENT);
        command.env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

/// Whether programs on the same file system cannot be started.
pub(crate) fn is_noexec(file: impl AsFd) -> bool {
    fstatvfs(file).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::NOEXEC))
}
