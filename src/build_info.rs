//! Which build this process runs, so that peers of another build refuse each other.

use std::fs::File;
use std::io::{self, Read};

use windrow_proto::{PROTOCOL_VERSION, v1};
use xxhash_rust::xxh3::Xxh3;

/// This executable's protocol, version and digest. Reads the whole executable: a few milliseconds.
///
/// The digest tells builds apart by accident, not by malice, so a fast hash serves.
pub(crate) fn current() -> io::Result<v1::Build> {
    // The link stays valid when the file has been replaced by a newer build since this process started.
    let mut executable =
        File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))?;
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match executable.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(v1::Build {
        protocol_version: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_string(),
        digest: format!("{:032x}", hasher.digest128()),
    })
}
