//! What keeps the code of jobs from the rest of a worker's machine, as its flags say.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use super::security::own_folder;
use super::values::absolute_path;

/// Of `windrow worker`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the code of jobs may touch")]
pub(crate) struct ConfinementArgs {
    /// Let the code of jobs read and write all that this worker's user can, its credentials and
    /// other jobs' data among it: for debugging
    #[arg(long)]
    pub(crate) no_landlock: bool,
    /// A file or folder that the code of jobs is not to read, besides the worker's own and the
    /// user's credentials for Windrow; may be repeated
    #[arg(long = "hide", value_name = "PATH", value_parser = absolute_path)]
    pub(crate) hidden: Vec<String>,
}

impl ConfinementArgs {
    /// All that is hidden besides the worker's folder.
    pub(crate) fn hidden(&self) -> Vec<PathBuf> {
        let given = self.hidden.iter().map(PathBuf::from);
        given.chain(own_folder().filter(can_be_found)).collect()
    }
}

/// Not where it is in somebody else's home, as with `su`: who cannot get there need not be kept
/// from there.
fn can_be_found(path: &PathBuf) -> bool {
    !matches!(fs::canonicalize(path), Err(error) if error.kind() == ErrorKind::PermissionDenied)
}
