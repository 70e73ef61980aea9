//! Calls that open, change and create files, as far as Landlock does not cover them.

use super::numbers::{FCHMODAT2, FILE_SETATTR, REMOVEXATTRAT, SETXATTRAT};
use super::{Condition, has_flag};

/// Mode bits by which a program runs as its file's owner or group (setuid, setgid): anybody who
/// finds such a program of a job would become the worker's user, without any restriction.
const RUNS_AS_ITS_OWNER: [u32; 2] = [libc::S_ISUID, libc::S_ISGID];

/// Calls that set a file's mode, and the number of the argument that holds the mode.
const WITH_MODE: &[(i64, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (FCHMODAT2, 2),
    (libc::SYS_mkdirat, 2),
    (libc::SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
];

/// Calls that open a file, and the number of the argument that holds the flags; the mode comes
/// next.
const THAT_OPEN: &[(i64, u8)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// Flags with which an opening call uses its mode.
const MAKES: [i32; 2] = [libc::O_CREAT, libc::O_TMPFILE];

/// Changes that Landlock does not cover, of files named by a path.
pub(super) const BY_NAME: &[i64] = &[
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
];

/// Each inner list is a conjunction.
pub(super) fn by_arguments() -> Vec<(i64, Vec<Vec<Condition>>)> {
    let with_mode = WITH_MODE.iter().map(|(call, mode)| {
        (*call, RUNS_AS_ITS_OWNER.map(|bit| vec![has_flag(*mode, bit)]).into())
    });
    let that_open = THAT_OPEN.iter().map(|(call, flags)| {
        // Neither for reading nor for writing: Landlock then checks no right, and permissions and
        // times can still be changed through the descriptor.
        let mut cases = vec![vec![has_flag(*flags, libc::O_ACCMODE as u32)]];
        for bit in RUNS_AS_ITS_OWNER {
            let made = |flag: i32| vec![has_flag(*flags, flag as u32), has_flag(*flags + 1, bit)];
            cases.extend(MAKES.map(made));
        }
        (*call, cases)
    });
    with_mode.chain(that_open).collect()
}
