//! The system calls that a job's process may make, enforced by seccomp from before its program
//! begins, on it and its descendants.
//!
//! The filter refuses what Landlock does not cover: effects on other processes of the same user by
//! number (limits, priorities, shares of the processor); changes of permissions, owners and times
//! of files by name; ways around files and processes (`io_uring`, `ptrace`, handles, namespaces,
//! mounts); and objects that outlive their process (System V shared memory, keys). Everything else
//! is allowed: a job may be any program.
//!
//! From Linux 5.11 on, the kernel determines once which calls are allowed whatever their arguments,
//! and does not run the filter for them: reading, writing and waiting cost no more than before.
//!
//! A filter sees numbers and flags, not the targets of pointers. So a change of permissions by name
//! is refused wherever the file lies. By descriptor it is allowed: that reaches files that the job
//! may open, which excludes its worker's folder and the folders of other jobs in it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter, sock_filter,
};

mod files;
mod numbers;
mod refused;
mod sockets;

/// The newest call that was reviewed, of Linux 6.17. Later calls fail as on a kernel without them,
/// and so do calls of the 32-bit ABI of x86-64 (x32), whose numbers have an additional high bit.
const NEWEST: u32 = numbers::FILE_SETATTR as u32;

/// The filter's third answer, besides "allowed" and "not permitted".
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const AS_IF_DONE: u32 = libc::SECCOMP_RET_ERRNO;

/// The offset of the first argument in the kernel's description of a call: of its significant half.
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// The refused calls, compiled for this processor. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct CallFilter(Arc<BpfProgram>);

impl CallFilter {
    /// `by_name` refuses changes of permissions, owners and times of files that are named by paths.
    ///
    /// # Errors
    ///
    /// When there is no filter for this processor.
    pub(crate) fn compile(by_name: bool) -> Result<Self, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            refused::ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
        let parts = [refused::by_arguments(), files::by_arguments(), sockets::by_arguments()];
        for (call, cases) in parts.into_iter().flatten() {
            let before = rules.insert(call, cases.into_iter().map(rule).collect::<Result<_, _>>()?);
            debug_assert!(before.is_none(), "{call} is listed in one place only");
        }
        if by_name {
            // These replace any other rules of the same calls.
            rules.extend(files::BY_NAME.iter().map(|call| (*call, Vec::new())));
            rules.insert(libc::SYS_utimensat, vec![rule(vec![is_not(1, 0).wide()])?]);
        }
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            std::env::consts::ARCH.try_into()?,
        )?;
        let mut program = begin();
        program.extend(BpfProgram::try_from(filter)?);
        Ok(Self(Arc::new(program)))
    }

    /// Binds the process of `command` by the filter. All other preparations of the process come
    /// before this.
    pub(super) fn bind(&self, command: &mut Command) {
        let filter = Arc::clone(&self.0);
        let restrict = move || apply_filter(&filter).map_err(|_| io::Error::last_os_error());
        // SAFETY: between fork and exec, only async-signal-safe operations are allowed: this makes
        // two system calls. It takes no lock and allocates nothing, and neither do its errors.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(restrict);
        }
    }
}

/// The first instructions of the filter: calls with an answer other than "not permitted".
///
/// Calls that were never reviewed, and calls whose flags are behind a pointer, fail as on a kernel
/// without them: the C library then uses `clone` for `clone3`, and programs use `openat` for
/// `openat2`. Pinning a thread to cores by its number appears to succeed and does nothing: a filter
/// cannot tell threads of the same process from other processes, and libraries that pin their
/// threads (OpenMP) start none if the call is refused.
fn begin() -> BpfProgram {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // The call's number, which comes first in the kernel's description.
        step(LOAD, 0, 0, 0),
        step(IF_GREATER, 2, 0, NEWEST),
        step(IF_EQUAL, 1, 0, libc::SYS_clone3 as u32),
        step(IF_EQUAL, 0, 1, libc::SYS_openat2 as u32),
        step(RETURN, 0, 0, NOT_THERE),
        step(IF_EQUAL, 0, 3, libc::SYS_sched_setaffinity as u32),
        step(LOAD, 0, 0, FIRST_ARGUMENT),
        step(IF_EQUAL, 1, 0, 0),
        step(RETURN, 0, 0, AS_IF_DONE),
    ]
}

/// A condition on an argument.
struct Condition {
    argument: u8,
    width: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
}

impl Condition {
    /// The condition compares a pointer; all other arguments are 32 bits wide, and the kernel
    /// ignores the rest.
    fn wide(self) -> Self {
        Self { width: SeccompCmpArgLen::Qword, ..self }
    }
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u32) -> Condition {
    Condition { argument, width: SeccompCmpArgLen::Dword, operator, value: value.into() }
}

fn is(argument: u8, value: u32) -> Condition {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: u32) -> Condition {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn has_flag(argument: u8, flag: u32) -> Condition {
    has_bits(argument, flag, flag)
}

/// Of the bits `of` an argument, exactly these are set.
fn has_bits(argument: u8, of: u32, bits: u32) -> Condition {
    condition(argument, SeccompCmpOp::MaskedEq(of.into()), bits)
}

/// Refuses a call for which all conditions hold.
fn rule(conditions: Vec<Condition>) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.into_iter();
    let compiled = conditions.map(|it| {
        let Condition { argument, width, operator, value } = it;
        SeccompCondition::new(argument, width, operator, value)
    });
    SeccompRule::new(compiled.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
