//! Optional keys: a byte says whether there is a key; `None` sorts first.

use super::{Key, KeyPart, malformed};
use crate::error::Result;

const NONE: u8 = 0;
const SOME: u8 = 1;

impl<K: Key> Key for Option<K> {
    type Ref<'a> = Option<K::Ref<'a>>;
    type Decoded<'a> = Option<K::Decoded<'a>>;
    type Owned = Option<K::Owned>;

    fn encode(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        match key {
            None => out.push(NONE),
            Some(key) => {
                out.push(SOME);
                K::encode(key, out);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>> {
        match bytes {
            [NONE] => Ok(None),
            [SOME, key @ ..] => K::decode(key).map(Some),
            _ => Err(malformed::<Self>()),
        }
    }

    fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a> {
        decoded.as_ref().map(K::view)
    }

    fn view_owned(owned: &Self::Owned) -> Self::Ref<'_> {
        owned.as_ref().map(K::view_owned)
    }

    fn own(key: Self::Ref<'_>) -> Self::Owned {
        key.map(K::own)
    }

    /// `None` is an empty field.
    fn write_text(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        if let Some(key) = key {
            K::write_text(key, out);
        }
    }
}

impl<K: KeyPart> KeyPart for Option<K> {
    fn encode_part(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        match key {
            None => out.push(NONE),
            Some(key) => {
                out.push(SOME);
                K::encode_part(key, out);
            }
        }
    }

    fn decode_part<'a>(bytes: &mut &'a [u8]) -> Result<Self::Decoded<'a>> {
        let (&mark, rest) = bytes.split_first().ok_or_else(malformed::<Self>)?;
        *bytes = rest;
        match mark {
            NONE => Ok(None),
            SOME => K::decode_part(bytes).map(Some),
            _ => Err(malformed::<Self>()),
        }
    }
}
