//! A format of its own, written and read: blocks of encoded rows, which cannot be cut by looking at
//! bytes, and an index at the end that says where they are.
//!
//! ```text
//!  "blocks01" | block | block | .. | index: offset, bytes, rows, hash of each block | footer
//!                                                    footer: blocks, hash of the index, "blocks01"
//!  block: length of each row, then their text
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windrow::input::{
    Chunk, FileReader, Format, Framing, Located, LocatedRecord, Position, RecordError, Unit, Units,
};
use windrow::output::{Output, PartEncoder, PartInfo, Section, SectionEncoder};
use windrow::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::{mark, wait_for_any};

const MAGIC: &[u8; 8] = b"blocks01";
/// Size of an entry of the index.
const ENTRY_BYTES: usize = 32;
/// Size of the footer.
const FOOTER_BYTES: usize = 24;
/// Text in a block.
const TEXT_BYTES: usize = 4_000;
/// No byte of a row is itself in the file.
const MASK: u8 = 0x5a;

pub fn writer() -> Job {
    Job::new("write-blocks", Lines).output(Blocks).map_only()
}

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct ReadParams {
    /// Write the rows in input order.
    #[arg(long)]
    map_only: bool,
    /// Sort the rows.
    #[arg(long)]
    sort: bool,
    /// Count rows by their length, for which nothing else is read.
    #[arg(long)]
    lengths: bool,
    /// A folder: the first row of each file marks `reading`, and waits for `go`.
    #[arg(long)]
    gates: Option<PathBuf>,
}

pub fn reader() -> Job {
    Job::with_params("read-blocks", |params: &ReadParams| {
        let job = Job::new("read-blocks", Rows { gates: params.gates.clone() });
        Ok(match params {
            ReadParams { map_only: true, .. } => job.map_only(),
            ReadParams { sort: true, .. } => job.sort(),
            ReadParams { lengths: true, .. } => {
                Job::new("read-blocks", RowLengths).combine(Sum).reduce(Sum)
            }
            _ => job.combine(Sum).reduce(Sum),
        })
    })
}

struct Lines;

impl Mapper for Lines {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        out.emit(line, ())
    }
}

struct Rows {
    gates: Option<PathBuf>,
}

impl Mapper for Rows {
    type Input = Located<Blocks>;
    type Key = str;
    type Value = u64;

    fn map(&self, row: LocatedRecord<'_, &str>, out: &mut impl Emit<str, u64>) -> Result<()> {
        if let Some(gates) = &self.gates
            && row.offset == MAGIC.len() as u64
        {
            mark(gates, "reading");
            wait_for_any(&[gates.join("go")]);
        }
        match row.record {
            "BAD" => Err(Error::new("a bad row")),
            "WORSE" => panic!("a worse row"),
            text => out.emit(text, 1),
        }
    }
}

struct RowLengths;

impl Mapper for RowLengths {
    type Input = Lengths;
    type Key = u64;
    type Value = u64;

    fn map(&self, length: u64, out: &mut impl Emit<u64, u64>) -> Result<()> {
        out.emit(length, 1)
    }
}

/// The rows.
#[derive(Clone, Copy, Default)]
struct Blocks;

/// The lengths of the rows.
#[derive(Clone, Copy, Default)]
struct Lengths;

impl Output<str, ()> for Blocks {
    type Part = Index;
    type Section = Block;

    fn begin(&self, _part: PartInfo, out: &mut Vec<u8>) -> Result<Index> {
        out.extend(MAGIC);
        Ok(Index::default())
    }

    fn extension(&self) -> &str {
        ".blocks"
    }

    fn section(&self) -> Block {
        Block::default()
    }
}

#[derive(Default)]
struct Block {
    lengths: Vec<u8>,
    text: Vec<u8>,
}

impl SectionEncoder<str, ()> for Block {
    /// The hash of the block.
    type Summary = u64;
    type Mark = (usize, usize);

    fn write(&mut self, row: &str, (): (), _out: &mut Vec<u8>) -> Result<()> {
        self.lengths.extend((row.len() as u32).to_le_bytes());
        self.text.extend(row.bytes().map(|byte| byte ^ MASK));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.text.len() >= TEXT_BYTES
    }

    fn held_bytes(&self) -> usize {
        self.lengths.len() + self.text.len()
    }

    fn mark(&mut self) -> (usize, usize) {
        (self.lengths.len(), self.text.len())
    }

