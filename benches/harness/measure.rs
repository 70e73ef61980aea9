//! The cost of one process: time, CPU, memory.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Result;

/// The cost of a process from start to end.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall: Duration,
    /// User and system time of all its threads.
    pub cpu: Duration,
    pub peak_rss_bytes: u64,
}

/// Runs `command` to its end. If it fails, the error is its first line of output.
#[allow(dead_code)] // benches use different parts of this module
pub fn run(mut command: Command, stderr: &Path) -> Result<Cost> {
    command.stdout(Stdio::null());
    let (status, cost) = run_any(command, stderr)?;
    if status.success() {
        return Ok(cost);
    }
    let said = std::fs::read_to_string(stderr)?;
    let first = said.lines().next().unwrap_or("it said nothing");
    Err(format!("{status}: {first}").into())
}

/// Runs `command` to its end, in success or failure. Its standard output goes where the caller
/// wants it.
pub fn run_any(mut command: Command, stderr: &Path) -> Result<(ExitStatus, Cost)> {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stderr(File::create(stderr)?).spawn()?;
    let (status, usage) = wait(child.id())?;
    let cost = Cost {
        wall: start.elapsed(),
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak_rss_bytes: usage.ru_maxrss as u64 * 1024,
    };
    Ok((status, cost))
}

/// Waits for a child. The standard library does not report its resource usage.
fn wait(pid: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live variables of the right type; the child is ours and not
        // yet waited for.
        #[allow(unsafe_code)]
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            // SAFETY: all zeros is a valid value, and the call has filled it in.
            #[allow(unsafe_code)]
            let usage = unsafe { usage.assume_init() };
            return Ok((ExitStatus::from_raw(status), usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}
