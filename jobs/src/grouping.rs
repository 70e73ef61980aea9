//! Groupings: a group has the pairs of one key, or of all keys with the same prefix.

use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::key::{Key, KeyPart};

/// Groups pairs by a prefix of their encoded keys. All pairs of a group go to one partition. Within
/// the group they come in the order of their whole keys: a reducer gets its values sorted
/// ("secondary sort").
pub trait Grouping<K: Key + ?Sized>: Send + Sync + 'static {
    /// The key that the reducer gets.
    type Group: Key + ?Sized;

    /// Whether a group is one whole key.
    const WHOLE_KEY: bool;

    /// Length in bytes of the prefix of `encoded` that identifies the group. No group's prefix may
    /// be a prefix of another group's.
    fn prefix_bytes(encoded: &[u8]) -> Result<usize>;

    /// Decodes the group from its prefix.
    fn decode(prefix: &[u8]) -> Result<<Self::Group as Key>::Decoded<'_>>;
}

/// A group for each key; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeKey;

/// A group for each first part of keys that are pairs.
///
/// ```
/// use windrow_jobs::prelude::*;
/// # use windrow_jobs::testing;
/// # use windrow_jobs::FirstPart;
///
/// /// The latest reading of each sensor: readings come as `sensor time value`.
/// struct Readings;
///
/// impl Mapper for Readings {
///     type Input = Line;
///     type Key = (String, Reverse<u64>);
///     type Value = str;
///
///     fn map(&self, line: &str, out: &mut impl Emit<Self::Key, str>) -> Result<()> {
///         let mut fields = line.splitn(3, ' ');
///         let mut field = || fields.next().ok_or_else(|| Error::new("three fields are needed"));
///         let (sensor, time, value) = (field()?, field()?.parse()?, field()?);
///         out.emit((sensor, Reverse(time)), value)
///     }
/// }
///
/// struct First;
///
/// impl Reducer<String, str> for First {
///     type OutputKey = String;
///     type OutputValue = str;
///
///     fn reduce(
///         &self,
///         sensor: std::borrow::Cow<'_, str>,
///         values: &mut Values<'_, str>,
///         out: &mut impl Emit<String, str>,
///     ) -> Result<()> {
///         values.next()?.map_or(Ok(()), |latest| out.emit(&sensor, latest))
///     }
/// }
///
/// let job = Job::new("latest", Readings).group_by(FirstPart).reduce(First);
/// let text = testing::run(&job, "{}", &[("a", "barn 1 dry\nloft 1 dry\nbarn 2 wet\n")])?;
/// assert_eq!(text, "barn\twet\nloft\tdry\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FirstPart;

impl<K: Key + ?Sized> Grouping<K> for WholeKey {
    type Group = K;

    const WHOLE_KEY: bool = true;

    #[inline]
    fn prefix_bytes(encoded: &[u8]) -> Result<usize> {
        Ok(encoded.len())
    }

    #[inline]
    fn decode(prefix: &[u8]) -> Result<K::Decoded<'_>> {
        K::decode(prefix)
    }
}

impl<A: KeyPart, B: Key> Grouping<(A, B)> for FirstPart {
    type Group = A;

    const WHOLE_KEY: bool = false;

    fn prefix_bytes(encoded: &[u8]) -> Result<usize> {
        let mut rest = encoded;
        A::decode_part(&mut rest)?;
        Ok(encoded.len() - rest.len())
    }

    fn decode(mut prefix: &[u8]) -> Result<A::Decoded<'_>> {
        let part = A::decode_part(&mut prefix)?;
        if prefix.is_empty() { Ok(part) } else { Err(Error::new("malformed group")) }
    }
}

/// The part of a [`Grouping`] that works on bytes alone.
pub(crate) trait Prefix: Send + Sync + 'static {
    /// See [`Grouping::prefix_bytes`].
    fn prefix_bytes(encoded: &[u8]) -> Result<usize>;
}

/// Grouping `G` of keys `K`.
pub(crate) struct GroupingOf<K: ?Sized, G>(PhantomData<fn(&K, &G)>);

impl<K: Key + ?Sized, G: Grouping<K>> Prefix for GroupingOf<K, G> {
    #[inline]
    fn prefix_bytes(encoded: &[u8]) -> Result<usize> {
        G::prefix_bytes(encoded)
    }
}
