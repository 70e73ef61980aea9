//! The reduce function.

use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::Values;
use crate::value::Value;

/// Turns all values of one key into output pairs.
///
/// Groups come in key order, and the values of a group in the order of their encoded bytes, so that
/// the output does not depend on the splits. Values are streamed: a group may be larger than
/// memory.
///
/// ```
/// use windrow_jobs::prelude::*;
/// use windrow_jobs::testing;
///
/// struct Mean;
///
/// impl Reducer<str, f64> for Mean {
///     type OutputKey = str;
///     type OutputValue = f64;
///
///     fn reduce(
///         &self,
///         key: &str,
///         values: &mut Values<'_, f64>,
///         out: &mut impl Emit<str, f64>,
///     ) -> Result<()> {
///         let (mut sum, mut count) = (0.0, 0.0);
///         while let Some(value) = values.next()? {
///             sum += value;
///             count += 1.0;
///         }
///         out.emit(key, sum / count)
///     }
/// }
///
/// assert_eq!(testing::reduce(&Mean, "rye", [1.0, 2.0])?, [("rye".into(), 1.5)]);
/// # Ok::<(), Error>(())
/// ```
pub trait Reducer<K: Key + ?Sized, V: Value + ?Sized>: Send + Sync + 'static {
    /// Key of the output pairs.
    type OutputKey: Key + ?Sized;
    /// Value of the output pairs.
    type OutputValue: Value + ?Sized;

    /// Reduces one group. Values that are not read are skipped. An error fails the attempt and
    /// names the key.
    fn reduce(
        &self,
        key: K::Decoded<'_>,
        values: &mut Values<'_, V>,
        out: &mut impl Emit<Self::OutputKey, Self::OutputValue>,
    ) -> Result<()>;
}
