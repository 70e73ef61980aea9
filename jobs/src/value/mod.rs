//! Values: what travels with a key. Encoded once by the mapper and decoded once by the reducer.
//!
//! Primitives, strings, bytes, options and tuples have compact encodings of their own; any other
//! serde type is wrapped as [`Serde<T>`](Serde). As with keys, a type names a schema: `str` is
//! emitted and decoded as `&str`.

mod decimal;
mod number;
mod option;
mod order;
mod serde;
mod tagged;
mod text;
mod tuple;

pub use self::decimal::Decimal;
pub use self::order::OrderedValue;
pub use self::serde::Serde;
pub use self::tagged::Tagged;

use crate::error::{Error, Result};

/// A value with an encoding. Unlike keys, values need not keep their order when encoded.
///
/// ```
/// use windrow_jobs::Value;
///
/// let mut bytes = Vec::new();
/// <(String, u64)>::encode(("barn", 3), &mut bytes)?;
/// assert_eq!(<(String, u64)>::decode(&bytes)?, ("barn", 3));
/// # Ok::<(), windrow_jobs::Error>(())
/// ```
pub trait Value: Send + Sync + 'static {
    /// What is passed to `emit`.
    type Ref<'a>: Copy;
    /// What a reducer gets.
    type Decoded<'a>;
    /// A copy that owns its data, for tests and for keeping.
    type Owned: Send + std::fmt::Debug;

    /// Whether the value is written to text output at all; `()` is not.
    const HAS_TEXT: bool = true;

    /// Whether an owned copy is a few plain bytes, so that [`own`](Self::own) is free and nothing
    /// is dropped: numbers, `bool`, `char`, `()` and tuples and options of these.
    const IS_COPY: bool = false;

    /// Whether the value's own bytes are its encoding, so that [`encoded`](Self::encoded) copies
    /// nothing: strings and bytes.
    const IS_BYTES: bool = false;

    /// Appends the encoding of a value that stands alone or last.
    fn encode(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;

    /// The encoding of a value that stands alone: the value's own bytes where these are the
    /// encoding, else those that are put into `scratch`.
    #[inline]
    fn encoded<'a, 'v: 'a>(value: Self::Ref<'v>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        scratch.clear();
        Self::encode(value, scratch)?;
        Ok(scratch)
    }

    /// Reads a value that takes up all of `bytes`.
    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>>;

    /// The decoded value as it can be emitted again.
    fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a>;

    /// The owned value as it can be emitted again.
    fn view_owned(owned: &Self::Owned) -> Self::Ref<'_>;

    /// An owned copy.
    fn own(value: Self::Ref<'_>) -> Self::Owned;

    /// Memory that an owned copy takes up besides its own size, in bytes, so that what is kept of
    /// it can be accounted for. By default none, which is right for numbers, and not for what owns
    /// other memory.
    fn heap_bytes(owned: &Self::Owned) -> usize {
        let _ = owned;
        0
    }

    /// Appends the value as text, for output.
    fn write_text(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;
}

/// What every decoder says of bytes that it did not write.
#[cold]
fn malformed<V: ?Sized>() -> Error {
    Error::new(format!("malformed value: not the encoding of a {}", std::any::type_name::<V>()))
}

#[cfg(test)]
mod tests;
