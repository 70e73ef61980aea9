//! Optional values: no bytes, or a 1 and the value.

use super::{Value, malformed};
use crate::error::Result;

const SOME: u8 = 1;

impl<V: Value> Value for Option<V> {
    type Ref<'a> = Option<V::Ref<'a>>;
    type Decoded<'a> = Option<V::Decoded<'a>>;
    type Owned = Option<V::Owned>;

    const IS_COPY: bool = V::IS_COPY;

    fn encode(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        out.push(SOME);
        V::encode(value, out)
    }

    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>> {
        match bytes {
            [] => Ok(None),
            [SOME, value @ ..] => V::decode(value).map(Some),
            _ => Err(malformed::<Self>()),
        }
    }

    fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a> {
        decoded.as_ref().map(V::view)
    }

    fn view_owned(owned: &Self::Owned) -> Self::Ref<'_> {
        owned.as_ref().map(V::view_owned)
    }

    fn own(value: Self::Ref<'_>) -> Self::Owned {
        value.map(V::own)
    }

    fn heap_bytes(owned: &Self::Owned) -> usize {
        owned.as_ref().map_or(0, V::heap_bytes)
    }

    /// `None` is an empty field.
    fn write_text(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        value.map_or(Ok(()), |value| V::write_text(value, out))
    }
}
