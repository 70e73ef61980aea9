//! Segments: files of sorted pairs, by run and partition. A map attempt leaves one; so does a
//! buffer that spills.
//!
//! ```text
//!  | magic | owner | crc64 of both | blocks of any runs and partitions ... | pages of the index
//!      | its directory | offset of that | crc64 of both | magic |
//! ```
//!
//! A segment holds one or more sorted runs: a map attempt appends its spills run by run, and they
//! are not merged before reducers read them. The blocks of one partition of a run lie in extents of
//! about a megabyte, so that several threads can write side by side. The index lists, for each
//! partition of each run that has pairs, their number, their digest and their extents; readers read
//! its directory, and then the page of the partition they want. A file without a complete index is
//! refused: a segment gets its final name only when it is complete. So is a file with another
//! [owner](Owner) than its reader expects: a name may be used again, by another attempt or after
//! another coordinator has given the job's number again. Partitions that nobody will read again can
//! be punched out of it ([`Segment::punch`]).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod index;
mod memory;
mod owner;
mod punch;
mod reader;
mod source;
mod writer;

pub use index::{Extent, PartitionIndex};
pub use memory::MemorySegment;
use owner::FILE_HEADER_BYTES;
pub use owner::Owner;
pub use reader::{Segment, corrupt};
#[cfg(test)]
use source::SegmentSource;
pub use writer::{RunWriter, SegmentWriter};

/// First and last bytes of every segment; the last of them is the version of the format.
const MAGIC: &[u8; 8] = b"WINDROW\x06";

/// Size of the directory's offset, checksum and magic at the end.
const TRAILER_BYTES: usize = 24;

#[cfg(test)]
mod tests;
