//! The file that a chunk is read from.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use windrow_jobs::{FailureCause, Place};

use super::window::Window;
use crate::model::FileRange;
use crate::task::plan::InputPlan;

/// A file that is as it was when the job was planned.
pub(super) struct InputFile {
    file: File,
    path: PathBuf,
    pub(super) name: String,
    pub(super) bytes: u64,
    modified_unix_ns: u64,
    /// The first record, if the format needs it.
    pub(super) header: Vec<u8>,
}

impl InputFile {
    /// Opened again if it seems to have changed: by that, clients of network file systems learn
    /// what their cache did not know.
    pub(super) fn open(range: &FileRange, plan: &InputPlan) -> Result<Self, FailureCause> {
        match Self::open_once(range, plan) {
            Err(FailureCause::InputChanged { .. }) => Self::open_once(range, plan),
            opened => opened,
        }
    }

    fn open_once(range: &FileRange, plan: &InputPlan) -> Result<Self, FailureCause> {
        let file =
            File::open(&range.path).map_err(|error| FailureCause::io(&range.path, &error))?;
        let mut this = Self {
            file,
            path: range.path.clone(),
            name: range.path.display().to_string(),
            bytes: range.file_bytes,
            modified_unix_ns: range.modified_unix_ns,
            header: Vec::new(),
        };
        this.compare(&this.file)?;
        if plan.format.has_header {
            let mut window = Window::default();
            let first = window.find(&this, plan, 0..1, &mut |_| Ok(()))?;
            this.header = window.bytes(first).to_vec();
        }
        Ok(this)
    }

    /// Makes sure that what was read is what was planned. Where the open file seems to have
    /// changed, the same one is asked once more, opened anew.
    pub(super) fn check(&self) -> Result<(), FailureCause> {
        let failed = |error: io::Error| FailureCause::io(&self.name, &error);
        let Err(changed) = self.compare(&self.file) else { return Ok(()) };
        let again = File::open(&self.path).map_err(failed)?;
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let read = identity(self.file.metadata().map_err(failed)?);
        if identity(again.metadata().map_err(failed)?) != read {
            return Err(changed);
        }
        self.compare(&again)
    }

    /// Compares the file with the plan.
    fn compare(&self, file: &File) -> Result<(), FailureCause> {
        let found = file.metadata().map_err(|error| FailureCause::io(&self.name, &error))?;
        let modified = found.modified().map_err(|error| FailureCause::io(&self.name, &error))?;
        let unix_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos() as u64);
        if found.len() != self.bytes {
            Err(self.changed(format!("it had {} bytes and has {}", self.bytes, found.len())))
        } else if unix_ns != self.modified_unix_ns {
            Err(self.changed("it was written to".into()))
        } else {
            Ok(())
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), FailureCause> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.changed(format!("it had {} bytes and is shorter now", self.bytes))
            }
            _ => FailureCause::io(&self.name, &error),
        })
    }

    #[cold]
    pub(super) fn too_long(&self, offset: u64, most: u64, hint: &str) -> FailureCause {
        let place = Place { file: self.name.clone(), offset: Some(offset), ..Place::default() };
        let message = format!(
            "the record is longer than {most} bytes, the largest that --max-record-size allows{hint}"
        );
        FailureCause::UserError { place, message }
    }

    fn changed(&self, message: String) -> FailureCause {
        FailureCause::InputChanged { file: self.name.clone(), message }
    }
}
