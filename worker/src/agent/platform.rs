//! Which programs this machine can run.

use std::path::Path;

use windrow_proto::v1;

/// Dynamic linkers at their usual paths.
const INTERPRETERS: [&str; 8] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib64/ld64.so.2",
    "/lib/ld-linux-riscv64-lp64d.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
    "/lib/ld-musl-riscv64.so.1",
    "/lib/ld64.so.1",
];

/// This machine's platform.
pub(super) fn platform() -> v1::Platform {
    let there = INTERPRETERS.iter().filter(|path| Path::new(path).exists());
    let mut interpreters: Vec<String> = there.map(ToString::to_string).collect();
    interpreters.extend(own_interpreters());
    v1::Platform { arch: std::env::consts::ARCH.to_string(), interpreters, glibc: glibc() }
}

/// The dynamic linker of this process, by its path: systems differ.
fn own_interpreters() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| Some(&line[line.find('/')?..]));
    let mut linkers: Vec<_> = paths
        .filter(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-")))
        .map(str::to_string)
        .collect();
    linkers.dedup();
    linkers
}

/// The version of the C library that this process runs with, which other programs get, too. Empty
/// for other libraries.
#[cfg(target_env = "gnu")]
fn glibc() -> String {
    // SAFETY: the function takes no arguments and returns a static string of the library.
    #[allow(unsafe_code)]
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_string_lossy().into_owned()
}

#[cfg(not(target_env = "gnu"))]
fn glibc() -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use windrow_jobs::GlibcVersion;

    use super::*;

    #[test]
    fn this_machine_reports_its_platform() {
        let platform = platform();
        assert_eq!(platform.arch, std::env::consts::ARCH);
        if cfg!(target_env = "gnu") {
            assert!(GlibcVersion::parse(&platform.glibc).is_some(), "{}", platform.glibc);
            assert!(!platform.interpreters.is_empty());
        }
    }
}
