//! Real calls, on threads that are bound by the filter.

use std::io::Error;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::*;

/// What a call answers on a thread that is bound by the filter.
fn bound(by_name: bool, call: impl FnOnce() -> i64 + Send) -> Result<i64, i32> {
    let filter = CallFilter::compile(by_name).unwrap();
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            apply_filter(&filter.0).unwrap();
            let answer = call();
            if answer < 0 {
                Err(Error::last_os_error().raw_os_error().unwrap())
            } else {
                Ok(answer)
            }
        });
        tried.join().unwrap()
    })
}

/// Any call, by number.
fn call(number: i64, arguments: [usize; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: nothing here is given a pointer to memory that it might write to but what lives
    // longer.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(number, a, b, c, d, e, f)
    }
}

fn refused(what: &str, number: i64, arguments: [usize; 6]) {
    assert_eq!(bound(true, || call(number, arguments)), Err(libc::EPERM), "{what}");
}

/// With arguments for which the system has another answer: that it is EPERM is the filter's doing.
#[test]
fn what_is_refused_always_is_refused() {
    for number in refused::ALWAYS {
        refused(&number.to_string(), *number, [usize::MAX; 6]);
    }
}

#[test]
fn other_processes_are_left_alone() {
    let limit = libc::rlimit { rlim_cur: 4, rlim_max: 4 };
    let (other, limit) = (std::process::id() as usize, std::ptr::from_ref(&limit).addr());
    let nofile = libc::RLIMIT_NOFILE as usize;
    refused("prlimit", libc::SYS_prlimit64, [other, nofile, limit, 0, 0, 0]);
    refused("affinity", libc::SYS_sched_setaffinity, [other, 0, 0, 0, 0, 0]);
    refused("scheduler", libc::SYS_sched_setscheduler, [other, 5, 0, 0, 0, 0]);
    refused("parameters", libc::SYS_sched_setparam, [other, 0, 0, 0, 0, 0]);
    refused("attributes", libc::SYS_sched_setattr, [other, 0, 0, 0, 0, 0]);
    refused("priority", libc::SYS_setpriority, [0, other, 19, 0, 0, 0]);
    refused("priority of all", libc::SYS_setpriority, [2, 0, 19, 0, 0, 0]);
    refused("disk priority", libc::SYS_ioprio_set, [1, other, 0, 0, 0, 0]);
    refused("disk priority of all", libc::SYS_ioprio_set, [3, 0, 0, 0, 0, 0]);
    refused("all processes", libc::SYS_kill, [-1isize as usize, 0, 0, 0, 0, 0]);
    // The kernel looks at 32 bits only.
    let same = 0xffff_ffff_0000_0000 | u32::MAX as usize;
    refused("all processes by other bits", libc::SYS_kill, [same, 0, 0, 0, 0, 0]);
    refused("other parents of orphans", libc::SYS_prctl, [36, 0, 0, 0, 0, 0]);
}

#[test]
fn ways_around_are_closed() {
    let newuser = libc::CLONE_NEWUSER as usize;
    refused("a user namespace", libc::SYS_clone, [newuser, 0, 0, 0, 0, 0]);
    refused("a sister", libc::SYS_clone, [libc::CLONE_PARENT as usize, 0, 0, 0, 0, 0]);
    refused("a local socket", libc::SYS_socket, [libc::AF_UNIX as usize, 1, 0, 0, 0, 0]);
    refused("a socket of the host", libc::SYS_socket, [libc::AF_VSOCK as usize, 1, 0, 0, 0, 0]);
    refused("the audit", libc::SYS_socket, [libc::AF_NETLINK as usize, 3, 9, 0, 0, 0]);
    refused("typing", libc::SYS_ioctl, [0, libc::TIOCSTI as usize, 0, 0, 0, 0]);
    let of_x32 = 0x4000_0000 | libc::SYS_getpid;
    for not_there in [libc::SYS_clone3, of_x32, i64::from(NEWEST) + 1] {
        let answer = bound(true, || call(not_there, [0; 6]));
        assert_eq!(answer, Err(libc::ENOSYS), "{not_there:#x}");
    }
}

#[test]
fn permissions_are_changed_by_descriptor_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = std::fs::File::create(&path).unwrap();
    let to_0600 = || std::fs::Permissions::from_mode(0o600);
    let by_name = || std::fs::set_permissions(&path, to_0600()).map_or(-1, |()| 0);
    assert_eq!(bound(true, by_name), Err(libc::EPERM));
    assert_eq!(bound(false, by_name), Ok(0));
    let by_descriptor = || {
        file.set_permissions(to_0600()).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).map_or(-1, |()| 0)
    };
    assert_eq!(bound(true, by_descriptor), Ok(0));
    let at = path.as_os_str().as_encoded_bytes();
    let name = [at, b"\0"].concat();
    for number in refused::BY_NAME.iter().chain(&[libc::SYS_utimensat]) {
        let name = name.as_ptr().addr();
        refused(&number.to_string(), *number, [name, name, 0, 0, 0, 0]);
    }
}

#[test]
fn what_programs_need_is_allowed() {
    let answer = bound(true, || {
        let pair = std::os::unix::net::UnixStream::pair();
        let listener = std::net::TcpListener::bind("127.0.0.1:0");
        let thread = std::thread::spawn(|| 1).join();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        let copied = std::fs::copy(dir.path().join("a"), dir.path().join("b"));
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]).stdout(Stdio::null());
        let status = command.status().unwrap().code();
        let is_well = pair.is_ok() && listener.is_ok() && thread.is_ok() && copied.is_ok();
        if is_well { i64::from(status.unwrap()) } else { -1 }
    });
    assert_eq!(answer, Ok(7));
    let own = [0, libc::RLIMIT_NOFILE as usize, 0, 0, 0, 0];
    assert_eq!(bound(true, || call(libc::SYS_prlimit64, own)), Ok(0));
    let priority = [0, 0, 0, 0, 0, 0];
    assert_eq!(bound(true, || call(libc::SYS_setpriority, priority)), Ok(0));
}

/// What the filter is told before it is there is not refused.
#[test]
fn it_binds_what_a_command_starts() {
    let filter = CallFilter::compile(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("chmod");
    command.arg("700").arg(folder.path());
    filter.bind(&mut command);
    assert!(!command.output().unwrap().status.success());
}
