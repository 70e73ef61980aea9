//! Composite keys: `()` and tuples of two to four parts, compared part by part.

use super::{Key, KeyPart, decode_whole};
use crate::copied_views::copied_views;
use crate::error::Result;

impl Key for () {
    type Ref<'a> = ();
    type Decoded<'a> = ();
    type Owned = ();

    const HAS_TEXT: bool = false;

    fn encode((): (), _out: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Result<()> {
        decode_whole::<Self>(bytes)
    }

    fn write_text((): (), _out: &mut Vec<u8>) {}

    copied_views!();
}

impl KeyPart for () {
    fn encode_part((): (), _out: &mut Vec<u8>) {}

    fn decode_part(_bytes: &mut &[u8]) -> Result<()> {
        Ok(())
    }
}

macro_rules! tuple_key {
    ($($part:ident $index:tt)+, $last:ident $last_index:tt) => {
        impl<$($part: KeyPart,)+ $last: Key> Key for ($($part,)+ $last) {
            type Ref<'a> = ($($part::Ref<'a>,)+ $last::Ref<'a>);
            type Decoded<'a> = ($($part::Decoded<'a>,)+ $last::Decoded<'a>);
            type Owned = ($($part::Owned,)+ $last::Owned);

            fn encode(key: Self::Ref<'_>, out: &mut Vec<u8>) {
                $($part::encode_part(key.$index, out);)+
                $last::encode(key.$last_index, out);
            }

            fn decode(mut bytes: &[u8]) -> Result<Self::Decoded<'_>> {
                Ok(($($part::decode_part(&mut bytes)?,)+ $last::decode(bytes)?))
            }

            fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a> {
                ($($part::view(&decoded.$index),)+ $last::view(&decoded.$last_index))
            }

            fn view_owned(owned: &Self::Owned) -> Self::Ref<'_> {
                ($($part::view_owned(&owned.$index),)+ $last::view_owned(&owned.$last_index))
            }

            fn own(key: Self::Ref<'_>) -> Self::Owned {
                ($($part::own(key.$index),)+ $last::own(key.$last_index))
            }

            /// Separated by tabs.
            fn write_text(key: Self::Ref<'_>, out: &mut Vec<u8>) {
                $(
                    $part::write_text(key.$index, out);
                    out.push(b'\t');
                )+
                $last::write_text(key.$last_index, out);
            }
        }

        impl<$($part: KeyPart,)+ $last: KeyPart> KeyPart for ($($part,)+ $last) {
            fn encode_part(key: Self::Ref<'_>, out: &mut Vec<u8>) {
                $($part::encode_part(key.$index, out);)+
                $last::encode_part(key.$last_index, out);
            }

            fn decode_part<'a>(bytes: &mut &'a [u8]) -> Result<Self::Decoded<'a>> {
                Ok(($($part::decode_part(bytes)?,)+ $last::decode_part(bytes)?))
            }
        }
    };
}

tuple_key!(A 0, B 1);
tuple_key!(A 0 B 1, C 2);
tuple_key!(A 0 B 1 C 2, D 3);
