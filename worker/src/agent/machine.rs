//! What this process can tell of the machine that it runs on.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::cgroup;

/// Assumed where the system does not say.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;

/// The host's name, for people.
pub(super) fn host_name() -> String {
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "host".to_string())
}

/// Names the machine: its name and its boot. The boot tells machines of one image apart, the name tells containers on
/// one kernel apart, which do not see each other's files. Empty if the system does not say.
pub(super) fn host_id() -> String {
    read("/proc/sys/kernel/random/boot_id")
        .map_or_else(String::new, |boot| format!("{}/{boot}", host_name()))
}

/// Names this process among all of its machine.
pub(super) fn instance() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), now.as_nanos())
}

/// Cores that this process may use.
pub(super) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, NonZero::get) as u32
}

/// Memory for tasks unless told otherwise, in bytes: half of what this process may use, be that limited by the machine
/// or by a control group. The rest is for the page cache, which the shuffle lives on.
pub fn default_memory_bytes() -> u64 {
    let total = read("/proc/meminfo").and_then(|text| total_memory_bytes(&text));
    let limits = total.into_iter().chain(cgroup::memory_limit_bytes());
    limits.min().unwrap_or(MEMORY_BYTES_UNKNOWN) / 2
}

fn total_memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A system file without the line's end.
fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24651784 kB\nMemFree:          123 kB\n";
        assert_eq!(total_memory_bytes(meminfo), Some(24_651_784 << 10));
        assert_eq!(total_memory_bytes("MemFree: 123 kB\n"), None);
    }

    #[test]
    fn the_machine_keeps_its_name() {
        assert_eq!(host_id(), host_id());
        assert_ne!(instance(), instance());
    }
}
