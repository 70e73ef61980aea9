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
//! A file that is not what the job was planned for, or changes while it is read, is an error. There
//! is no memory mapping: a file that is truncated must not be a signal.

mod input_file;
mod window;

use std::ops::Range;

use windrow_jobs::FailureCause;
use windrow_jobs::input::Chunk;

use self::input_file::InputFile;
use self::window::Window;
use super::plan::InputPlan;
use crate::model::FileRange;

/// Read beyond the chunk at first: most records end within.
const LOOKAHEAD_BYTES: u64 = 4 << 10;

/// One thread's reader. It keeps its file open from chunk to chunk.
pub struct ChunkReader<'a> {
    plan: &'a InputPlan,
    file: Option<(usize, InputFile)>,
    window: Window,
}

impl<'a> ChunkReader<'a> {
    /// A reader of the chunks of `plan`.
    pub fn new(plan: &'a InputPlan) -> Self {
        Self { plan, file: None, window: Window::default() }
    }

    /// The records that start in a chunk; none if a long record covers all of it. Calls
    /// `enter_large` before it reads much more than a chunk.
    pub fn read(
        &mut self,
        index: usize,
        enter_large: &mut dyn FnMut() -> Result<(), FailureCause>,
    ) -> Result<Chunk<'_>, FailureCause> {
        let (chunk, range) = self.plan.chunk(index);
        let file = open(&mut self.file, chunk.range, range, self.plan)?;
        let usual_bytes = usual_bytes(self.plan);
        let found = self.window.find(file, self.plan, chunk.start..chunk.end, &mut |wanted| {
            if wanted > usual_bytes { enter_large() } else { Ok(()) }
        });
        let Range { start, end } = found?;
        let mut chunk = Chunk::new(&file.name, self.window.bytes(start..end));
        chunk.file_number = range.file_number;
        chunk.offset = start;
        chunk.header = &file.header;
        chunk.lossy = self.plan.lossy;
        Ok(chunk)
    }

    /// Gives memory back that an unusually long record took. To be called when the chunk has been
    /// mapped.
    pub fn forget_large(&mut self) {
        self.window.limit_memory(usual_bytes(self.plan));
    }

    /// Makes sure that what was read last has not changed in the meantime.
    pub fn finish(self) -> Result<(), FailureCause> {
        self.file.map_or(Ok(()), |(_, file)| file.check())
    }

    /// Memory that the reader takes up.
    pub fn memory_bytes(&self) -> u64 {
        self.window.memory_bytes()
    }
}

/// Most that is read at once but for long records.
fn usual_bytes(plan: &InputPlan) -> u64 {
    4 * plan.chunk_bytes.max(LOOKAHEAD_BYTES)
}

/// The open file of a range: the one that is open already, or a new one.
fn open<'f>(
    current: &'f mut Option<(usize, InputFile)>,
    index: usize,
    range: &FileRange,
    plan: &InputPlan,
) -> Result<&'f InputFile, FailureCause> {
    let reusable = current.take().map(|(of, file)| if of == index { Ok(file) } else { Err(file) });
    let file = match reusable {
        Some(Ok(file)) => file,
        Some(Err(former)) => {
            former.check()?;
            InputFile::open(range, plan)?
        }
        None => InputFile::open(range, plan)?,
    };
    Ok(&current.insert((index, file)).1)
}

#[cfg(test)]
mod tests;
