//! Descending order: the complement of every byte.
//!
//! The complement reverses the order only if no encoding is a prefix of another, so even a key that
//! stands alone has the self-delimiting encoding here.

use std::cmp::Reverse;

use super::{Key, KeyPart, decode_whole};
use crate::error::Result;

impl<K: KeyPart> Key for Reverse<K> {
    type Ref<'a> = Reverse<K::Ref<'a>>;
    /// Owned, since there is nothing to borrow from: the bytes must be complemented first.
    type Decoded<'a> = Reverse<K::Owned>;
    type Owned = Reverse<K::Owned>;

    fn encode(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        K::encode_part(key.0, out);
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>> {
        decode_whole::<Self>(bytes)
    }

    fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a> {
        Reverse(K::view_owned(&decoded.0))
    }

    fn view_owned(owned: &Self::Owned) -> Self::Ref<'_> {
        Reverse(K::view_owned(&owned.0))
    }

    fn own(key: Self::Ref<'_>) -> Self::Owned {
        Reverse(K::own(key.0))
    }

    fn write_text(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        K::write_text(key.0, out);
    }
}

impl<K: KeyPart> KeyPart for Reverse<K> {
    fn encode_part(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        Self::encode(key, out);
    }

    /// O(length of `bytes`): the end of the part is known only once it is decoded.
    fn decode_part<'a>(bytes: &mut &'a [u8]) -> Result<Self::Decoded<'a>> {
        let complement: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        let mut rest = &complement[..];
        let key = K::decode_part(&mut rest)?;
        let owned = K::own(K::view(&key));
        *bytes = &bytes[bytes.len() - rest.len()..];
        Ok(Reverse(owned))
    }
}
