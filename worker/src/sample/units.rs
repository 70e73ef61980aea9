//! Samples files that consist of units, which may be much larger than the pieces of a sample.

use windrow_jobs::SamplePiece;
use windrow_jobs::input::{FoundUnits, Unit};
use windrow_jobs::program::Program;

use crate::input::{Input, units};

/// About as many bytes of units are read by each thread, and as many of an index.
const UNITS_BYTES: u64 = 64 << 20;

/// Chooses units: they are shared out evenly over the pieces, however large they are.
pub(super) struct UnitSampler {
    /// Bytes that may be read for each piece.
    share_bytes: u64,
    /// What is left of the shares of the pieces so far.
    saved_bytes: u64,
    /// The unit that was read last, by file number and offset.
    last: Option<(u32, u64)>,
    header: Box<[u8]>,
}

impl UnitSampler {
    /// For so many pieces.
    pub(super) fn new(pieces: usize) -> Self {
        let share_bytes = UNITS_BYTES / pieces.max(1) as u64;
        // The first unit may take all of it: a large unit is better than none.
        Self { share_bytes, saved_bytes: UNITS_BYTES, last: None, header: Box::default() }
    }

    /// Reads the unit in which the piece begins, or else the next one, into `buffer`. `None` if
    /// there is none, if it was read before, cannot be read, or is too large for now.
    pub(super) fn next(
        &mut self,
        program: &dyn Program,
        SamplePiece { input, range, .. }: &SamplePiece,
        file: &dyn Input,
        buffer: &mut Vec<u8>,
    ) -> Option<Unit> {
        let mut from_here = range.clone();
        from_here.range.end = range.version.bytes();
        let found = units::find_one(program, *input, &from_here, file, UNITS_BYTES).ok()?;
        let FoundUnits { units, header, .. } = found;
        let unit = units.into_iter().next()?;
        let this = (range.file_number, unit.range().start);
        self.saved_bytes = self.saved_bytes.saturating_add(self.share_bytes);
        if self.last == Some(this) || unit.read_bytes() > self.saved_bytes {
            return None;
        }
        let is_first = self.last.replace(this).is_none();
        self.saved_bytes = if is_first { 0 } else { self.saved_bytes - unit.read_bytes() };
        self.header = header;
        buffer.clear();
        buffer.resize(unit.read_bytes() as usize, 0);
        units::read(&unit, file, buffer).ok()?;
        Some(unit)
    }

    /// What the last unit needs of its file.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }
}
