//! How far this machine lets the code of jobs be isolated.

use std::fs;
use std::path::PathBuf;

use windrow_jobs::Isolation;

use super::children::{CallFilter, is_enforced, knows_scopes};

/// What is to keep the code of jobs from the rest of the machine, as far as that can.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// Landlock: what they may touch of files.
    pub files: bool,
    /// Seccomp: what they may ask of the system.
    pub calls: bool,
    /// Whether they may change permissions, owners and times of files by name all the same.
    pub changes_by_name: bool,
    /// What jobs must not see besides the worker's folder, absolute.
    pub hidden: Vec<PathBuf>,
    /// The worker does not start with less.
    pub required: Isolation,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            files: true,
            calls: true,
            changes_by_name: false,
            hidden: Vec::new(),
            required: Isolation::None,
        }
    }
}

/// What there is of it.
pub(crate) struct Isolated {
    pub(crate) level: Isolation,
    pub(crate) calls: Option<CallFilter>,
    /// Why it is not more, in sentences without an end.
    pub(crate) missing: Vec<String>,
}

impl Isolated {
    /// What this machine gives of what is wanted, for jobs that run in processes of their own.
    pub(crate) fn here(wanted: &Confinement) -> Self {
        let mut missing = Vec::new();
        let has_files = wanted.files && is_enforced();
        if !wanted.files {
            missing
                .push("--no-landlock leaves all files of this worker's user open to jobs".into());
        } else if !has_files {
            missing.push(
                "this kernel has no Landlock, or one from before Linux 6.2: the code of jobs can read and write what this worker's \
                 user can, its credentials and other jobs' data among it"
                    .into(),
            );
        } else if !knows_scopes() {
            missing.push(
                "this kernel's Landlock is from before Linux 6.12: the code of jobs can signal other processes of this worker's user"
                    .into(),
            );
        }
        let calls = if wanted.calls { filter(wanted.changes_by_name, &mut missing) } else { None };
        if !wanted.calls {
            missing.push(
                "--no-seccomp lets jobs change limits and priorities of other processes".into(),
            );
        } else if wanted.changes_by_name && calls.is_some() {
            missing.push(
                "--job-chmod lets jobs change permissions of all files of this worker's user"
                    .into(),
            );
        }
        let level = match (has_files, missing.is_empty()) {
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

fn filter(changes_by_name: bool, missing: &mut Vec<String>) -> Option<CallFilter> {
    // Where the kernel has none, the file is not there.
    let can = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if !can.split_ascii_whitespace().any(|action| action == "errno") {
        missing.push(
            "this kernel has no seccomp: jobs can change limits and priorities of other processes of this worker's user".into(),
        );
        return None;
    }
    match CallFilter::compile(!changes_by_name) {
        Ok(filter) => Some(filter),
        Err(error) => {
            missing.push(format!(
                "system calls of jobs cannot be limited ({error}): they can change limits and priorities of other processes"
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_said_and_counts() {
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
