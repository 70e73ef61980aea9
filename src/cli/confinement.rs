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
    /// Let the code of jobs read and write all that this worker's user can, its credentials and
    /// other jobs' data among it: for debugging
    #[arg(long)]
    pub(crate) no_landlock: bool,
    /// Let the code of jobs make any system call, also such as change limits and priorities of
    /// other processes: for debugging, and for jobs that trace or need shared memory of System V
    #[arg(long)]
    pub(crate) no_seccomp: bool,
    /// Let the code of jobs change permissions, owners and times of files by name: of all that
    /// belong to this worker's user
    #[arg(long)]
    pub(crate) job_chmod: bool,
    /// Give each job a user of the system of its own, by a number of these that nobody else on this
    /// machine has, such as 2000000000-2000000999. Takes root or the capabilities that
    /// docs/security.md names, a secured cluster, and --job-group
    #[arg(long, value_name = "FIRST-LAST", value_parser = user_numbers, requires = "job_groups")]
    pub(crate) job_users: Option<RangeInclusive<u32>>,
    /// A group of all users of --job-users, by number or name: by its rights jobs read inputs and
    /// write outputs. May be repeated; outputs are the first one's
    #[arg(long = "job-group", value_name = "GROUP", value_parser = local_group, requires = "job_users")]
    pub(crate) job_groups: Vec<u32>,
    /// Do not start where jobs would be isolated less than this; what each level promises is in
    /// docs/security.md
    #[arg(long, value_name = "none|files|process|user", default_value = "none")]
    pub(crate) require_isolation: Isolation,
    /// A file or folder that the code of jobs is not to read, besides the worker's own and the
    /// user's credentials for Windrow; may be repeated
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
            "--hide {path}: nothing is there yet, and jobs cannot read what comes there"
        );
    }
}

/// Not where it is in somebody else's home, as with `su`: who cannot get there need not be kept
/// from there.
fn can_be_found(path: &PathBuf) -> bool {
    !matches!(fs::canonicalize(path), Err(error) if error.kind() == ErrorKind::PermissionDenied)
}
