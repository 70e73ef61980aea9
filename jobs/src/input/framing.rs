//! Where a file may be cut.

use memchr::memchr;

/// Where a file may be cut. A record belongs to the byte range in which its first byte lies, so that each record
/// is processed exactly once wherever ranges are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Records end with LF; the last one may lack it.
    Lines,
    /// Records of this many bytes each; a shorter rest is an error.
    Fixed {
        /// Size of a record, at least 1.
        bytes: usize,
    },
}

impl Framing {
    /// The smallest offset, `at` or after it, at which a record can start, as far as can be told from `window`:
    /// the file's bytes from `window_offset` on. `None` means that it lies beyond the window.
    ///
    /// To tell whether a line starts at `at` itself, the window has to hold the byte before. The answer may be the
    /// end of the file: then no record starts there.
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
    /// ```
    pub fn record_start(&self, window: &[u8], window_offset: u64, at: u64) -> Option<u64> {
        match self {
            Self::Fixed { bytes } => at.checked_next_multiple_of(*bytes as u64),
            Self::Lines if at == 0 => Some(0),
            Self::Lines => {
                let before = (at - 1).checked_sub(window_offset)?;
                let rest = window.get(usize::try_from(before).ok()?..)?;
                memchr(b'\n', rest).map(|index| at + index as u64)
            }
        }
    }
}
