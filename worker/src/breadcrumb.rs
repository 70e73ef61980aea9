//! Breadcrumbs: a file in which a process notes the place of user code before each record, and from
//! which its worker learns where user code was when the process died.
//!
//! The file survives any death of the process, since the kernel has its bytes; it is never synced,
//! since it need not survive a crash of the machine. Only suspects write one: it costs two system
//! calls a record.
//!
//! ```text
//!  checksum of the rest (8) | length of the place (4) | place, as in the protocol |
//!  bytes of earlier places
//! ```
//!
//! A length of 0 means that user code is at no record.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use prost::Message;
use rustix::fs::OFlags;
use windrow_jobs::checksum::crc64;
use windrow_jobs::user_code::Breadcrumb;
use windrow_jobs::{FailureCause, JobId, RecordPlace};
use windrow_proto::v1;
use windrow_security::files::create_private;

use crate::files::TemporaryFile;
use crate::sync::lock;
use crate::wire::{place_from, place_to};

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = CHECKSUM_BYTES + 4;

/// Size of the file from the start, so that a full disk is noticed then: paths and shown keys are
/// shorter.
const FILE_BYTES: usize = 16 << 10;

/// The path of the breadcrumb of a job's process number `serial`, in a worker's folder.
pub fn breadcrumb_path(directory: &Path, job: JobId, serial: u32) -> PathBuf {
    directory.join(job.to_string()).join(format!("breadcrumb-{serial}"))
}

/// A breadcrumb: notes where user code is. The file is removed when this is dropped.
#[derive(Debug)]
pub struct BreadcrumbFile {
    file: File,
    path: TemporaryFile,
    buffer: Mutex<Vec<u8>>,
}

impl BreadcrumbFile {
    /// Creates a breadcrumb, at no record.
    pub fn create(path: PathBuf) -> Result<Self, FailureCause> {
        let create = || {
            let file = create_private(&path)?;
            file.write_all_at(&[0; FILE_BYTES], 0)?;
            Ok(file)
        };
        let file = create().map_err(|error: io::Error| FailureCause::io(&path, &error))?;
        Ok(Self { file, path: TemporaryFile::new(path), buffer: Mutex::default() })
    }

    fn write(&self, place: &v1::RecordPlace) -> Result<(), FailureCause> {
        let mut buffer = lock(&self.buffer);
        encode(place, &mut buffer);
        let written = self.file.write_all_at(&buffer, 0);
        written.map_err(|error| FailureCause::io(self.path.path(), &error))
    }
}

impl Breadcrumb for BreadcrumbFile {
    fn enter(&self, place: &RecordPlace) -> Result<(), FailureCause> {
        self.write(&place_to(place.clone()))
    }

    fn leave(&self) -> Result<(), FailureCause> {
        self.write(&v1::RecordPlace::default())
    }
}

/// Where a dead process's user code was last, as far as its breadcrumb tells.
pub fn last_place(path: &Path) -> RecordPlace {
    match read(path) {
        Ok(place) => place.unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => RecordPlace::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read a breadcrumb");
            RecordPlace::default()
        }
    }
}

/// The place, unless the write was torn.
fn read(path: &Path) -> io::Result<Option<RecordPlace>> {
    // User code may have replaced the file by anything: the open must not block, nor follow a link.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

/// Encodes a breadcrumb at `place`.
pub(crate) fn encode(place: &v1::RecordPlace, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&[0; CHECKSUM_BYTES]);
    buffer.extend_from_slice(&(place.encoded_len() as u32).to_le_bytes());
    place.encode_raw(buffer);
    seal(buffer);
}

/// Fills in the checksum of a breadcrumb that ends with its place.
pub(crate) fn seal(breadcrumb: &mut [u8]) {
    if let Some((sum, rest)) = breadcrumb.split_first_chunk_mut::<CHECKSUM_BYTES>() {
        *sum = crc64(rest).to_le_bytes();
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Option<RecordPlace> {
    let (sum, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    let (len, _) = rest.split_first_chunk::<4>()?;
    let end = (u32::from_le_bytes(*len) as usize).checked_add(HEADER_BYTES - CHECKSUM_BYTES)?;
    let checked = rest.get(..end)?;
    if crc64(checked) != u64::from_le_bytes(*sum) {
        return None;
    }
    v1::RecordPlace::decode(&checked[4..]).ok().map(place_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: &str) -> RecordPlace {
        RecordPlace::from_fields(("/in".into(), Some(0), Some(key.into()), None))
    }

    #[test]
    fn the_last_place_is_read_until_user_code_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("breadcrumb");
        assert_eq!(last_place(&path), RecordPlace::default());
        let breadcrumb = BreadcrumbFile::create(path.clone()).unwrap();
        assert_eq!(last_place(&path), RecordPlace::default());
        for key in ["a long one", "short"] {
            breadcrumb.enter(&place(key)).unwrap();
            assert_eq!(last_place(&path), place(key));
        }
        breadcrumb.leave().unwrap();
        assert_eq!(last_place(&path), RecordPlace::default());
        drop(breadcrumb);
        assert!(!path.exists());
    }

    #[test]
    fn a_torn_breadcrumb_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("breadcrumb");
        let breadcrumb = BreadcrumbFile::create(path.clone()).unwrap();
        breadcrumb.enter(&place("k")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert_eq!(parse(&whole[..used]), Some(place("k")));
        assert!((0..used).all(|len| parse(&whole[..len]).is_none()));
        for index in 0..used {
            let mut other = whole.clone();
            other[index] ^= 1;
            assert_eq!(parse(&other), None, "byte {index}");
        }
        // A link is not followed.
        drop(breadcrumb);
        std::fs::write(folder.path().join("elsewhere"), &whole).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert_eq!(last_place(&path), RecordPlace::default());
    }
}
