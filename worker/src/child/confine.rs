//! What a process of a job gives up before user code runs. The environment was chosen, and the process group made, by who
//! started it.

use std::io;

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;

/// Files that it may have open. Reducers read from many at once; a leak is noticed before it hurts.
const OPEN_FILES_MAX: u64 = 65_536;

/// Gives up what user code must not have.
///
/// There is no limit of processes: the system counts all of one user together, workers included. There is none of address
/// space either, which says little of the memory that is used: the worker watches that.
pub(super) fn confine() -> io::Result<()> {
    // Not SIGKILL, which would leave behind what user code has started: who hears this kills the whole group.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    set_no_new_privs(true)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX).min(OPEN_FILES_MAX);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}