    fn undo(&mut self, (lengths, text): (usize, usize)) {
        self.lengths.truncate(lengths);
        self.text.truncate(text);
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<u64> {
        let block = [self.lengths, self.text].concat();
        out.extend(&block);
        Ok(xxh3_64(&block))
    }
}

/// The entries of a file's index.
#[derive(Default)]
pub struct Index(pub Vec<[u64; 4]>);

impl PartEncoder<u64> for Index {
    fn append(&mut self, section: Section<u64>) -> Result<()> {
        self.0.push([section.offset, section.bytes, section.records, section.summary]);
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        self.seal(out);
        Ok(())
    }
}

impl Index {
    /// The index of a file that [`writer`] has written.
    pub fn of(file: &[u8]) -> Self {
        let blocks = u64_at(file, file.len() - FOOTER_BYTES) as usize;
        let start = file.len() - FOOTER_BYTES - blocks * ENTRY_BYTES;
        let numbers =
            |entry| [0, 8, 16, 24].map(|at| u64_at(file, start + entry * ENTRY_BYTES + at));
        Self((0..blocks).map(numbers).collect())
    }

    /// Appends index and footer.
    pub fn seal(&self, out: &mut Vec<u8>) {
        let index: Vec<u8> = self.0.iter().flatten().flat_map(|n| n.to_le_bytes()).collect();
        out.extend(&index);
        out.extend((self.0.len() as u64).to_le_bytes());
        out.extend(xxh3_64(&index).to_le_bytes());
        out.extend(MAGIC);
    }

    /// Size of index and footer.
    pub fn bytes(&self) -> usize {
        self.0.len() * ENTRY_BYTES + FOOTER_BYTES
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Finds the blocks of a file; `unit` makes a unit of the range, the rows and the entry of each.
fn find_blocks(
    file: &FileReader<'_>,
    units: &mut Units,
    unit: impl Fn(std::ops::Range<u64>, u64, &[u8]) -> Unit,
) -> Result<(), RecordError> {
    let Some(end) = file.bytes().checked_sub(FOOTER_BYTES as u64) else {
        return Err(RecordError::at(0, "the file is too short to end with an index"));
    };
    let footer = file.read(end..file.bytes())?;
    if &footer[16..] != MAGIC {
        return Err(RecordError::at(end, "no index of blocks is here: the file is cut off"));
    }
    let index_bytes = u64_at(&footer, 0).saturating_mul(ENTRY_BYTES as u64);
    let Some(start) = end.checked_sub(index_bytes) else {
        return Err(RecordError::at(end, "the index has more blocks than fit into the file"));
    };
    let index = file.read(start..end)?;
    if xxh3_64(&index) != u64_at(&footer, 8) {
        return Err(RecordError::at(start, "the index of blocks does not have its checksum"));
    }
    units.set_header(file.read(0..MAGIC.len() as u64)?);
    for entry in index.chunks_exact(ENTRY_BYTES) {
        let (offset, bytes, rows) = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
        units.push(unit(offset..offset.saturating_add(bytes), rows, entry))?;
    }
    Ok(())
}

impl Format for Blocks {
    type Record<'a> = &'a str;

    fn framing(&self) -> Framing {
        Framing::Units
    }

    fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
        find_blocks(file, units, |range, _rows, entry| Unit::new(range).with_descriptor(entry))
    }

    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a str) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        assert_eq!(chunk.header, MAGIC);
        let damaged = |message| Err(RecordError::at(chunk.offset, message));
        if xxh3_64(chunk.bytes) != u64_at(chunk.unit, 24) {
            return damaged("the block does not have its checksum");
        }
        let rows = u64_at(chunk.unit, 16) as usize;
        let Some((lengths, text)) = chunk.bytes.split_at_checked(rows.saturating_mul(4)) else {
            return damaged("the block is shorter than its rows");
        };
        let text: Vec<u8> = text.iter().map(|byte| byte ^ MASK).collect();
        let mut rest = &text[..];
        for (row, length) in lengths.as_chunks().0.iter().enumerate() {
            let Some((text, behind)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
            else {
                return damaged("the block is shorter than its rows");
            };
            let position = chunk.position(row * 4);
            let text = str::from_utf8(text);
            let text = text.map_err(|error| RecordError::at(position.offset, error.to_string()))?;
            each(position, text)?;
            rest = behind;
        }
        Ok(())
    }
}

impl Format for Lengths {
    type Record<'a> = u64;

    fn framing(&self) -> Framing {
        Framing::Units
    }

    fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
        find_blocks(file, units, |range, rows, _entry| {
            let lengths = range.start..range.start.saturating_add(rows.saturating_mul(4));
            Unit::new(range).reading(vec![lengths])
        })
    }

    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, u64) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for (row, length) in chunk.bytes.as_chunks().0.iter().enumerate() {
            each(chunk.position(row * 4), u32::from_le_bytes(*length).into())?;
        }
        Ok(())
    }
}

/// The file with another index.
pub fn with_index(file: &Path, change: impl FnOnce(&mut Index)) -> Vec<u8> {
    let mut bytes = std::fs::read(file).unwrap();
    let mut index = Index::of(&bytes);
    bytes.truncate(bytes.len() - index.bytes());
    change(&mut index);
    index.seal(&mut bytes);
    bytes
}
