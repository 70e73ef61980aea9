//! Where a file may be cut.

use memchr::{memchr, memrchr};

use super::quoted_lines;

/// Where a file may be cut. A record belongs to the byte range in which its first byte lies, so
/// that each record is processed exactly once wherever ranges are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Records end with LF; the last one may lack it.
    Lines,
    /// Records end with LF, but not with one inside a field in double quotes, as RFC 4180 has it.
    /// Such a field ends within 64 KiB of its record's start, or its quote counts as a stray one
    /// and the record ends with its line.
    QuotedLines {
        /// Stands between fields.
        delimiter: u8,
    },
    /// Records of this many bytes each; a shorter rest is an error.
    Fixed {
        /// Size of a record, at least 1.
        bytes: usize,
    },
    /// A file is one record, and is not cut at all. One that is larger than the largest record
    /// (`--max-record-size`) is an error.
    Whole,
}

impl Framing {
    /// Whether a file may be cut, so that its parts are read by several tasks.
    pub fn cuts_files(&self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// How many bytes before `at` [`record_start`](Self::record_start) has to see, where the file
    /// has so many.
    pub fn look_behind_bytes(&self) -> u64 {
        match self {
            Self::Fixed { .. } | Self::Whole => 0,
            Self::Lines => 1,
            Self::QuotedLines { .. } => quoted_lines::LOOK_BEHIND_BYTES as u64,
        }
    }

    /// How many bytes from `at` on [`record_start`](Self::record_start) has to see at most, before
    /// it is sure that no record starts among them. Beyond the end of the file there is nothing to
    /// see.
    pub fn look_ahead_bytes(&self) -> u64 {
        match self {
            Self::Fixed { .. } | Self::Lines | Self::Whole => 0,
            Self::QuotedLines { .. } => quoted_lines::RECORD_BYTES_MAX as u64,
        }
    }

    /// The smallest offset, `at` or after it, at which a record can start, as far as can be told
    /// from `window`: the file's bytes from `window_offset` on. `None` means that it lies beyond
    /// the window. What lies before [`look_behind_bytes`](Self::look_behind_bytes) makes no
    /// difference, so that all who ask find the same.
    ///
    /// To tell whether a line starts at `at` itself, the window has to hold the byte before. The
    /// answer may be the end of the file: then no record starts there.
    ///
    /// ```
    /// use windrow_jobs::input::Framing;
    ///
    /// let file = b"ab\ncd\nef";
    /// assert_eq!(Framing::Lines.record_start(file, 0, 0), Some(0));
    /// assert_eq!(Framing::Lines.record_start(file, 0, 1), Some(3));
    /// assert_eq!(Framing::Lines.record_start(&file[2..], 2, 3), Some(3));
    /// assert_eq!(Framing::Lines.record_start(file, 0, 7), None);
    /// assert_eq!(Framing::Fixed { bytes: 5 }.record_start(&[], 0, 6), Some(10));
    /// let file = b"a,\"b\nc\"\nd,e\n";
    /// assert_eq!(Framing::QuotedLines { delimiter: b',' }.record_start(file, 0, 1), Some(8));
    /// ```
    pub fn record_start(&self, window: &[u8], window_offset: u64, at: u64) -> Option<u64> {
        match self {
            Self::Fixed { bytes } => at.checked_next_multiple_of(*bytes as u64),
            Self::Whole => (at == 0).then_some(0),
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

    /// Where the last record starts that starts in `first..end`, as far as can be told from
    /// `window`. A record starts at `first`, and both lie within the window. Looks at no more than
    /// the last record and what is needed to find it.
    pub fn last_record_start(
        &self,
        window: &[u8],
        window_offset: u64,
        first: u64,
        end: u64,
    ) -> u64 {
        debug_assert!(window_offset <= first && first < end, "a record starts before the end");
        match self {
            Self::Fixed { bytes } => first + (end - 1 - first) / *bytes as u64 * *bytes as u64,
            Self::Whole => first,
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

    /// Size of the records that `bytes` begin with, of which all are there: of as few as have
    /// `at_least` so many bytes together, or of all.
    pub(super) fn records_bytes(&self, bytes: &[u8], at_least: usize) -> usize {
        let at_least = at_least.clamp(1, bytes.len().max(1));
        match self {
            Self::Fixed { bytes: size } => at_least.next_multiple_of(*size).min(bytes.len()),
            Self::Whole => bytes.len(),
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
