//! The map function.

use crate::emit::Emit;
use crate::error::Result;
use crate::input::{Chunk, Format, RecordError, RecordOf};
use crate::key::Key;
use crate::value::Value;

/// Turns one input record into any number of key-value pairs.
///
/// All threads share one mapper. It must emit the same pairs for the same record each time, since a
/// task may run more than once.
///
/// ```
/// use windrow_jobs::prelude::*;
///
/// struct Words;
///
/// impl Mapper for Words {
///     type Input = Line;
///     type Key = str;
///     type Value = u64;
///
///     fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
///         for word in line.split_ascii_whitespace() {
///             out.emit(word, 1)?;
///         }
///         Ok(())
///     }
/// }
///
/// let mut out = Vec::new();
/// Words.map("to be", &mut out)?;
/// assert_eq!(out, [("to".into(), 1), ("be".into(), 1)]);
/// # Ok::<(), Error>(())
/// ```
pub trait Mapper: Send + Sync + 'static {
    /// How the input is cut into records, such as [`Line`](crate::input::Line).
    type Input: Format;
    /// The key that pairs are grouped by.
    type Key: Key + ?Sized;
    /// The value of a pair.
    type Value: Value + ?Sized;

    /// Maps one record. An error fails the attempt, and names the record's file and byte offset.
    fn map(
        &self,
        record: RecordOf<'_, Self::Input>,
        out: &mut impl Emit<Self::Key, Self::Value>,
    ) -> Result<()>;

    /// The input format, with its settings if it has any.
    fn format(&self) -> Self::Input {
        Self::Input::default()
    }

    /// Maps all records of a chunk and returns their number, by default by calling
    /// [`map`](Self::map) for each. Override it if many records can be mapped faster together: a
    /// search can scan the whole buffer, and find line ends only around matches. Both must emit the
    /// same pairs.
    fn map_chunk(
        &self,
        format: &Self::Input,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<Self::Key, Self::Value>,
    ) -> Result<u64, RecordError> {
        map_each(self, format, chunk, out)
    }
}

/// Maps the records of a chunk one after the other.
pub(crate) fn map_each<M: Mapper + ?Sized>(
    mapper: &M,
    format: &M::Input,
    chunk: &Chunk<'_>,
    out: &mut impl Emit<M::Key, M::Value>,
) -> Result<u64, RecordError> {
    let (mut records, mut failure) = (0, None);
    let read = format.for_each(chunk, |position, record| {
        records += 1;
        chunk.visit(position.offset);
        mapper.map(record, out).map_err(|error| {
            let error = RecordError::new(position, &error);
            failure.get_or_insert_with(|| error.clone());
            error
        })
    });
    // The first error counts, even if the format has ignored it.
    failure.map_or(read, Err).map(|()| records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Framing, Position};
    use crate::prelude::*;

    /// Lines, whatever becomes of them.
    #[derive(Clone, Default)]
    struct Deaf;

    impl Format for Deaf {
        type Record<'a> = &'a str;

        fn framing(&self) -> Framing {
            Framing::Lines
        }

        fn for_each(
            &self,
            chunk: &Chunk<'_>,
            mut each: impl for<'a> FnMut(Position<'a>, &'a str) -> Result<(), RecordError>,
        ) -> Result<(), RecordError> {
            Line.for_each(chunk, |position, line| {
                let _ = each(position, line);
                Ok(())
            })
        }
    }

    struct NoHay;

    impl Mapper for NoHay {
        type Input = Deaf;
        type Key = str;
        type Value = u64;

        fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
            if line == "hay" { Err(Error::new("no hay")) } else { out.emit(line, 1) }
        }
    }

    #[test]
    fn an_error_that_a_format_ignores_counts() {
        let job = Job::new("no-hay", NoHay).map_only();
        let run = |text| crate::testing::run(&job, "{}", &[("a", text)]);
        assert_eq!(run("rye\noats\n").unwrap(), "rye\t1\noats\t1\n");
        let error = run("rye\nhay\noats\nhay\n").unwrap_err().to_string();
        assert!(error.contains("no hay") && error.contains("a at byte 4"), "{error}");
    }
}
