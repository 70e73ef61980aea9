//! A file in the version for which the job was planned.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use windrow_jobs::{FailureCause, Version};

use super::Input;

/// One version of a file.
pub(super) struct LocalFile {
    file: File,
    path: PathBuf,
    version: Version,
}

impl LocalFile {
    /// Reopened if it seems to have changed: that makes clients of network file systems refresh
    /// their caches.
    pub(super) fn open(path: &Path, version: &Version) -> Result<Self, FailureCause> {
        match Self::open_once(path, version) {
            Err(FailureCause::InputChanged { .. }) => Self::open_once(path, version),
            opened => opened,
        }
    }

    fn open_once(path: &Path, version: &Version) -> Result<Self, FailureCause> {
        let file = File::open(path).map_err(|error| FailureCause::io(path, &error))?;
        let this = Self { file, path: path.to_path_buf(), version: version.clone() };
        this.compare(&this.file)?;
        Ok(this)
    }

    /// Compares the file with the plan.
    fn compare(&self, file: &File) -> Result<(), FailureCause> {
        let found = file.metadata().and_then(|metadata| Version::of_file(&metadata));
        let found = found.map_err(|error| self.failed(&error))?;
        let (planned, there) = (self.version.bytes(), found.bytes());
        if planned != there {
            Err(self.changed(format!("it had {planned} bytes and has {there}")))
        } else if found != self.version {
            Err(self.changed("it was written to".into()))
        } else {
            Ok(())
        }
    }

    fn failed(&self, error: &io::Error) -> FailureCause {
        FailureCause::io(&self.path, error)
    }

    fn changed(&self, message: String) -> FailureCause {
        FailureCause::InputChanged { file: self.path.display().to_string(), message }
    }
}

impl Input for LocalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FailureCause> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.changed(format!("it had {} bytes and is shorter now", self.version.bytes()))
            }
            _ => self.failed(&error),
        })
    }

    /// If the open file seems to have changed, the check is repeated on a newly opened one.
    fn check(&self) -> Result<(), FailureCause> {
        let Err(changed) = self.compare(&self.file) else { return Ok(()) };
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let of = |file: &File| file.metadata().map(identity).map_err(|error| self.failed(&error));
        let again = File::open(&self.path).map_err(|error| self.failed(&error))?;
        if of(&again)? != of(&self.file)? {
            return Err(changed);
        }
        self.compare(&again)
    }
}
