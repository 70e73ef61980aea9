//! Parts as files with a checksum, under the attempt's own name in the staging folder.
//!
//! A part counts as written when it has been closed without an error. On a network file system it
//! is synced first: the coordinator, whose cache is another one, would not learn of a failure. On
//! local disks nothing is synced: the publication decides what has to be durable.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use windrow_jobs::checksum::Crc64;
use windrow_jobs::program::PartSink;
use windrow_jobs::{AttemptId, FailureCause, Location, PartHandle, PartKind};

use super::{PartStore, PartUpload, Unreported, WrittenPart};
use crate::files::{TemporaryFile, close_written};

/// Size of the write buffer.
const BUFFER_BYTES: usize = 256 << 10;

/// The folder to which attempts of a job write, and from which its parts are renamed.
pub(super) struct Staging {
    folder: PathBuf,
    location: Location,
}

impl Staging {
    /// The folder, and its location.
    pub(super) fn new(folder: &Path, location: &Location) -> Self {
        Self { folder: folder.to_path_buf(), location: location.clone() }
    }
}

impl PartStore for Staging {
    fn create(
        &self,
        attempt: AttemptId,
        kind: PartKind,
    ) -> Result<Box<dyn PartUpload>, FailureCause> {
        Ok(Box::new(PartFile::create(self.folder.join(kind.staged_name(attempt)))?))
    }

    fn location(&self, attempt: AttemptId, kind: PartKind) -> Option<Location> {
        kind.location(&self.location, attempt)
    }
}

/// A file that is being written.
struct PartFile {
    file: BufWriter<File>,
    temporary: TemporaryFile,
    location: Location,
    checksum: Crc64,
    bytes: u64,
}

impl PartFile {
    /// Creates the file; its folder must exist.
    fn create(path: PathBuf) -> Result<Self, FailureCause> {
        let location = Location::of_path(&path).ok_or_else(|| {
            FailureCause::output_io(&path, &io::ErrorKind::InvalidFilename.into())
        })?;
        let file = new_file(&path).map_err(|error| FailureCause::output_io(&path, &error))?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            temporary: TemporaryFile::new(path),
            location,
            checksum: Crc64::new(),
            bytes: 0,
        })
    }

    fn finish_by(
        self,
        records: u64,
        close: impl FnOnce(File) -> io::Result<()>,
    ) -> Result<WrittenPart, FailureCause> {
        debug_assert!(
            records == 0 || self.bytes > 0,
            "a record without bytes is not counted in the part"
        );
        let written = self.file.into_inner().map_err(io::IntoInnerError::into_error);
        written
            .and_then(close)
            .map_err(|error| FailureCause::output_io(self.temporary.path(), &error))?;
        let handle = PartHandle {
            location: self.location,
            bytes: self.bytes,
            records,
            crc64: self.checksum.finish(),
            upload: None,
        };
        Ok(WrittenPart { handle, unreported: Box::new(self.temporary) })
    }
}

impl PartUpload for PartFile {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn finish(self: Box<Self>, records: u64) -> Result<WrittenPart, FailureCause> {
        self.finish_by(records, close_written)
    }
}

impl Unreported for TemporaryFile {
    fn keep(self: Box<Self>) {
        TemporaryFile::keep(*self);
    }
}

/// The file must be new: others may write to an output, too, and could have put a link under this
/// name, to a file of this process's user.
fn new_file(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            File::create_new(path)
        }
        made => made,
    }
}

impl PartSink for PartFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause> {
        self.file
            .write_all(bytes)
            .map_err(|error| FailureCause::output_io(self.temporary.path(), &error))?;
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_checksum_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part-00000.1");
        let mut writer = PartFile::create(path.clone()).unwrap();
        writer.write(b"1234").unwrap();
        writer.write(b"56789").unwrap();
        let WrittenPart { handle: part, unreported } = Box::new(writer).finish(2).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"123456789");
        // The check value of CRC-64/NVME.
        assert_eq!((part.bytes, part.records, part.crc64), (9, 2, 0xae8b_1486_0a79_9888));
        drop(unreported);
        assert!(!path.exists());
    }

    #[test]
    fn an_existing_file_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = (folder.path().join("part-00000.1"), folder.path().join("kept"));
        std::fs::write(&kept, "mine").unwrap();
        for plant in [std::os::unix::fs::symlink, std::fs::hard_link] as [fn(_, _) -> _; 2] {
            plant(&kept, &path).unwrap();
            let mut writer = PartFile::create(path.clone()).unwrap();
            writer.write(b"text").unwrap();
            let _part = Box::new(writer).finish(1).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"text");
            assert_eq!(std::fs::read(&kept).unwrap(), b"mine");
        }
    }

    #[test]
    fn a_part_whose_file_cannot_be_closed_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part-00000.1");
        let mut writer = PartFile::create(path.clone()).unwrap();
        writer.write(b"123").unwrap();
        // The answer of a file server that has no room for data in the client's cache.
        let full = |_| Err(io::Error::from(io::ErrorKind::StorageFull));
        match writer.finish_by(1, full).err().unwrap() {
            FailureCause::Io { path: named, disk_full: true, .. } => {
                assert_eq!(named, path.display().to_string());
            }
            other => panic!("{other}"),
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_staging_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = PartFile::create(folder.path().join("gone/part")).err().unwrap();
        assert!(error.to_string().contains("gone/part: No such file"), "{error}");
    }
}
