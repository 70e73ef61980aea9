//! Keys: types whose encoded bytes sort as the keys do, so that sorting and merging never decode.
//!
//! A key type names a schema; user code emits and gets views of it. `str` is emitted and decoded as
//! `&str`; `(String, u64)` is emitted as `(&str, u64)`.
//!
//! There are two encodings. A key that stands alone (or last in a tuple) ends where its bytes end,
//! and `str` is its plain bytes; a key followed by another part of a tuple is self-delimiting.
//! Encodings never change and are the same on every machine, since different builds may write the
//! parts of one job.

mod escape;
mod option;
mod reverse;
mod scalar;
mod text;
mod tuple;

use crate::error::{Error, Result};

/// A key with an order-preserving encoding: `a < b` exactly when `encode(a) < encode(b)` as bytes.
///
/// Implemented for integers, `bool`, `char`, strings, bytes, `()`, [`Option`] (`None` first),
/// [`Reverse`](std::cmp::Reverse) (descending), and tuples of these. Unsized types can only stand
/// alone.
///
/// ```
/// use windrow_jobs::Key;
///
/// fn encoded(year: i32, name: &str) -> Vec<u8> {
///     let mut bytes = Vec::new();
///     <(i32, String)>::encode((year, name), &mut bytes);
///     bytes
/// }
/// assert!(encoded(-44, "Caesar") < encoded(476, "Augustulus"));
/// assert!(encoded(476, "Augustulus") < encoded(476, "Odoacer"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    note = "keys are strings, integers, bytes, `bool`, `Option`, `Reverse` and tuples of these; other types implement `Key`"
)]
pub trait Key: Send + Sync + 'static {
    /// The view that is passed to `emit`.
    type Ref<'a>: Copy;
    /// The view that a reducer gets.
    type Decoded<'a>;
    /// A copy that owns its data.
    type Owned: Send + std::fmt::Debug;

    /// Whether text output has a field for the key; `()` has none.
    const HAS_TEXT: bool = true;

    /// Appends the encoding of a key that stands alone or last.
    fn encode(key: Self::Ref<'_>, out: &mut Vec<u8>);

    /// The encoding of a key that stands alone: the key's own bytes if they are its encoding, else
    /// the bytes put into `scratch`.
    #[inline]
    fn encoded<'a, 'k: 'a>(key: Self::Ref<'k>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        scratch.clear();
        Self::encode(key, scratch);
        scratch
    }

    /// Decodes a key from all of `bytes`.
    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>>;

    /// The decoded key as a view that can be emitted.
    fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a>;

    /// The owned key as a view that can be emitted.
    fn view_owned(owned: &Self::Owned) -> Self::Ref<'_>;

    /// An owned copy.
    fn own(key: Self::Ref<'_>) -> Self::Owned;

    /// Appends the key as text, for output.
    fn write_text(key: Self::Ref<'_>, out: &mut Vec<u8>);
}

/// A key that can stand before another part of a tuple.
pub trait KeyPart: Key {
    /// Appends the self-delimiting encoding.
    fn encode_part(key: Self::Ref<'_>, out: &mut Vec<u8>);

    /// Takes one part from the start of `bytes`.
    fn decode_part<'a>(bytes: &mut &'a [u8]) -> Result<Self::Decoded<'a>>;
}

/// Decodes a key whose encoding is the same alone and as a part.
fn decode_whole<K: KeyPart>(mut bytes: &[u8]) -> Result<K::Decoded<'_>> {
    let key = K::decode_part(&mut bytes)?;
    if bytes.is_empty() { Ok(key) } else { Err(malformed::<K>()) }
}

/// The error of every decoder for malformed bytes.
#[cold]
fn malformed<K: ?Sized>() -> Error {
    Error::new(format!("malformed key: not the encoding of a {}", std::any::type_name::<K>()))
}

#[cfg(test)]
mod tests;
