//! What of the file system the process of a job may touch, enforced by Landlock: it reads
//! everything but its worker's folder, of which it sees no more than what is its job's; it writes
//! to its job's folder, to where its parts go, and to what the submitter has declared.
//!
//! The rules are made here, and bind the process before its program begins: no code of the
//! submitter's runs without them. They say nothing of what is not the content or the name of a
//! file, such as its permissions, and of the network only who may wait for connections: a process
//! gets its own from its worker, and connects to other workers at ports of any number.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use windrow_jobs::{FailureCause, JobId, RecordPlace};

mod surroundings;
mod writable;

pub(crate) use surroundings::surroundings;
pub(super) use writable::Writable;

/// The newest that is made use of. A kernel that knows less enforces what it knows.
const NEWEST: ABI = ABI::V7;

/// The oldest that is worth the name: before, files could be cut off that could not be written to.
const OLDEST: ABI = ABI::V3;

/// What takes and gives nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What one process may touch besides what surrounds the hidden folders.
pub(super) struct Needs<'a> {
    /// The job's own folder in the worker's, for reading and writing.
    pub(super) folder: &'a Path,
    /// What else it writes to.
    pub(super) writable: &'a Writable,
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
                FailureCause::UserError { place: RecordPlace::default(), message }
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

/// Whether the kernel can keep a process from signalling others, and from their sockets that have
/// no file.
pub(crate) fn knows_scopes() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let scoped = ruleset.scope(Scope::Signal).and_then(|it| it.scope(Scope::AbstractUnixSocket));
    scoped.and_then(Ruleset::create).is_ok()
}

/// Has this thread, and all that it starts from now on, signal nothing else. False where the kernel
/// does not know of that.
pub(super) fn enter_scope() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let scoped = ruleset.scope(Scope::Signal).and_then(Ruleset::create);
    scoped
        .and_then(RulesetCreated::restrict_self)
        .is_ok_and(|status| status.ruleset == RulesetStatus::FullyEnforced)
}

/// The rules for a process of the worker that has these folders `hidden`. May block for a moment.
pub(super) fn rules(hidden: &[PathBuf], needs: &Needs<'_>) -> Result<RulesetCreated, ConfineError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        // Else it could wait in the place of a coordinator that is started again.
        .handle_access(AccessNet::BindTcp)?
        // Else it could kill its worker, which is of the same user.
        .scope(Scope::Signal)?
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    let (read, all) = (AccessFs::from_read(NEWEST), AccessFs::from_all(NEWEST));
    surroundings(hidden, |_, file| allow(&mut rules, file, read))?;
    allow(&mut rules, needs.program, read)?;
    for path in &needs.side_files {
        allow(&mut rules, open_path(path)?, read)?;
    }
    allow(&mut rules, open_path(needs.folder)?, all)?;
    for device in DEVICES {
        if let Ok(device) = open_path(Path::new(device)) {
            allow(&mut rules, device, all)?;
        }
    }
    for file in &needs.writable.declared {
        allow(&mut rules, file, all)?;
    }
    allow(&mut rules, &needs.writable.staging, all)?;
    Ok(rules)
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
    rules: &mut RulesetCreated,
    file: impl AsFd,
    access: BitFlags<AccessFs>,
) -> Result<(), ConfineError> {
    let kind = FileType::from_raw_mode(fstat(&file).map_err(io::Error::from)?.st_mode);
    let access = match kind {
        FileType::Directory => access,
        FileType::Symlink => return Ok(()),
        _ => access & AccessFs::from_file(NEWEST),
    };
    rules.add_rule(PathBeneath::new(file, access))?;
    Ok(())
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests;
