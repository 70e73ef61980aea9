//! Values tagged with the input that they came from.

use std::marker::PhantomData;

use super::{Value, malformed};
use crate::error::Result;

/// A value of one of several inputs: `(number of the input, value)`. Tagged values sort by input
/// first.
pub struct Tagged<V: ?Sized>(PhantomData<fn(&V)>);

impl<V: Value + ?Sized> Value for Tagged<V> {
    type Ref<'a> = (u8, V::Ref<'a>);
    type Decoded<'a> = (u8, V::Decoded<'a>);
    type Owned = (u8, V::Owned);

    #[inline]
    fn encode((tag, value): Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        out.push(tag);
        V::encode(value, out)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>> {
        let (tag, value) = bytes.split_first().ok_or_else(malformed::<Self>)?;
        Ok((*tag, V::decode(value)?))
    }

    fn view<'a>((tag, value): &'a Self::Decoded<'_>) -> Self::Ref<'a> {
        (*tag, V::view(value))
    }

    fn view_owned((tag, value): &Self::Owned) -> Self::Ref<'_> {
        (*tag, V::view_owned(value))
    }

    fn own((tag, value): Self::Ref<'_>) -> Self::Owned {
        (tag, V::own(value))
    }

    fn heap_bytes((_, value): &Self::Owned) -> usize {
        V::heap_bytes(value)
    }

    /// Without the number of the input.
    fn write_text((_, value): Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        V::write_text(value, out)
    }
}
