//! Opens segments and finds their pairs. Everything in the file is verified before it is used.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use windrow_jobs::FailureCause;
use windrow_jobs::checksum::crc64;

use super::index::{Directory, Encoded, Page, page};
use super::punch::Punched;
use super::source::SegmentSource;
use super::{FILE_HEADER_BYTES, MAGIC, Owner, PartitionIndex, TRAILER_BYTES};
use crate::files::{TemporaryFile, is_readers_own};

/// A segment and its index. No file is open.
pub struct Segment {
    path: Arc<Path>,
    directory: Directory,
    /// All pages of the index; if there are none, they are read from the file one by one.
    pages: Option<Vec<u8>>,
    punched: Punched,
    /// Keeps a temporary segment for as long as it or its sources are needed.
    temporary: Option<Arc<TemporaryFile>>,
}

impl Segment {
    /// Opens the segment of `owner` at `path`, and verifies its directory. Keeps its index in
    /// memory if that takes at most `keep_bytes_max`.
    pub fn open(path: &Path, owner: &Owner, keep_bytes_max: usize) -> Result<Self, FailureCause> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        twice(path, &file, Some(0), || check_owner(&file, owner))?;
        let (directory, pages) = twice(path, &file, None, || {
            let directory = read_directory(&file)?;
            let bytes = (directory.end() - directory.start()) as usize;
            let pages = (bytes <= keep_bytes_max).then(|| read_pages(&file, &directory));
            Ok((directory, pages.transpose()?))
        })?;
        let punched = Punched::default();
        Ok(Self { path: path.into(), directory, pages, punched, temporary: None })
    }

    /// A segment whose index is not in its file. The file is removed when nobody reads it any more.
    /// Each partition can be read once.
    pub(super) fn temporary(file: TemporaryFile, index: Encoded) -> Self {
        let Encoded { pages, directory } = index;
        let (path, punched) = (file.path().into(), Punched::default());
        let (pages, temporary) = (Some(pages), Some(Arc::new(file)));
        Self { path, directory, pages, punched, temporary }
    }

    /// Memory that it takes up.
    pub fn memory_bytes(&self) -> usize {
        /// For itself, its path, and its holder.
        const FIXED_BYTES: usize = 300;
        FIXED_BYTES + self.directory.memory_bytes() + self.pages.as_ref().map_or(0, Vec::len)
    }

    /// A source for each run that has pairs of `partition`. Reads a page of the index, unless it is
    /// in memory.
    pub fn sources(&self, partition: u32) -> Result<Vec<SegmentSource>, FailureCause> {
        let entries = self.entries(partition)?.into_iter();
        let source =
            |entry| SegmentSource::new(Arc::clone(&self.path), entry, self.temporary.clone());
        Ok(entries.map(source).collect())
    }

    /// An error if the pairs of `partition` have been [punched out](Self::punch).
    pub fn check_unpunched(&self, partition: u32) -> Result<(), FailureCause> {
        if !self.punched.has(partition) {
            return Ok(());
        }
        let message =
            format!("the pairs of partition {partition} were deleted when its reducer was done");
        Err(corrupt(&self.path, FILE_HEADER_BYTES as u64, message))
    }

    /// Frees the disk space and page cache of `partition`, which nobody will read again. Where the
    /// file system cannot do that, the pairs stay until the file is removed.
    pub fn punch(&self, partition: u32) -> Result<(), FailureCause> {
        let entries = self.entries(partition)?;
        let extents = entries.iter().flat_map(|entry| entry.extents.iter().copied());
        let punched = self.punched.punch(&self.path, partition, extents.collect());
        punched.map_err(|error| FailureCause::io(&self.path, &error))
    }

    /// Where the pairs of `partition` lie, by run.
    pub(super) fn entries(&self, partition: u32) -> Result<Vec<PartitionIndex>, FailureCause> {
        let Some(page) = self.directory.page_of(partition) else { return Ok(Vec::new()) };
        let bytes = match &self.pages {
            Some(pages) => {
                let start = (page.offset - self.directory.start()) as usize;
                Cow::Borrowed(&pages[start..start + page.bytes])
            }
            None => Cow::Owned(self.read_page(page)?),
        };
        let blocks = FILE_HEADER_BYTES as u64..self.directory.start();
        page::read_partition(&bytes, partition, &blocks)
            .ok_or_else(|| corrupt(&self.path, page.offset, "the index is malformed"))
    }

    fn read_page(&self, page: &Page) -> Result<Vec<u8>, FailureCause> {
        let file = File::open(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        twice(&self.path, &file, None, || {
            let mut bytes = vec![0; page.bytes];
            file.read_exact_at(&mut bytes, page.offset)?;
            if page.is(&bytes) { Ok(bytes) } else { Err(invalid(CHECKSUM)) }
        })
    }
}

