//! The map function.

use crate::emit::Emit;
use crate::error::Result;
use crate::input::{Format, RecordOf};
use crate::key::Key;
use crate::value::Value;

/// Turns one input record into any number of key-value pairs.
///
/// One mapper is shared by all threads; it must give the same pairs for the same record each time, since a task
/// may run more than once.
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
    /// What goes with each key.
    type Value: Value + ?Sized;

    /// Maps one record. An error fails the attempt, and names the record's file and byte offset.
    fn map(
        &self,
        record: RecordOf<'_, Self::Input>,
        out: &mut impl Emit<Self::Key, Self::Value>,
    ) -> Result<()>;
}
