//! What keeps the code of jobs from the rest of a worker's machine, as its flags say.

use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use windrow_jobs::Isolation;
use windrow_worker::{Confinement, JobUsers};

use super::security::own_folder;
use super::values::{absolute_path, local_group, user_numbers};

/// Of `windrow worker`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the code of jobs may touch")]
pub(crate) struct ConfinementArgs {
    /// For debugging: let the code of jobs read and write all that this worker's user can,
    /// including its credentials and other jobs' data
    #[arg(long)]
    pub(crate) no_landlock: bool,
    /// Let the code of jobs make any system call, such as changing limits and priorities of other
    /// processes: for debugging, and for jobs that trace or need System V shared memory
    #[arg(long)]
    pub(crate) no_seccomp: bool,
    /// Let the code of jobs change permissions, owners and times by name, of all files that belong
    /// to this worker's user
    #[arg(long)]
    pub(crate) job_chmod: bool,
    /// Give each job a system user of its own from this range of numbers, such as
    /// 2000000000-2000000999, which nobody else on this machine may have. Needs root or the
    /// capabilities named in docs/security.md, a secured cluster, and --job-group
    #[arg(long, value_name = "FIRST-LAST", value_parser = user_numbers, requires = "job_groups")]
    pub(crate) job_users: Option<RangeInclusive<u32>>,
    /// Group of the users of --job-users, by number or name, with whose rights jobs read inputs and
    /// write outputs. May be repeated; outputs belong to the first
    #[arg(long = "job-group", value_name = "GROUP", value_parser = local_group, requires = "job_users")]
    pub(crate) job_groups: Vec<u32>,
    /// Refuse to start if jobs would be isolated less than this; docs/security.md says what each
    /// level promises
    #[arg(long, value_name = "none|files|process|user", default_value = "none")]
    pub(crate) require_isolation: Isolation,
    /// File or folder that the code of jobs must not read, besides the worker's own and the user's
    /// credentials for Windrow; may be repeated
    #[arg(long = "hide", value_name = "PATH", value_parser = absolute_path)]
    pub(crate) hidden: Vec<String>,
}

impl ConfinementArgs {
    /// What they say of a worker.
    pub(crate) fn to_confinement(&self) -> Confinement {
        let given = self.hidden.iter().map(PathBuf::from).inspect(warn_of_nothing);
        Confinement {
            files: !self.no_landlock,
            calls: !self.no_seccomp,
            changes_by_name: self.job_chmod,
            hidden: given.chain(own_folder().filter(can_be_found)).collect(),
            users: self
                .job_users
                .clone()
                .map(|numbers| JobUsers { numbers, groups: self.job_groups.clone() }),
            required: self.require_isolation,
        }
    }
}

/// It could be a typing error. What comes there later is hidden all the same.
fn warn_of_nothing(path: &PathBuf) {
    if matches!(fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound) {
        let path = path.display();
        tracing::warn!(
            "--hide {path}: the path does not exist yet; jobs will not be able to read it when it does"
        );
    }
}

/// Not where it is in somebody else's home, as with `su`: who cannot get there need not be kept
/// from there.
fn can_be_found(path: &PathBuf) -> bool {
    !matches!(fs::canonicalize(path), Err(error) if error.kind() == ErrorKind::PermissionDenied)
}