const CHECKSUM: &str = "the checksum of the index does not match";

/// Reads at an offset, or from the index if there is none. Malformed data is read once more.
fn twice<T>(
    path: &Path,
    file: &File,
    at: Option<u64>,
    mut read: impl FnMut() -> io::Result<T>,
) -> Result<T, FailureCause> {
    let read = read().or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "reading the header or the index of a segment once more");
        drop_cache(file);
        read()
    });
    read.map_err(|error| {
        let end = || file.metadata().map_or(0, |metadata| metadata.len());
        let at = at.unwrap_or_else(end);
        match error.kind() {
            io::ErrorKind::InvalidData => corrupt(path, at, error.to_string()),
            io::ErrorKind::UnexpectedEof => corrupt(path, at, "the file is cut short"),
            _ => unreadable(path, &error),
        }
    })
}

/// Drops the file's pages from the page cache, as far as they are on disk.
pub(super) fn drop_cache(file: &File) {
    // Advice: if the system ignores it, the next read comes from memory again.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// An error unless the file begins with this owner's header.
fn check_owner(file: &File, owner: &Owner) -> io::Result<()> {
    let mut header = [0; FILE_HEADER_BYTES];
    file.read_exact_at(&mut header, 0)?;
    owner.check(&header).map_err(|message| invalid(&message))
}

fn read_directory(file: &File) -> io::Result<Directory> {
    let mut trailer = [0; TRAILER_BYTES];
    let least = FILE_HEADER_BYTES as u64;
    let trailer_offset = file.metadata()?.len().checked_sub(TRAILER_BYTES as u64);
    let trailer_offset = trailer_offset
        .filter(|offset| *offset >= least)
        .ok_or_else(|| invalid("the file is cut short"))?;
    file.read_exact_at(&mut trailer, trailer_offset)?;
    if trailer[16..] != *MAGIC {
        return Err(invalid("the file is cut short, or not a segment of this version"));
    }
    let number = |at: usize| {
        trailer[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let offset = number(0);
    let bytes = trailer_offset
        .checked_sub(offset)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes <= Directory::bytes_max(offset))
        .ok_or_else(|| invalid("the index lies outside the file"))?;
    let mut tail = vec![0; bytes + 8];
    file.read_exact_at(&mut tail, offset)?;
    if crc64(&tail) != number(8) {
        return Err(invalid(CHECKSUM));
    }
    Directory::read(&tail[..bytes], least, offset)
        .ok_or_else(|| invalid("the directory of the index is malformed"))
}

fn read_pages(file: &File, directory: &Directory) -> io::Result<Vec<u8>> {
    let mut pages = vec![0; (directory.end() - directory.start()) as usize];
    file.read_exact_at(&mut pages, directory.start())?;
    if directory.are_pages(&pages) { Ok(pages) } else { Err(invalid(CHECKSUM)) }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The failure for a file that the system does not let this process read: the file is to blame,
/// unless the error is the reader's own, and would occur with any other file, too.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> FailureCause {
    if is_readers_own(error) {
        FailureCause::io(path, error)
    } else {
        corrupt(path, 0, format!("it cannot be read: {error}"))
    }
}

pub fn corrupt(path: &Path, offset: u64, message: impl Into<String>) -> FailureCause {
    FailureCause::Corrupt { file: path.display().to_string(), offset, message: message.into() }
}
