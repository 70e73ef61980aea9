//! How pairs become the bytes of a part.
//!
//! ```text
//!  Output::begin --> PartEncoder ----- append ----- append ----------> finish
//!                      |               ^            ^                  |
//!                      v               |            |                  v
//!            part:   header | section        | section        | ... | footer
//!                             ^
//!  Output::section --> SectionEncoder: write, write, .., finish
//! ```
//!
//! A part is a header, sections one behind the other, and a footer. The engine says where sections
//! end: a reduce task encodes its part as one section, unless the encoder [is
//! full](SectionEncoder::is_full) before; a map-only task encodes chunks of its input side by side,
//! each as a section or several, and puts them together in the order of the input. So a section is
//! whatever can be encoded alone: some lines, a member of a gzip file, a frame, a row group.
//!
//! Most outputs need none of this: they write each pair by itself, which is [`TextOutput`], one
//! function.

mod text;

pub use text::{Concatenated, TextLines, TextOutput, TextSection, ValueLines};

use crate::error::Result;
use crate::key::Key;
use crate::value::Value;

/// Encodes the parts of a job. An output that writes each pair by itself implements [`TextOutput`]
/// instead.
///
/// The same sections must give the same bytes each time. Where a section ends may differ between
/// two attempts at a task, since it depends on memory and threads; the pairs of the part, and their
/// order, do not. An error of any method but [`write`](SectionEncoder::write) is no record's fault
/// and fails the attempt.
///
/// ```
/// use windrow_jobs::output::{Output, PartEncoder, PartInfo, Section, SectionEncoder};
/// use windrow_jobs::prelude::*;
/// use windrow_jobs::testing;
///
/// /// Lines, and at the end of each part how many there are.
/// struct CountedLines;
///
/// struct Footer(u64);
///
/// #[derive(Clone)]
/// struct Lines;
///
/// impl Output<str, u64> for CountedLines {
///     type Part = Footer;
///     type Section = Lines;
///
///     fn begin(&self, _part: PartInfo, _out: &mut Vec<u8>) -> Result<Footer> {
///         Ok(Footer(0))
///     }
///
///     fn section(&self) -> Lines {
///         Lines
///     }
/// }
///
/// impl SectionEncoder<str, u64> for Lines {
///     type Summary = ();
///     type Mark = ();
///
///     fn write(&mut self, key: &str, value: u64, out: &mut Vec<u8>) -> Result<()> {
///         out.extend_from_slice(format!("{key}={value}\n").as_bytes());
///         Ok(())
///     }
///
///     fn mark(&mut self) {}
///
///     fn undo(&mut self, _mark: ()) {}
///
///     fn finish(self, _out: &mut Vec<u8>) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// impl PartEncoder<()> for Footer {
///     fn append(&mut self, section: Section<()>) -> Result<()> {
///         self.0 += section.records;
///         Ok(())
///     }
///
///     fn finish(self, out: &mut Vec<u8>) -> Result<()> {
///         out.extend_from_slice(format!("{} lines\n", self.0).as_bytes());
///         Ok(())
///     }
/// }
/// # struct Words;
/// # impl Mapper for Words {
/// #     type Input = Line;
/// #     type Key = str;
/// #     type Value = u64;
/// #     fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
/// #         line.split_ascii_whitespace().try_for_each(|word| out.emit(word, 1))
/// #     }
/// # }
///
/// let job = Job::new("word-count", Words).output(CountedLines).reduce(Sum);
/// assert_eq!(testing::run(&job, "{}", &[("a", "hay oats hay")])?, "hay=2\noats=1\n2 lines\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot write pairs of `{K}` and `{V}`",
    note = "an output that writes each pair by itself implements `TextOutput<{K}, {V}>`"
)]
pub trait Output<K: Key + ?Sized, V: Value + ?Sized>: Send + Sync + 'static {
    /// Encodes what is around the sections of a part; `()` where there is nothing.
    type Part: PartEncoder<SummaryOf<Self::Section, K, V>>;
    /// Encodes a section.
    type Section: SectionEncoder<K, V>;

    /// Begins a part, and appends its header to `out`. Parts without pairs are begun too.
    fn begin(&self, part: PartInfo, out: &mut Vec<u8>) -> Result<Self::Part>;

    /// What the names of parts end with, such as `.csv`: a dot, a letter, and letters, digits or
    /// single dots, at most 32 in all. By default nothing.
    fn extension(&self) -> &str {
        ""
    }

    /// Begins a section. Nothing is written before its first pair: sections without pairs are left
    /// out.
    fn section(&self) -> Self::Section;
}

/// What the sections of an output leave for its parts.
pub type SummaryOf<S, K, V> = <S as SectionEncoder<K, V>>::Summary;

/// What an output may know of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartInfo {
    /// Its number, counted from 0: the partition's, or the split's where nothing is shuffled.
    pub number: u32,
}

impl PartInfo {
    /// The part of this number.
    pub const fn new(number: u32) -> Self {
        Self { number }
    }
}

/// Encodes pairs of one section, on one thread.
pub trait SectionEncoder<K: Key + ?Sized, V: Value + ?Sized>: Send + 'static {
    /// What the part has to know of a finished section, such as a checksum; often `()`.
    type Summary: Send + 'static;
    /// What [`undo`](Self::undo) needs; `()` where the encoder keeps nothing of the pairs.
    type Mark;

    /// Encodes a pair. What is ready is appended to `out`, of which what is there already is not
    /// the encoder's: it may have been written and taken away since the last call. After an error
    /// the encoder and `out` must be as they were.
    fn write(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;

    /// Whether the section should end here. Asked after each pair, so it has to be cheap. The
    /// engine may end it before, where memory is short, or go on, so that a group of pairs can
    /// still be undone. By default never.
    #[inline]
    fn is_full(&self) -> bool {
        false
    }

    /// Bytes of memory that the encoder keeps beside `out`; by default none. They count towards the
    /// job's memory. Asked after each pair, so it has to be cheap.
    #[inline]
    fn held_bytes(&self) -> usize {
        0
    }

    /// Notes the state, so that the pairs after it can be undone. At most the last mark of a
    /// section is used, and it is used once.
    fn mark(&mut self) -> Self::Mark;

    /// Puts the encoder back to where it was at the mark, even if [`write`](Self::write) has
    /// panicked since. The engine does so with `out`.
    fn undo(&mut self, mark: Self::Mark);

    /// Ends the section, which has one pair at least, and appends what is left of it.
    fn finish(self, out: &mut Vec<u8>) -> Result<Self::Summary>;
}

/// Encodes what is around the sections of one part: `S` is what each of them leaves.
pub trait PartEncoder<S>: Send + 'static {
    /// Hears of each section, in the order in which they stand in the part.
    fn append(&mut self, section: Section<S>) -> Result<()>;

    /// Appends the footer to `out`.
    fn finish(self, out: &mut Vec<u8>) -> Result<()>;
}

/// A section in its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section<S> {
    /// Its first byte, from the start of the part.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
    /// Its pairs; at least one.
    pub records: u64,
    /// What its encoder has left.
    pub summary: S,
}

impl<S> Section<S> {
    pub(crate) fn new(offset: u64, bytes: u64, records: u64, summary: S) -> Self {
        Self { offset, bytes, records, summary }
    }
}

/// Nothing is around the sections.
impl PartEncoder<()> for () {
    fn append(&mut self, _section: Section<()>) -> Result<()> {
        Ok(())
    }

    fn finish(self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
