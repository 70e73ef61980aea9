//! Real calls, on threads that are bound by the filter.

use std::io::Error;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::*;

/// The result of a call on a thread that is bound by the filter.
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
    // SAFETY: pointers among the arguments lead only to memory that outlives the call.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(number, a, b, c, d, e, f)
    }
}

fn refused(what: &str, number: i64, arguments: [usize; 6]) {
    assert_eq!(bound(true, || call(number, arguments)), Err(libc::EPERM), "{what}");
}

/// The arguments would otherwise give another error: EPERM can only come from the filter.
#[test]
fn unconditionally_refused_calls_fail() {
    for number in refused::ALWAYS {
        refused(&number.to_string(), *number, [usize::MAX; 6]);
    }
}

#[test]
fn other_processes_cannot_be_changed() {
    let limit = libc::rlimit { rlim_cur: 4, rlim_max: 4 };
    let (other, limit) = (std::process::id() as usize, std::ptr::from_ref(&limit).addr());
    let nofile = libc::RLIMIT_NOFILE as usize;
    refused("prlimit", libc::SYS_prlimit64, [other, nofile, limit, 0, 0, 0]);
    refused("scheduler", libc::SYS_sched_setscheduler, [other, 5, 0, 0, 0, 0]);
    refused("parameters", libc::SYS_sched_setparam, [other, 0, 0, 0, 0, 0]);
    refused("attributes", libc::SYS_sched_setattr, [other, 0, 0, 0, 0, 0]);
    refused("priority", libc::SYS_setpriority, [0, other, 19, 0, 0, 0]);
    refused("priority of all", libc::SYS_setpriority, [2, 0, 19, 0, 0, 0]);
    refused("disk priority", libc::SYS_ioprio_set, [1, other, 0, 0, 0, 0]);
    refused("disk priority of all", libc::SYS_ioprio_set, [3, 0, 0, 0, 0, 0]);
    refused("all processes", libc::SYS_kill, [-1isize as usize, 0, 0, 0, 0, 0]);
    // The kernel reads 32 bits only.
    let same = 0xffff_ffff_0000_0000 | u32::MAX as usize;
    refused("all processes by other bits", libc::SYS_kill, [same, 0, 0, 0, 0, 0]);
    refused("other parents of orphans", libc::SYS_prctl, [36, 0, 0, 0, 0, 0]);
}

/// Pinning by number is ignored: the number of a process that does not exist, and the invalid
/// address, would be errors.
#[test]
fn only_the_own_thread_can_be_pinned() {
    let choose = |process| move || call(libc::SYS_sched_setaffinity, [process, 8, 1, 0, 0, 0]);
    assert_eq!(bound(true, choose(std::process::id() as usize)), Ok(0));
    assert_eq!(bound(true, choose(usize::MAX >> 40)), Ok(0));
    assert_eq!(bound(true, choose(0)), Err(libc::EFAULT));
}

#[test]
fn ways_around_confinement_are_refused() {
    let newuser = libc::CLONE_NEWUSER as usize;
    refused("a user namespace", libc::SYS_clone, [newuser, 0, 0, 0, 0, 0]);
    refused("a sister", libc::SYS_clone, [libc::CLONE_PARENT as usize, 0, 0, 0, 0, 0]);
    refused("typing", libc::SYS_ioctl, [0, libc::TIOCSTI as usize, 0, 0, 0, 0]);
    let of_x32 = 0x4000_0000 | libc::SYS_getpid;
    for not_there in [libc::SYS_clone3, libc::SYS_openat2, of_x32, i64::from(NEWEST) + 1] {
        let answer = bound(true, || call(not_there, [0; 6]));
        assert_eq!(answer, Err(libc::ENOSYS), "{not_there:#x}");
    }
}

