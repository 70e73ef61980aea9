//! Facts about the machine that this process runs on.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cgroup::{self, machine_memory_bytes};

/// The host's name, for display.
pub(super) fn host_name() -> String {
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "host".to_string())
}

/// Identifies the machine by its name and its boot: the boot tells machines of one image apart, the
/// name tells containers on one kernel apart, which do not see each other's files. Empty if the
/// system does not say.
pub(super) fn host_id() -> String {
    read("/proc/sys/kernel/random/boot_id")
        .map_or_else(String::new, |boot| format!("{}/{boot}", host_name()))
}

/// Identifies this process among all processes of its machine.
pub(super) fn instance() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), now.as_nanos())
}

/// Cores that this process may use.
pub(super) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, NonZero::get) as u32
}

/// Warns at the start about limits that the kernel would otherwise enforce by killing processes of
/// jobs.
pub(super) fn warn_of_memory(memory_bytes: u64) {
    let machine = machine_memory_bytes();
    let group = cgroup::kill_limit_bytes().filter(|limit| *limit < machine);
    let limit = group.unwrap_or(machine);
    if memory_bytes <= limit {
        return;
    }
    let whose = if group.is_some() { "the control group of this worker" } else { "this machine" };
    tracing::warn!(
        "--memory is {} MiB, and {whose} has no more than {} MiB: the kernel will kill processes of jobs that use more; start the \
         worker with --memory {}MiB, or give it more",
        memory_bytes >> 20,
        limit >> 20,
        limit >> 21
    );
}

/// Reads a system file, without the final line break.
fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_identifies_itself_the_same_way_twice() {
        assert_eq!(host_id(), host_id());
        assert_ne!(instance(), instance());
    }
}
