//! Segments: files of sorted pairs, by partition. A map attempt leaves one; so does a buffer that spills.
//!
//! ```text
//!  | magic | blocks of any partitions ... | index | index offset | crc64 of both | magic |
//! ```
//!
//! The blocks of one partition lie in extents of about a megabyte, so that several threads can write partitions
//! side by side. The index lists, for each partition that has pairs, its number of pairs and its extents. A file
//! without a whole index is no segment: it appears under its final name only when it is complete.

mod index;
mod reader;
mod writer;

pub use index::{Extent, PartitionIndex};
#[cfg(test)]
pub use reader::Segment;
pub use reader::SegmentSource;
pub use writer::SegmentWriter;

/// First and last bytes of every segment; the last of them is the version of the format.
const MAGIC: &[u8; 8] = b"WINDROW\x01";

/// Size of index offset, checksum and magic at the end.
const TRAILER_BYTES: usize = 24;

#[cfg(test)]
mod tests;
