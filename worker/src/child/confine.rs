//! What a process of a job gives up before user code runs. The environment was chosen, the process
//! group made, and limits set, by who started it.

use std::io;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;

/// Gives up what user code must not have.
pub(super) fn confine() -> io::Result<()> {
    // Not SIGKILL, which would leave behind what user code has started: who hears this kills the
    // whole group.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    set_no_new_privs(true)?;
    Ok(())
}
