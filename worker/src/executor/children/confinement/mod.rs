//! Access of a job's process to files, enforced by Landlock: it reads everything except its
//! worker's folder, of which it sees only its job's files; it writes to its job's folder, to the
//! folder of its parts, and to the paths that the submitter has declared.
//!
//! The rules are made here, and bind the process before its program begins: no code of the
//! submitter runs without them. They cover contents and names of files, but not, for example,
//! permissions; and of the network only listening: a process gets its connections from its worker,
//! and connects to other workers at any port.

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

/// The newest Landlock version that is used. An older kernel enforces what it supports.
const NEWEST: ABI = ABI::V7;

/// The oldest version that is accepted: earlier ones let a process truncate files that it could not
/// write to.
const OLDEST: ABI = ABI::V3;

/// Devices that leak nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The access of one process beyond the surroundings of the hidden folders.
pub(super) struct Needs<'a> {
    /// The job's own folder in the worker's, for reading and writing.
    pub(super) folder: &'a Path,
    /// The other paths that it may write to.
    pub(super) writable: &'a Writable,
    /// The job's executable, in the worker's folder or elsewhere.
    pub(super) program: &'a File,
    /// The job's side files, in the worker's folder or elsewhere.
    pub(super) side_files: Vec<&'a Path>,
}

/// Why a process cannot be confined as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    /// A path declared for writing does not exist or must not be written to.
    #[error("{} cannot be opened to the job for writing: {error}", .path.display())]
    Writable { path: PathBuf, error: io::Error },
    /// The folder for parts, which existed when the job began.
    #[error("{}: {error}", .path.display())]
    Output { path: PathBuf, error: io::Error },
    /// The system refuses an operation.
    #[error("its access to files cannot be limited: {0}")]
    System(#[from] io::Error),
    /// The system refuses a rule, or does not know it.
    #[error("its access to files cannot be limited: {0}")]
    Landlock(#[from] landlock::RulesetError),
}

impl ConfineError {
    /// The failure of the attempt. An invalid declared path is not the machine's fault.
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

/// Whether the kernel supports the rules.
pub(crate) fn is_enforced() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let handled = ruleset.handle_access(AccessFs::from_all(OLDEST));
    handled.and_then(Ruleset::create).is_ok()
}

/// Whether the kernel can keep a process from signalling others, and from connecting to their
/// abstract sockets.
pub(crate) fn knows_scopes() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let scoped = ruleset.scope(Scope::Signal).and_then(|it| it.scope(Scope::AbstractUnixSocket));
    scoped.and_then(Ruleset::create).is_ok()
}

/// Keeps this thread, and all that it starts from now on, from signalling others. False if the
/// kernel does not support it.
pub(super) fn enter_scope() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let scoped = ruleset.scope(Scope::Signal).and_then(Ruleset::create);
    scoped
        .and_then(RulesetCreated::restrict_self)
        .is_ok_and(|status| status.ruleset == RulesetStatus::FullyEnforced)
}

/// The rules for a process of a worker with these folders `hidden`. May block for a moment.
pub(super) fn rules(hidden: &[PathBuf], needs: &Needs<'_>) -> Result<RulesetCreated, ConfineError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        // Otherwise it could listen in place of a coordinator that is being restarted.
        .handle_access(AccessNet::BindTcp)?
        // Otherwise it could kill its worker, which has the same user.
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

/// Binds the process of `command` by these rules before its program begins.
pub(super) fn bind(command: &mut Command, rules: RulesetCreated) {
    let mut rules = Some(rules);
    let restrict = move || match rules.take() {
        Some(rules) => rules.restrict_self().map(drop).map_err(|_| io::Error::last_os_error()),
        None => Ok(()),
    };
    // SAFETY: between fork and exec, only async-signal-safe operations are allowed: this makes two
    // system calls and closes a descriptor. It takes no lock and allocates nothing, and neither do
    // its errors.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(restrict);
    }
}

/// Allows `access` to a file or folder and all below it, as far as it applies to its type.
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