#[test]
fn only_tcp_udp_and_pairs_are_allowed() {
    let socket = |family, kind, protocol: i32| {
        move || call(libc::SYS_socket, [family as usize, kind as usize, protocol as usize, 0, 0, 0])
    };
    let (stream, datagram) = (libc::SOCK_STREAM, libc::SOCK_DGRAM);
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [
            libc::IPPROTO_MPTCP,
            libc::IPPROTO_SCTP,
            libc::IPPROTO_ICMP,
            libc::IPPROTO_UDPLITE,
            256,
        ] {
            for kind in [stream, datagram] {
                let answer = bound(true, socket(family, kind | libc::SOCK_CLOEXEC, protocol));
                assert_eq!(answer, Err(libc::EPERM), "{family} {kind} {protocol}");
            }
        }
        for kind in [libc::SOCK_RAW, libc::SOCK_SEQPACKET, libc::SOCK_DCCP] {
            let answer = bound(true, socket(family, kind | libc::SOCK_NONBLOCK, 0));
            assert_eq!(answer, Err(libc::EPERM), "{family} {kind}");
        }
        let own = [(stream, 0), (stream, libc::IPPROTO_TCP), (datagram, libc::IPPROTO_UDP)];
        for (kind, protocol) in own {
            // Not every machine has IPv6.
            assert_ne!(bound(true, socket(family, kind, protocol)), Err(libc::EPERM));
        }
    }
    for (family, kind, protocol) in [
        (libc::AF_UNIX, stream, 0),
        (libc::AF_UNIX, datagram, 0),
        (libc::AF_VSOCK, stream, 0),
        (libc::AF_PACKET, libc::SOCK_RAW, 0),
        (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
    ] {
        assert_eq!(bound(true, socket(family, kind, protocol)), Err(libc::EPERM), "{family}");
    }
    bound(true, socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)).unwrap();
}

/// A pair of datagram sockets could send to any other socket.
#[test]
fn only_stream_pairs_are_allowed() {
    let mut ends = [0i32; 2];
    let ends = ends.as_mut_ptr().addr();
    let pair = |family: i32, kind: i32| {
        bound(true, || call(libc::SYS_socketpair, [family as usize, kind as usize, 0, ends, 0, 0]))
    };
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC] {
        assert_eq!(pair(libc::AF_UNIX, kind), Err(libc::EPERM), "{kind}");
    }
    assert_eq!(pair(libc::AF_TIPC, libc::SOCK_STREAM), Err(libc::EPERM));
    let folder = tempfile::tempdir().unwrap();
    let (at, of_packets) = (folder.path().join("a"), folder.path().join("b"));
    let _listener = std::os::unix::net::UnixListener::bind(&at).unwrap();
    let _receiver = std::os::unix::net::UnixDatagram::bind(&of_packets).unwrap();
    for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        assert_eq!(pair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC), Ok(0));
    }
    // A connected pair stays connected, even when the other end is gone.
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(other);
    for path in [&at, &of_packets] {
        let address = rustix::net::SocketAddrUnix::new(path).unwrap();
        rustix::net::connect(&one, &address).unwrap_err();
    }
}

#[test]
fn listening_and_choosing_ports_are_refused() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let of = |socket: &dyn std::os::fd::AsRawFd| socket.as_raw_fd() as usize;
    refused("to wait", libc::SYS_listen, [of(&listener), 1, 0, 0, 0, 0]);
    let value = [0u8; 8];
    let value = value.as_ptr().addr();
    for (level, name) in [(libc::IPPROTO_IP, 51), (libc::IPPROTO_TCP, libc::TCP_ULP)] {
        let option = [of(&socket), level as usize, name as usize, value, 4, 0];
        refused("an option", libc::SYS_setsockopt, option);
    }
}

