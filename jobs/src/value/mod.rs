//! Values: each travels with a key, encoded once on the map side and decoded once by the reducer.
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a value",
    note = "a type with serde's `Serialize` and `Deserialize` is the value `Serde<{Self}>` (`windrow::value::Serde`)"
)]
pub trait Value: Send + Sync + 'static {
    /// The view that is passed to `emit`.
    type Ref<'a>: Copy;
    /// The view that a reducer gets.
    type Decoded<'a>;
    /// A copy that owns its data.
    type Owned: Send + std::fmt::Debug;

    /// Whether text output has a field for the value; `()` has none.
    const HAS_TEXT: bool = true;

    /// Whether an owned copy is a few plain bytes, so that [`own`](Self::own) is free and nothing
    /// is dropped: true for numbers, `bool`, `char`, `()`, and tuples and options of these.
    const IS_COPY: bool = false;

    /// Whether the value's own bytes are its encoding, so that [`encoded`](Self::encoded) copies
    /// nothing: true for strings and bytes.
    const IS_BYTES: bool = false;

    /// Appends the encoding of a value that stands alone or last.
    fn encode(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;

    /// The encoding of a value that stands alone: the value's own bytes if they are its encoding,
    /// else the bytes put into `scratch`.
    #[inline]
    fn encoded<'a, 'v: 'a>(value: Self::Ref<'v>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        scratch.clear();
        Self::encode(value, scratch)?;
        Ok(scratch)
    }

    /// Decodes a value from all of `bytes`.
    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>>;

    /// The decoded value as a view that can be emitted.
    fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a>;

    /// The owned value as a view that can be emitted.
    fn view_owned(owned: &Self::Owned) -> Self::Ref<'_>;

    /// An owned copy.
    fn own(value: Self::Ref<'_>) -> Self::Owned;

    /// Heap memory that an owned copy owns, in bytes; counted towards the job's memory. By default
    /// 0, which is right for numbers, but not for types that own other memory.
    fn heap_bytes(owned: &Self::Owned) -> usize {
        let _ = owned;
        0
    }

    /// Appends the value as text, for output.
    fn write_text(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;
}

/// The error of every decoder for malformed bytes.
#[cold]
fn malformed<V: ?Sized>() -> Error {
    Error::new(format!("malformed value: not the encoding of a {}", std::any::type_name::<V>()))
}

#[cfg(test)]
mod tests;
