//! Reads whole records from the middle of a file.

use std::ops::Range;

use windrow_jobs::input::Framing;

use crate::input::Input;

/// Bytes read first beyond the last byte, to find the end of its record.
const LOOKAHEAD_BYTES: u64 = 4 << 10;
/// Most bytes read: longer records are skipped.
const WINDOW_BYTES_MAX: u64 = 1 << 20;

/// Whole records of a file.
pub(super) struct Found {
    /// Offset of the first record in the file.
    pub(super) offset: u64,
    /// Their range in the buffer.
    pub(super) in_buffer: Range<usize>,
}

/// Reads the records that begin in `bytes`, or else the next one, into `buffer`. `None` if that
/// needs too many bytes, if there is no record, or if the file cannot be read.
pub(super) fn records(
    input: &dyn Input,
    file_bytes: u64,
    framing: Framing,
    bytes: Range<u64>,
    buffer: &mut Vec<u8>,
) -> Option<Found> {
    let offset = bytes.start.saturating_sub(framing.look_behind_bytes());
    let mut wanted = (bytes.end - offset) + LOOKAHEAD_BYTES;
    buffer.clear();
    loop {
        let end = file_bytes.min(offset + wanted);
        let filled = buffer.len();
        buffer.resize((end - offset) as usize, 0);
        input.read_at(&mut buffer[filled..], offset + filled as u64).ok()?;
        let border = |at: u64| match framing.record_start(buffer, offset, at) {
            Some(border) if border <= end => Some(border),
            _ => (end == file_bytes).then_some(end),
        };
        let records =
            border(bytes.start).and_then(|start| Some(start..border(bytes.end.max(start + 1))?));
        match records {
            Some(Range { start, end }) if start < end => {
                let in_buffer = (start - offset) as usize..(end - offset) as usize;
                return Some(Found { offset: start, in_buffer });
            }
            Some(_) => return None,
            None if wanted >= WINDOW_BYTES_MAX => return None,
            None => wanted = (wanted * 4).min(WINDOW_BYTES_MAX),
        }
    }
}
