//! The privileges that a process of a job drops before user code runs. Its parent has already
//! chosen the environment, made the process group, and set limits.

use std::io;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;

/// Drops the privileges that user code must not have.
pub(super) fn confine() -> io::Result<()> {
    // Not SIGKILL, which would leave the descendants of user code behind: the handler kills the
    // whole group.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    set_no_new_privs(true)?;
    Ok(())
}