/// Each call that creates or changes a file, with its usual arguments and with a setuid mode.
#[test]
fn setuid_files_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| {
        let path = folder.path().join(name);
        [path.as_os_str().as_encoded_bytes(), b"\0"].concat()
    };
    let (file, new) = (name("file"), name("new"));
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let opened = std::fs::File::open(folder.path().join("file")).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&opened) as usize;
    let (at, file, new) = (libc::AT_FDCWD as usize, file.as_ptr().addr(), new.as_ptr().addr());
    let makes = (libc::O_CREAT | libc::O_WRONLY) as usize;
    let unnamed = (libc::O_TMPFILE | libc::O_RDWR) as usize;
    let above = name(".");
    let above = above.as_ptr().addr();
    for by_name in [true, false] {
        for bits in [0o4000, 0o2000, 0o6755, 0o4700] {
            let calls = [
                (libc::SYS_fchmod, [descriptor, bits, 0, 0]),
                (libc::SYS_fchmodat, [at, file, bits, 0]),
                (452, [at, file, bits, 0]),
                (libc::SYS_openat, [at, new, makes, bits]),
                (libc::SYS_openat, [at, above, unnamed, bits]),
                (libc::SYS_mkdirat, [at, new, bits, 0]),
                (libc::SYS_mknodat, [at, new, bits, 0]),
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_chmod, [file, bits, 0, 0]),
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_open, [new, makes, bits, 0]),
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_creat, [new, bits, 0, 0]),
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_mkdir, [new, bits, 0, 0]),
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_mknod, [new, bits, 0, 0]),
            ];
            for (number, [a, b, c, d]) in calls {
                let answer = bound(by_name, || call(number, [a, b, c, d, 0, 0]));
                assert_eq!(answer, Err(libc::EPERM), "{number} {bits:o}");
            }
        }
    }
    assert!(!folder.path().join("new").exists());
    let usual = [at, new, makes, 0o1755, 0, 0];
    assert!(bound(true, || call(libc::SYS_openat, usual)).is_ok());
    // Without creation, the mode is ignored.
    assert!(bound(true, || call(libc::SYS_openat, [at, new, 0, 0o6000, 0, 0])).is_ok());
}

/// Through such a descriptor, permissions and times of any file could be changed.
#[test]
fn descriptors_for_neither_reading_nor_writing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let name = [path.as_os_str().as_encoded_bytes(), b"\0"].concat();
    let (at, name) = (libc::AT_FDCWD as usize, name.as_ptr().addr());
    for flags in [3, 3 | libc::O_CLOEXEC as usize | libc::O_CREAT as usize] {
        refused("openat", libc::SYS_openat, [at, name, flags, 0o600, 0, 0]);
        #[cfg(target_arch = "x86_64")]
        refused("open", libc::SYS_open, [name, flags, 0o600, 0, 0, 0]);
    }
    for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_PATH] {
        assert!(
            bound(true, || call(libc::SYS_openat, [at, name, flags as usize, 0, 0, 0])).is_ok()
        );
    }
}

#[test]
fn permissions_can_be_changed_by_descriptor_only() {
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
    for number in files::BY_NAME.iter().chain(&[libc::SYS_utimensat]) {
        let name = name.as_ptr().addr();
        refused(&number.to_string(), *number, [name, name, 0, 0, 0, 0]);
    }
}

#[test]
fn ordinary_calls_are_allowed() {
    let answer = bound(true, || {
        let pair = std::os::unix::net::UnixStream::pair();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0");
        let thread = std::thread::spawn(|| 1).join();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        let copied = std::fs::copy(dir.path().join("a"), dir.path().join("b"));
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]).stdout(Stdio::null());
        let status = command.status().unwrap().code();
        let is_well = pair.is_ok() && socket.is_ok() && thread.is_ok() && copied.is_ok();
        if is_well { i64::from(status.unwrap()) } else { -1 }
    });
    assert_eq!(answer, Ok(7));
    let own = [0, libc::RLIMIT_NOFILE as usize, 0, 0, 0, 0];
    assert_eq!(bound(true, || call(libc::SYS_prlimit64, own)), Ok(0));
    let priority = [0, 0, 0, 0, 0, 0];
    assert_eq!(bound(true, || call(libc::SYS_setpriority, priority)), Ok(0));
}

/// Calls made before the filter is installed are not refused.
#[test]
fn the_filter_binds_a_commands_process() {
    let filter = CallFilter::compile(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("chmod");
    command.arg("700").arg(folder.path());
    filter.bind(&mut command);
    assert!(!command.output().unwrap().status.success());
}
