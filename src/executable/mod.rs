//! The executable of this process: which build it is, and the bytes that a cluster needs to run it.

mod digest_cache;
mod needs;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use needs::of as needs_of;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use windrow_jobs::{Blob, Digest, JobExecutable};
use windrow_proto::{PROTOCOL_MIN, PROTOCOL_VERSION, v1};

use digest_cache::DigestCache;

/// The executable of this process.
pub(crate) struct Executable {
    /// What peers hear of it.
    pub(crate) build: v1::Build,
    /// What is in it.
    pub(crate) blob: Blob,
    /// Stays what it is when the file is replaced by a newer build.
    pub(crate) file: Arc<File>,
}

impl Executable {
    /// That of this process. Its first start reads it whole, on all cores, which takes some
    /// milliseconds; later starts remember its digest.
    pub(crate) fn own() -> io::Result<Self> {
        let file =
            File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))?;
        let cache = DigestCache::of_user();
        let blob = digest_cache::cached(cache.as_ref(), &file, || mapped_blob_of(&file))?;
        let build = v1::Build {
            protocol_version: PROTOCOL_VERSION,
            protocol_min: PROTOCOL_MIN,
            version: env!("CARGO_PKG_VERSION").to_string(),
            digest: blob.digest.to_string(),
        };
        Ok(Self { build, blob, file: Arc::new(file) })
    }

    /// As a job's program. `prefix` are the arguments that come before Windrow's own.
    ///
    /// # Errors
    /// When it is nothing that a cluster could start.
    pub(crate) fn to_program(&self, prefix: &[OsString]) -> Result<JobExecutable, String> {
        let text = |argument: &OsString| argument.to_str().map(str::to_string);
        let arguments: Option<Vec<_>> = prefix.iter().map(text).collect();
        Ok(JobExecutable {
            executable: self.blob,
            arguments: arguments.ok_or("the program's arguments are not valid UTF-8")?,
            needs: needs::of(&self.file).map_err(|error| format!("/proc/self/exe: {error}"))?,
        })
    }
}

/// Reads a file whole, on all cores. Only for a file that nobody cuts short meanwhile, as a running
/// program: it is mapped.
fn mapped_blob_of(file: &File) -> io::Result<Blob> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(blob(&hasher))
}

/// Reads a file whole, to know what is in it.
pub(crate) fn blob_of(file: &File) -> io::Result<Blob> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(blob(&hasher))
}

fn blob(hasher: &blake3::Hasher) -> Blob {
    Blob { digest: Digest(*hasher.finalize().as_bytes()), bytes: hasher.count() }
}
