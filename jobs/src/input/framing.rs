//! Where a file may be cut.

use std::num::NonZeroUsize;

use memchr::{memchr, memrchr};

use super::quoted_lines;

/// Where a file may be cut. A record belongs to the byte range of its first byte, so that each
/// record is processed exactly once wherever ranges are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Records end with LF; the last record may lack it.
    Lines,
    /// Records end with an LF outside fields in double quotes, as in RFC 4180. A field with line
    /// breaks must end within 64 KiB of its record's start; otherwise its quote counts as stray and
    /// the record ends with its line.
    QuotedLines {
        /// The byte between fields.
        delimiter: u8,
    },
    /// Records of this many bytes each; a shorter last record is an error.
    Fixed {
        /// Size of a record.
        bytes: NonZeroUsize,
    },
    /// Each file is one record and is never cut. A file larger than `--max-record-size` is an
    /// error.
    Whole,
    /// A file consists of units, which [`Format::units`](super::Format::units) finds. A unit is
    /// read by the task in whose part of the file it begins, and is never cut. A unit larger than
    /// `--max-record-size` is an error.
    Units,
}

impl Framing {
    /// Whether several tasks may read parts of one file.
    pub fn cuts_files(&self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// How many bytes before `at` the window of [`record_start`](Self::record_start) must have, as
    /// far as the file has them.
    pub fn look_behind_bytes(&self) -> u64 {
        match self {
            Self::Fixed { .. } | Self::Whole | Self::Units => 0,
            Self::Lines => 1,
            Self::QuotedLines { .. } => quoted_lines::LOOK_BEHIND_BYTES as u64,
        }
    }

    /// How many bytes from `at` on the window of [`record_start`](Self::record_start) must have, as
    /// far as the file has them, to decide whether a record starts among them.
    pub fn look_ahead_bytes(&self) -> u64 {
        match self {
            Self::Fixed { .. } | Self::Lines | Self::Whole | Self::Units => 0,
            Self::QuotedLines { .. } => quoted_lines::RECORD_BYTES_MAX as u64,
        }
    }

    /// The smallest offset from `at` on at which a record can start, according to `window`, the
    /// file's bytes from `window_offset` on. `None` means beyond the window. Bytes before
    /// [`look_behind_bytes`](Self::look_behind_bytes) make no difference, so the result is the same
    /// for all windows. Bytes do not show where [units](Self::Units) begin, and nobody asks.
    ///
    /// To decide whether a line starts at `at` itself, the window must have the byte before it. The
    /// result may be the end of the file, where no record starts.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    ///
    /// use windrow_jobs::input::Framing;
    ///
    /// let file = b"ab\ncd\nef";
    /// assert_eq!(Framing::Lines.record_start(file, 0, 0), Some(0));
    /// assert_eq!(Framing::Lines.record_start(file, 0, 1), Some(3));
    /// assert_eq!(Framing::Lines.record_start(&file[2..], 2, 3), Some(3));
    /// assert_eq!(Framing::Lines.record_start(file, 0, 7), None);
    /// let records = Framing::Fixed { bytes: NonZeroUsize::new(5).unwrap() };
    /// assert_eq!(records.record_start(&[], 0, 6), Some(10));
    /// let file = b"a,\"b\nc\"\nd,e\n";
    /// assert_eq!(Framing::QuotedLines { delimiter: b',' }.record_start(file, 0, 1), Some(8));
    /// ```
    pub fn record_start(&self, window: &[u8], window_offset: u64, at: u64) -> Option<u64> {
        match self {
            Self::Fixed { bytes } => at.checked_next_multiple_of(bytes.get() as u64),
            Self::Whole | Self::Units => (at == 0).then_some(0),
            Self::Lines | Self::QuotedLines { .. } if at == 0 => Some(0),
            Self::Lines => {
                let before = (at - 1).checked_sub(window_offset)?;
                let rest = window.get(usize::try_from(before).ok()?..)?;
                memchr(b'\n', rest).map(|index| at + index as u64)
            }
            Self::QuotedLines { delimiter } => {
                let first = at.saturating_sub(self.look_behind_bytes());
                let before = usize::try_from(first.checked_sub(window_offset)?).ok()?;
                let index = quoted_lines::record_start(
                    window.get(before..)?,
                    first == 0,
                    (at - first) as usize,
                    *delimiter,
                )?;
                Some(first + index as u64)
            }
        }
    }

    /// The start of the last record that starts in `first..end`, according to `window`, which must
    /// contain both offsets. A record must start at `first`. Reads only the last record and what is
    /// needed to find it.
    pub fn last_record_start(
        &self,
        window: &[u8],
        window_offset: u64,
        first: u64,
        end: u64,
    ) -> u64 {
        debug_assert!(window_offset <= first && first < end, "a record starts before the end");
        match self {
            Self::Fixed { bytes } => {
                let bytes = bytes.get() as u64;
                first + (end - 1 - first) / bytes * bytes
            }
            Self::Whole | Self::Units => first,
            Self::Lines => {
                let range = (first - window_offset) as usize..(end - 1 - window_offset) as usize;
                let lines = window.get(range).unwrap_or_default();
                memrchr(b'\n', lines).map_or(first, |lf| first + lf as u64 + 1)
            }
            Self::QuotedLines { .. } => {
                let near = end.saturating_sub(self.look_behind_bytes()).max(first);
                let next = |at: &u64| {
                    let next = self.record_start(window, window_offset, at + 1);
                    next.filter(|next| *next < end)
                };
                let start = if near == first { Some(first) } else { next(&(near - 1)) };
                std::iter::successors(start, next).last().unwrap_or(first)
            }
        }
    }

    /// Total size of the fewest records at the start of `bytes` that have `at_least` that many
    /// bytes together, or of all. `bytes` must be whole records.
    pub(super) fn records_bytes(&self, bytes: &[u8], at_least: usize) -> usize {
        let at_least = at_least.clamp(1, bytes.len().max(1));
        match self {
            Self::Fixed { bytes: size } => at_least.next_multiple_of(size.get()).min(bytes.len()),
            Self::Whole | Self::Units => bytes.len(),
            Self::Lines => {
                let last = bytes.get(at_least - 1..).unwrap_or_default();
                memchr(b'\n', last).map_or(bytes.len(), |lf| at_least + lf)
            }
            Self::QuotedLines { delimiter } => {
                let mut len = 0;
                while len < at_least.min(bytes.len()) {
                    len += quoted_lines::record_bytes(&bytes[len..], *delimiter);
                }
                len
            }
        }
    }
}
