//! Of the calls that open, make and change files, those that Landlock does not judge.

use super::numbers::{FCHMODAT2, FILE_SETATTR, REMOVEXATTRAT, SETXATTRAT};
use super::{Condition, has_flag};

/// Bits of a mode by which a program runs as its file's owner or group, whoever starts it: anybody
/// who finds one that a job has made would be the worker's user, without any rule.
const RUNS_AS_ITS_OWNER: [u32; 2] = [libc::S_ISUID, libc::S_ISGID];

/// Calls that give a file the mode that is the argument of this number.
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

/// Calls that open a file, and the number of the argument that has the flags; the mode comes next.
const THAT_OPEN: &[(i64, u8)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// Flags by which the mode of a call that opens counts.
const MAKES: [i32; 2] = [libc::O_CREAT, libc::O_TMPFILE];

/// Changes of what Landlock does not know of, where the file is named by a path.
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

/// Each is a list of what must all be true.
pub(super) fn by_arguments() -> Vec<(i64, Vec<Vec<Condition>>)> {
    let with_mode = WITH_MODE.iter().map(|(call, mode)| {
        (*call, RUNS_AS_ITS_OWNER.map(|bit| vec![has_flag(*mode, bit)]).into())
    });
    let that_open = THAT_OPEN.iter().map(|(call, flags)| {
        // Neither to read nor to write: Landlock asks for no right then, and by the descriptor,
        // permissions and times are changed all the same.
        let mut cases = vec![vec![has_flag(*flags, libc::O_ACCMODE as u32)]];
        for bit in RUNS_AS_ITS_OWNER {
            let made = |flag: i32| vec![has_flag(*flags, flag as u32), has_flag(*flags + 1, bit)];
            cases.extend(MAKES.map(made));
        }
        (*call, cases)
    });
    with_mode.chain(that_open).collect()
}
