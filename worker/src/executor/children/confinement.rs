//! What of the file system the process of a job may touch, enforced by Landlock: it reads
//! everything but its worker's folder, of which it sees no more than what is its job's; it writes
//! to its job's folder, to where its parts go, and to what the submitter has declared.
//!
//! The rules are made here, and bind the process before its program begins: no code of the
//! submitter's runs without them. They say nothing of the network, nor of what is not the content
//! or the name of a file, such as its permissions.
//!
//! Landlock knows rules that allow, for a folder and all below it, and no exceptions. So the
//! worker's folder is kept out by allowing each neighbour of it, and each neighbour of the folders
//! above it, by itself. What is made at one of these levels later than the process cannot be read
//! by it. Of a neighbour that is the folder of another worker, only the folders of its jobs are
//! allowed: reducers read each other's map outputs there.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use windrow_jobs::{FailureCause, JobId, Place};

use crate::executor::{is_workers, jobs_folder};

/// The newest that is made use of. A kernel that knows less enforces what it knows.
const NEWEST: ABI = ABI::V7;

/// The oldest that is worth the name: before, files could be cut off that could not be written to.
const OLDEST: ABI = ABI::V3;

/// What takes and gives nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What one process may touch besides what surrounds the worker's folder.
pub(super) struct Needs<'a> {
    /// The job's own folder in the worker's, for reading and writing.
    pub(super) folder: &'a Path,
    /// Where parts go.
    pub(super) staging: &'a Path,
    /// What the submitter has declared.
    pub(super) writable: &'a [PathBuf],
    /// The job's executable, in the worker's folder or elsewhere.
    pub(super) program: &'a File,
    /// The job's side files, in the worker's folder or elsewhere.
    pub(super) side_files: Vec<&'a Path>,
}

/// Why a process would be bound by rules that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    /// A path that was named for writing, and is not there or must not be written to.
    #[error("{} cannot be opened to the job for writing: {error}", .path.display())]
    Writable { path: PathBuf, error: io::Error },
    /// Where parts go, which was there when the job began.
    #[error("{}: {error}", .path.display())]
    Output { path: PathBuf, error: io::Error },
    /// The system refuses something.
    #[error("its access to files cannot be limited: {0}")]
    System(#[from] io::Error),
    /// The system refuses a rule, or does not know it.
    #[error("its access to files cannot be limited: {0}")]
    Landlock(#[from] landlock::RulesetError),
}

impl ConfineError {
    /// What the attempt fails with. A path that was named says nothing against the machine.
    pub(super) fn cause(&self, job: JobId) -> FailureCause {
        match self {
            Self::Writable { .. } => {
                let message = format!("the process of {job} cannot be started: {self}");
                FailureCause::UserError { place: Place::default(), message }
            }
            Self::Output { path, error } => FailureCause::output_io(path, error),
            Self::System(_) | Self::Landlock(_) => {
                let (path, message) =
                    (format!("the process of {job}"), format!("cannot be started: {self}"));
                FailureCause::Io { path, message, disk_full: false }
            }
        }
    }
}

/// Whether the kernel can enforce what is asked for here.
pub(crate) fn is_enforced() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let handled = ruleset.handle_access(AccessFs::from_all(OLDEST));
    handled.and_then(Ruleset::create).is_ok()
}

/// All that may be read. Rules can only allow: so what hides `hidden` is that everything beside it,
/// and beside each of the folders above it, is allowed, but what other workers beside it keep from
/// jobs. `hidden` must be absolute and without links.
///
/// # Errors
/// When one of the folders above it cannot be listed.
pub(crate) fn surroundings(hidden: &Path) -> io::Result<Vec<PathBuf>> {
    let mut beside = Vec::new();
    for way in hidden.ancestors() {
        let Some(above) = way.parent() else { break };
        let failed = |error: io::Error| {
            let text = format!("{} cannot be listed: {error}", above.display());
            io::Error::new(error.kind(), text)
        };
        for entry in fs::read_dir(above).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if path == way {
                continue;
            }
            // Not by a link, which may lead to where nobody should get.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            beside.push(if is_folder && is_workers(&path) { jobs_folder(&path) } else { path });
        }
    }
    Ok(beside)
}

/// The rules for a process of the worker that has the folder `hidden`. May block for a moment.
pub(super) fn rules(hidden: &Path, needs: &Needs<'_>) -> Result<RulesetCreated, ConfineError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        // Else it could kill its worker, which is of the same user.
        .scope(Scope::Signal)?
        .create()?;
    let (read, all) = (AccessFs::from_read(NEWEST), AccessFs::from_all(NEWEST));
    for path in surroundings(hidden)? {
        // A link is followed to what has a rule of its own, or has none for a reason. What is gone
        // by now needs none.
        if let Ok(file) =
            open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        {
            rules = allow(rules, &file, read)?;
        }
    }
    rules = allow(rules, needs.program, read)?;
    for path in &needs.side_files {
        rules = allow(rules, &open_path(path)?, read)?;
    }
    rules = allow(rules, &open_path(needs.folder)?, all)?;
    for device in DEVICES {
        if let Ok(device) = open_path(Path::new(device)) {
            rules = allow(rules, &device, all)?;
        }
    }
    for path in needs.writable {
        let refused = |error| refused(path, error);
        let file = open_path(path).map_err(refused)?;
        refuse_hidden(&file, hidden).map_err(refused)?;
        rules = allow(rules, &file, all)?;
    }
    let failed = |error| ConfineError::Output { path: needs.staging.to_path_buf(), error };
    let staging = open_path(needs.staging).map_err(failed)?;
    refuse_hidden(&staging, hidden).map_err(|error| refused(needs.staging, error))?;
    allow(rules, &staging, all)
}

/// Has the process of `command` bound by these rules before its program begins.
pub(super) fn bind(command: &mut Command, rules: RulesetCreated) {
    let mut rules = Some(rules);
    let restrict = move || match rules.take() {
        Some(rules) => rules.restrict_self().map(drop).map_err(|_| io::Error::last_os_error()),
        None => Ok(()),
    };
    // SAFETY: between fork and exec, only what is safe in a signal handler may be done: this makes
    // two system calls and closes a descriptor. It takes no lock and no memory, and neither do its
    // errors.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(restrict);
    }
}

/// Allows `access`, as far as it makes sense for what this is, to it and to all below it.
fn allow(
    rules: RulesetCreated,
    file: impl AsFd,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    let kind = FileType::from_raw_mode(fstat(&file).map_err(io::Error::from)?.st_mode);
    let access = match kind {
        FileType::Directory => access,
        FileType::Symlink => return Ok(rules),
        _ => access & AccessFs::from_file(NEWEST),
    };
    Ok(rules.add_rule(PathBeneath::new(file, access))?)
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn refused(path: &Path, error: io::Error) -> ConfineError {
    ConfineError::Writable { path: path.to_path_buf(), error }
}

/// Refuses what is the worker's folder, or in it, or has it in it; and any other worker's, or what
/// is in that.
fn refuse_hidden(file: &OwnedFd, hidden: &Path) -> io::Result<()> {
    // Where links have led: asked of what has been opened, so that nobody can exchange it
    // meanwhile.
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if real.starts_with(hidden) || hidden.starts_with(&real) {
        let reason = "this worker's folder, or part of it, lies there; jobs must not write to that";
        return Err(io::Error::other(reason));
    }
    if real.ancestors().any(is_workers) {
        let reason = "it is another worker's folder, or lies in it; jobs must not write to that";
        return Err(io::Error::other(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
