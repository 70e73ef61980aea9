//! Which system calls the process of a job may make, enforced by seccomp from before its program
//! begins, on it and on all that it starts.
//!
//! What Landlock does not know of is refused here: what one process does to others of its user by
//! number (limits, priorities, shares of the processor), changes of permissions, owners and times
//! of files by name, ways around files and processes (`io_uring`, `ptrace`, handles, namespaces,
//! mounts), and what outlives its process (shared memory of System V, keys). Everything else is
//! allowed: jobs are any program that somebody has written.
//!
//! From Linux 5.11 on, the kernel finds out once which calls are allowed whatever their arguments
//! are, and does not run the filter for these: reading, writing and waiting cost what they did.
//!
//! A filter sees numbers and flags, not what pointers lead to. So a change of permissions by name
//! is refused wherever the file lies. By descriptor it is allowed: that reaches what the job
//! may open, which is neither its worker's folder nor another job's there.

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

/// The newest call that was judged, of Linux 6.17. What comes later answers as on a kernel that
/// does not have it, and so do calls of the 32-bit ABI of x86-64 (x32), whose numbers have a bit of
/// their own above all others.
const NEWEST: u32 = numbers::FILE_SETATTR as u32;

/// What a filter answers besides "allowed" and "not permitted".
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const AS_IF_DONE: u32 = libc::SECCOMP_RET_ERRNO;

/// Where the first argument lies in what the kernel says of a call: the half of it that counts.
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// What is refused, compiled for this processor. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct CallFilter(Arc<BpfProgram>);

impl CallFilter {
    /// `by_name` refuses changes of permissions, owners and times of files that are named by paths.
    ///
    /// # Errors
    /// When there is none for this processor.
    pub(crate) fn compile(by_name: bool) -> Result<Self, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            refused::ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
        let parts = [refused::by_arguments(), files::by_arguments(), sockets::by_arguments()];
        for (call, cases) in parts.into_iter().flatten() {
            let before = rules.insert(call, cases.into_iter().map(rule).collect::<Result<_, _>>()?);
            debug_assert!(before.is_none(), "what is said of {call} is said in one place");
        }
        if by_name {
            // Whatever else was said of them.
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

    /// Has the process of `command` bound by it. Whatever else is to be done before the program
    /// begins comes before this.
    pub(super) fn bind(&self, command: &mut Command) {
        let filter = Arc::clone(&self.0);
        let restrict = move || apply_filter(&filter).map_err(|_| io::Error::last_os_error());
        // SAFETY: between fork and exec, only what is safe in a signal handler may be done: this
        // makes two system calls. It takes no lock and no memory, and neither do its errors.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(restrict);
        }
    }
}

/// The first steps of a filter: the calls that are not answered by "not permitted".
///
/// Calls that were never judged, and those whose flags are behind a pointer, are answered as by a
/// kernel that does not have them: the C library then uses `clone` for `clone3`, and programs
/// `openat` for `openat2`. To bind a thread to certain cores by its number seems to succeed, and
/// does nothing: a filter cannot tell threads of the same process from other processes, and
/// libraries that bind their threads (OpenMP) start none where it is refused.
fn begin() -> BpfProgram {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // The number, which the kernel puts first.
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

/// Something said of an argument.
struct Condition {
    argument: u8,
    width: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
}

impl Condition {
    /// Of a pointer; all others are of 32 bits, of which the kernel does not look at the rest.
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

/// Of those bits of an argument that are `of` interest, it has these.
fn has_bits(argument: u8, of: u32, bits: u32) -> Condition {
    condition(argument, SeccompCmpOp::MaskedEq(of.into()), bits)
}

/// Refuses a call of which all of this is true.
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
