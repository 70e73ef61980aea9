//! How far this machine can isolate the code of jobs.

use std::fs;
use std::path::PathBuf;

use windrow_jobs::Isolation;

use super::children::{CallFilter, JobUsers, is_enforced, knows_scopes};

/// The configured confinement, applied as far as the machine supports it.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// Landlock: restricts the files that jobs may touch.
    pub files: bool,
    /// Seccomp: restricts the system calls of jobs.
    pub calls: bool,
    /// Whether jobs may still change permissions, owners and times of files by name.
    pub changes_by_name: bool,
    /// Absolute paths that jobs must not see, besides the worker's folder.
    pub hidden: Vec<PathBuf>,
    /// The users that jobs run as; `None` is the worker's user.
    pub users: Option<JobUsers>,
    /// The worker refuses to start with a lower level.
    pub required: Isolation,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            files: true,
            calls: true,
            changes_by_name: false,
            hidden: Vec::new(),
            users: None,
            required: Isolation::None,
        }
    }
}

/// The confinement that is possible here.
pub(crate) struct Isolated {
    pub(crate) level: Isolation,
    pub(crate) calls: Option<CallFilter>,
    /// Why it is not more, in sentences without full stops.
    pub(crate) missing: Vec<String>,
}

impl Isolated {
    /// The part of `wanted` that this machine supports, for jobs that run in processes of their
    /// own.
    pub(crate) fn here(wanted: &Confinement) -> Self {
        let mut missing = Vec::new();
        let has_files = has_files(wanted, &mut missing);
        let calls = calls(wanted, &mut missing);
        let level = match (has_files, missing.is_empty()) {
            (true, true) if wanted.users.is_some() => Isolation::User,
            (true, true) => Isolation::Process,
            (true, false) => Isolation::Files,
            (false, _) => Isolation::None,
        };
        Self { level, calls, missing }
    }

    /// For jobs that run in the worker itself.
    pub(crate) fn in_process() -> Self {
        let missing = "--in-process runs the code of jobs in the worker itself".to_string();
        Self { level: Isolation::None, calls: None, missing: vec![missing] }
    }
}

/// Whether Landlock can restrict files. Its newer features are not needed for that.
fn has_files(wanted: &Confinement, missing: &mut Vec<String>) -> bool {
    if !wanted.files {
        missing.push("--no-landlock leaves all files of this worker's user open to jobs".into());
        return false;
    }
    if !is_enforced() {
        missing.push(
            "this kernel has no Landlock, or one from before Linux 6.2: the code of jobs can read and write what this worker's \
             user can, its credentials and other jobs' data among it"
                .into(),
        );
        return false;
    }
    if !knows_scopes() {
        missing.push(
            "this kernel's Landlock is older than Linux 6.12: the code of jobs can signal other processes of this worker's user"
                .into(),
        );
    }
    true
}

/// The filter of jobs' system calls, where one can be had.
fn calls(wanted: &Confinement, missing: &mut Vec<String>) -> Option<CallFilter> {
    if !wanted.calls {
        missing
            .push("--no-seccomp lets jobs change limits and priorities of other processes".into());
        return None;
    }
    // The file does not exist on a kernel without seccomp.
    let can = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if !can.split_ascii_whitespace().any(|action| action == "errno") {
        missing.push(
            "this kernel has no seccomp: jobs can change limits and priorities of other processes of this worker's user".into(),
        );
        return None;
    }
    // Where jobs have users of their own, a job's files belong to nobody else.
    let changes_by_name = wanted.changes_by_name || wanted.users.is_some();
    if changes_by_name && wanted.users.is_none() {
        missing.push(
            "--job-chmod lets jobs change permissions of all files of this worker's user".into(),
        );
    }
    let compiled = CallFilter::compile(!changes_by_name).map_err(|error| {
        missing.push(format!(
            "system calls of jobs cannot be limited ({error}): they can change limits and priorities of other processes"
        ));
    });
    compiled.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_confinement_is_reported_and_lowers_the_level() {
        let all = Isolated::here(&Confinement::default());
        assert_eq!(all.missing.is_empty(), all.level == Isolation::Process, "{:?}", all.missing);
        let less = |confinement| {
            let less = Isolated::here(&confinement);
            assert!(!less.missing.is_empty() && less.level < Isolation::Process);
            less.level
        };
        let usual = Confinement::default;
        assert_eq!(less(Confinement { files: false, ..usual() }), Isolation::None);
        let without_calls = less(Confinement { calls: false, ..usual() });
        assert_eq!(without_calls, less(Confinement { changes_by_name: true, ..usual() }));
    }
}
