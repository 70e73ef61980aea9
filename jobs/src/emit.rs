//! Emitters, which take the pairs of mappers and reducers.

use crate::error::Result;
use crate::key::Key;
use crate::value::Value;

/// Takes the pairs that user code produces. The engine's emitters encode each pair at once, so key
/// and value need only live for the call. For unit tests, a `Vec` is an emitter, too:
///
/// ```
/// use windrow_jobs::{Emit, Result};
/// let mut out: Vec<(String, u64)> = Vec::new();
/// Emit::<str, u64>::emit(&mut out, "row", 1)?;
/// assert_eq!(out, [("row".to_string(), 1)]);
/// # Ok::<(), windrow_jobs::Error>(())
/// ```
pub trait Emit<K: Key + ?Sized, V: Value + ?Sized> {
    /// Takes one pair. An error fails the attempt, so pass it on with `?`.
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()>;

    /// Adds `n` to the job's counter of this name. The summary shows the sums over the winning
    /// attempts. A job has at most 1,000 names of 256 bytes each; counts under any further name are
    /// shown as "other counters".
    fn count(&mut self, counter: &'static str, n: u64) {
        let _ = (counter, n);
    }
}

impl<K, V> Emit<K, V> for Vec<(K::Owned, V::Owned)>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
{
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        self.push((K::own(key), V::own(value)));
        Ok(())
    }
}
