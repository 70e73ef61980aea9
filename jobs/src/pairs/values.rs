//! The values of one group, streamed.

use std::marker::PhantomData;

use super::groups::{Group, Window};
use super::record::RecordBatches;
use crate::error::Result;
use crate::value::Value;

/// The values of one key, one after the other; they may exceed memory.
///
/// Each value is borrowed until the next call, so this is not an [`Iterator`]; read it with `while
/// let`:
///
/// ```
/// # use windrow_jobs::{Result, Values};
/// fn longest(values: &mut Values<'_, str>) -> Result<String> {
///     let mut longest = String::new();
///     while let Some(value) = values.next()? {
///         if value.len() > longest.len() {
///             longest = value.to_string();
///         }
///     }
///     Ok(longest)
/// }
/// ```
pub struct Values<'a, V: ?Sized> {
    source: &'a mut dyn RecordBatches,
    window: &'a mut Window,
    group: &'a Group,
    value: PhantomData<fn() -> &'a V>,
}

impl<'a, V: Value + ?Sized> Values<'a, V> {
    pub(super) fn new(
        source: &'a mut dyn RecordBatches,
        window: &'a mut Window,
        group: &'a Group,
    ) -> Self {
        Self { source, window, group, value: PhantomData }
    }

    /// The next value, or `None` after the last. An error means that the input cannot be read or
    /// decoded: pass it on with `?`.
    #[expect(clippy::should_implement_trait, reason = "a lending iterator cannot be an `Iterator`")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<V::Decoded<'_>>> {
        self.next_encoded()?.map(V::decode).transpose()
    }

    /// Skips the remaining values, without decoding them, and returns their number.
    pub fn count(&mut self) -> Result<u64> {
        let mut count = 0;
        while self.next_encoded()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// The next value's bytes.
    #[inline]
    pub(crate) fn next_encoded(&mut self) -> Result<Option<&[u8]>> {
        if self.is_at_end()? { Ok(None) } else { Ok(Some(self.window.advance().value)) }
    }

    /// Whether there is no further value.
    #[inline]
    pub(crate) fn is_at_end(&mut self) -> Result<bool> {
        Ok(self.window.peek(self.source)?.is_none_or(|record| !self.group.has(record.key)))
    }
}
