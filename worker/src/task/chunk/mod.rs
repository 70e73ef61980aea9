//! Reads chunks: positioned reads of a window, cut where records start.
//!
//! ```text
//!           start                     end
//!  ...--LF--|------LF-----------------|-------LF--...
//!        '--+----- window ------------+-------'   a byte or more before the chunk, to see whether
//!                 '-- the chunk's records ----'   a record starts at its start; more after it
//!                                                 when the last one is long
//! ```
//!
//! A unit is read as it is. A file that differs from the planned version, or changes while it is
//! read, is an error. Files are not memory-mapped: truncating a mapped file would raise a signal.

mod source;
mod window;

use windrow_jobs::input::Chunk;
use windrow_jobs::{FailureCause, InputRange};

use self::source::Source;
use self::window::Window;
use super::plan::InputPlan;

/// Bytes read beyond the chunk at first: most records end within them.
const LOOKAHEAD_BYTES: u64 = 4 << 10;

/// The reader of one thread. It keeps its input open from chunk to chunk.
pub struct ChunkReader<'a> {
    plan: &'a InputPlan,
    source: Option<(usize, Source)>,
    window: Window,
}

impl<'a> ChunkReader<'a> {
    /// A reader of the chunks of `plan`.
    pub fn new(plan: &'a InputPlan) -> Self {
        Self { plan, source: None, window: Window::default() }
    }

    /// The records that start in a chunk; none if a long record covers all of it. Calls
    /// `enter_large` before it reads much more than a chunk.
    pub fn read(
        &mut self,
        index: usize,
        enter_large: &mut dyn FnMut() -> Result<(), FailureCause>,
    ) -> Result<Chunk<'_>, FailureCause> {
        let (chunk, range) = self.plan.chunk(index);
        let source = open(&mut self.source, chunk.range, range, self.plan)?;
        let usual_bytes = usual_bytes(self.plan);
        let mut admit = |wanted: u64| if wanted > usual_bytes { enter_large() } else { Ok(()) };
        let unit = self.plan.unit(index);
        let (start, bytes) = match unit {
            Some((unit, _)) => {
                let most = self.plan.record_bytes_max;
                (chunk.start, self.window.read_unit(source, unit, most, &mut admit)?)
            }
            None => {
                let wanted = chunk.start..chunk.end;
                let found = self.window.find(source, self.plan, wanted, &mut admit)?;
                (found.start, self.window.bytes(found))
            }
        };
        let mut chunk = Chunk::new(&source.name, bytes);
        chunk.file_number = range.file_number;
        chunk.offset = start;
        (chunk.header, chunk.unit) = match unit {
            Some((unit, header)) => (header, unit.descriptor()),
            None => (&source.header[..], &[][..]),
        };
        chunk.lossy = self.plan.lossy;
        Ok(chunk)
    }

    /// Frees the memory of an unusually long record. To be called when the chunk has been mapped.
    pub fn forget_large(&mut self) {
        self.window.limit_memory(usual_bytes(self.plan));
    }

    /// Checks that the input last read has not changed meanwhile.
    pub fn finish(self) -> Result<(), FailureCause> {
        self.source.map_or(Ok(()), |(_, source)| source.check())
    }

    /// Memory that the reader takes up.
    pub fn memory_bytes(&self) -> u64 {
        self.window.memory_bytes()
    }
}

/// Most bytes that are read at once, except for long records.
fn usual_bytes(plan: &InputPlan) -> u64 {
    4 * plan.chunk_bytes.max(LOOKAHEAD_BYTES)
}

/// The source of a range: the open one, or a new one.
fn open<'s>(
    current: &'s mut Option<(usize, Source)>,
    index: usize,
    range: &InputRange,
    plan: &InputPlan,
) -> Result<&'s Source, FailureCause> {
    let reusable =
        current.take().map(|(of, source)| if of == index { Ok(source) } else { Err(source) });
    let source = match reusable {
        Some(Ok(source)) => source,
        Some(Err(former)) => {
            former.check()?;
            Source::open(range, plan)?
        }
        None => Source::open(range, plan)?,
    };
    Ok(&current.insert((index, source)).1)
}

#[cfg(test)]
mod tests;
