//! The system calls that are refused, and why.

use super::numbers::OPEN_TREE_ATTR;
use super::{Condition, has_flag, is, is_not};

/// Refused whatever their arguments.
pub(super) const ALWAYS: &[i64] = &[
    // No filter sees the requests in a ring, and io_uring has had many vulnerabilities.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Tools for attacks on the kernel.
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    // Keys belong to the user, and so to all jobs.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Memory and descriptors of other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Objects that outlive their process, count for nobody's limits, and are shared by all
    // processes of the user.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Other views of files, processes and the network.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // Jobs get connections from their workers. Without a bound port (which Landlock refuses),
    // `listen` takes any free one.
    libc::SYS_listen,
    // Effects on the whole machine: for root, which a worker should not be.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// Argument of `setpriority` and `ioprio_set`: all processes of a user.
const PRIO_USER: u32 = 2;
const IOPRIO_WHO_USER: u32 = 3;

/// Calls refused in some cases; each inner list is a conjunction.
pub(super) fn by_arguments() -> Vec<(i64, Vec<Vec<Condition>>)> {
    let mut calls = vec![
        // Reading is harmless, setting is not.
        (libc::SYS_prlimit64, vec![vec![is_not(0, 0), is_not(2, 0).wide()]]),
        (libc::SYS_setpriority, vec![vec![is(0, PRIO_USER)], vec![is_not(1, 0)]]),
        (libc::SYS_ioprio_set, vec![vec![is(0, IOPRIO_WHO_USER)], vec![is_not(1, 0)]]),
        // A signal to all processes of the user: fatal on kernels whose Landlock has no signal
        // scope.
        (libc::SYS_kill, vec![vec![is(0, -1i32 as u32)]]),
        // Its worker counts and ends its descendants by this setting.
        (libc::SYS_prctl, vec![vec![is(0, libc::PR_SET_CHILD_SUBREAPER as u32)]]),
        (libc::SYS_clone, CLONE_FLAGS.iter().map(|flag| vec![has_flag(0, *flag as u32)]).collect()),
        // Other execution domains; querying is harmless.
        (libc::SYS_personality, vec![vec![is_not(0, u32::MAX)]]),
        // Injects input into the user's terminal.
        (
            libc::SYS_ioctl,
            vec![vec![is(1, libc::TIOCSTI as u32)], vec![is(1, libc::TIOCLINUX as u32)]],
        ),
    ];
    for of_any_process in
        [libc::SYS_sched_setattr, libc::SYS_sched_setparam, libc::SYS_sched_setscheduler]
    {
        calls.push((of_any_process, vec![vec![is_not(0, 0)]]));
    }
    calls
}

/// New namespaces; and a process that becomes its parent's sibling, so that it would not be counted
/// as a descendant.
const CLONE_FLAGS: [i32; 8] = [
    libc::CLONE_PARENT,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
