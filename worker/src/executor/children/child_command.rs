//! The command of a job's process, and its environment.

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

/// Permissions that the owner of an executable needs.
const TO_START: u32 = 0o500;

/// The argument that makes a program serve as the process of a job.
pub const CHILD_ARGUMENT: &str = "--windrow-job-process";

/// The environment variables that such a process inherits from its worker: for finding programs and
/// files, and for formatting text, time and panics. Credentials are not among them. Its temporary
/// folder is its own.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "RUST_BACKTRACE", "RUST_LOG"];

/// An executable that serves as the process of a job when it is started with certain arguments:
/// `prefix`, and then [`CHILD_ARGUMENT`](super::CHILD_ARGUMENT). Clones are the same.
#[derive(Clone, Debug)]
pub struct ChildCommand {
    /// Kept open, so that replacing the file does no harm.
    executable: Arc<File>,
    prefix: Vec<OsString>,
}

impl ChildCommand {
    /// The executable of this process. `prefix` holds the arguments before Windrow's, for programs
    /// with subcommands.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn own(prefix: Vec<OsString>) -> io::Result<Self> {
        Ok(Self { executable: Arc::new(File::open("/proc/self/exe")?), prefix })
    }

    /// The same executable with other arguments before Windrow's.
    pub(crate) fn with_prefix(&self, prefix: Vec<OsString>) -> Self {
        Self { executable: Arc::clone(&self.executable), prefix }
    }

    /// A program that was shipped here, with the arguments before Windrow's.
    pub(crate) fn shipped(executable: File, prefix: Vec<OsString>) -> Self {
        Self { executable: Arc::new(executable), prefix }
    }

    /// Restores this user's right to start it, if the user owns the file: a job's process can
    /// remove the permission.
    pub(crate) fn make_usable(&self) -> Result<(), FailureCause> {
        let failed = |error| FailureCause::io(self.path(), &error);
        give_back(&*self.executable, TO_START).map_err(failed)
    }

    fn path(&self) -> PathBuf {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.executable.as_raw_fd()));
        path.unwrap_or_default()
    }

    /// Explains why the system refused to start it.
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

    /// The executable.
    pub(super) fn executable(&self) -> &File {
        &self.executable
    }

    /// The command that starts it, without input or output.
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

/// Whether the file system forbids starting programs (noexec).
pub(crate) fn is_noexec(file: impl AsFd) -> bool {
    fstatvfs(file).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::NOEXEC))
}
