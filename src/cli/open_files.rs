//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as this process may ask for. The soft limit is 1,024 on most systems, for the
/// sake of programs that use `select`; a coordinator has a connection for each worker, and a merge
/// a file for each run.
pub(crate) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, things are as they were.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
