//! Outputs, which encode pairs to the bytes of a part.
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
//! A part is a header, a sequence of sections, and a footer. The engine decides where sections end:
//! a reduce task encodes its part as one section, unless the encoder [is
//! full](SectionEncoder::is_full) earlier; a map-only task encodes chunks of its input in parallel,
//! each as one section or several, and concatenates them in input order. So a section is anything
//! that can be encoded independently: some lines, a member of a gzip file, a frame, a row group.
//!
//! Most outputs write each pair by itself. They need none of this, and implement [`TextOutput`],
//! which has one function.

mod text;

pub use text::{Concatenated, TextLines, TextOutput, TextSection, ValueLines};

use crate::error::{Error, Result};
use crate::key::Key;
use crate::value::Value;

/// Encodes the parts of a job. An output that writes each pair by itself implements [`TextOutput`]
/// instead.
///
/// The same sections must give the same bytes each time. Where a section ends may differ between
/// two attempts of a task, since it depends on memory and threads; the pairs of the part and their
/// order do not. An error of any method but [`write`](SectionEncoder::write) is no record's fault
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
    /// Encodes header and footer of a part; `()` if it has neither.
    type Part: PartEncoder<SummaryOf<Self::Section, K, V>>;
    /// Encodes a section.
    type Section: SectionEncoder<K, V>;

    /// Begins a part, even one without pairs, and appends its header to `out`.
    fn begin(&self, part: PartInfo, out: &mut Vec<u8>) -> Result<Self::Part>;

    /// The extension of part names, such as `.csv`: a dot, a letter, and then letters, digits or
    /// single dots, at most 32 characters in all. By default empty.
    fn extension(&self) -> &str {
        ""
    }

    /// Begins a section. Must not write anything before the first pair, since sections without
    /// pairs are omitted.
    fn section(&self) -> Self::Section;
}

/// The summaries of an output's sections.
pub type SummaryOf<S, K, V> = <S as SectionEncoder<K, V>>::Summary;

/// What an output is told about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartInfo {
    /// The part's number, from 0: the number of the partition, or of the split in a map-only job.
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
    /// What the part needs to know of a finished section, such as a checksum; often `()`.
    type Summary: Send + 'static;
    /// The state that [`undo`](Self::undo) restores; `()` if the encoder keeps no state of the
    /// pairs.
    type Mark: Send;

    /// Encodes a pair, and appends the bytes that are ready to `out`. The encoder must not rely on
    /// the earlier contents of `out`, which the engine may write and remove between calls. After an
    /// error the encoder and `out` must be as before.
    fn write(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;

    /// Whether the section should end here; by default never. Called after each pair, so it must be
    /// cheap. The engine may end the section earlier, when memory is short, or later, so that a
    /// group of pairs can still be undone.
    #[inline]
    fn is_full(&self) -> bool {
        false
    }

    /// Memory that the encoder uses besides `out`, in bytes; by default 0. It counts towards the
    /// job's memory. Called after each pair, so it must be cheap.
    #[inline]
    fn held_bytes(&self) -> usize {
        0
    }

    /// Saves the state, so that later pairs can be undone. At most the last mark of a section is
    /// restored, and at most once.
    fn mark(&mut self) -> Self::Mark;

    /// Restores the state at the mark, even if [`write`](Self::write) has panicked since. The
    /// engine restores `out`.
    fn undo(&mut self, mark: Self::Mark);

    /// Ends the section, which has at least one pair, and appends its remaining bytes to `out`.
    fn finish(self, out: &mut Vec<u8>) -> Result<Self::Summary>;
}

/// Checks that an encoder has only appended: it must not take back the bytes of other pairs.
#[inline]
pub(crate) fn check_appended(before: usize, after: usize) -> Result<()> {
    if after >= before { Ok(()) } else { Err(removed(before - after)) }
}

#[cold]
fn removed(bytes: usize) -> Error {
    let text = "bytes of the pairs before this one from the output; it may only append";
    Error::new(format!("writing the pair removed {bytes} {text}"))
}

/// Encodes header and footer of one part. `S` is the summary of a section.
pub trait PartEncoder<S>: Send + 'static {
    /// Notes a section. Called for each section, in their order in the part.
    fn append(&mut self, section: Section<S>) -> Result<()>;

    /// Appends the footer to `out`.
    fn finish(self, out: &mut Vec<u8>) -> Result<()>;
}

/// A section in its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section<S> {
    /// Its offset in the part.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
    /// Number of its pairs; at least one.
    pub records: u64,
    /// The summary of its encoder.
    pub summary: S,
}

impl<S> Section<S> {
    pub(crate) fn new(offset: u64, bytes: u64, records: u64, summary: S) -> Self {
        Self { offset, bytes, records, summary }
    }
}

/// A part without header and footer.
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
