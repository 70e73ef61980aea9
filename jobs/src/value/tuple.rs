//! `()` and tuples of two to four values. Each part but the last is preceded by its length.

use super::{Value, malformed};
use crate::copied_views::copied_views;
use crate::error::Result;
use crate::varint;

impl Value for () {
    type Ref<'a> = ();
    type Decoded<'a> = ();
    type Owned = ();

    const HAS_TEXT: bool = false;
    const IS_COPY: bool = true;

    #[inline]
    fn encode((): (), _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() { Ok(()) } else { Err(malformed::<Self>()) }
    }

    fn write_text((): (), _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    copied_views!();
}

fn encode_part<V: Value>(value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    // One byte is reserved for the length of a short part, as most are; a longer length is
    // inserted.
    out.push(0);
    V::encode(value, out)?;
    let len = out.len() - start - 1;
    if len < 0x80 {
        out[start] = len as u8;
    } else {
        let mut prefix = Vec::new();
        varint::write(len as u64, &mut prefix);
        out.splice(start..=start, prefix);
    }
    Ok(())
}

fn decode_part<'a, V: Value>(bytes: &mut &'a [u8]) -> Result<V::Decoded<'a>> {
    let len = varint::read(bytes).and_then(|len| usize::try_from(len).ok());
    let (part, rest) =
        len.and_then(|len| bytes.split_at_checked(len)).ok_or_else(malformed::<V>)?;
    *bytes = rest;
    V::decode(part)
}

macro_rules! tuple_value {
    ($($part:ident $index:tt)+, $last:ident $last_index:tt) => {
        impl<$($part: Value,)+ $last: Value> Value for ($($part,)+ $last) {
            type Ref<'a> = ($($part::Ref<'a>,)+ $last::Ref<'a>);
            type Decoded<'a> = ($($part::Decoded<'a>,)+ $last::Decoded<'a>);
            type Owned = ($($part::Owned,)+ $last::Owned);

            const IS_COPY: bool = $($part::IS_COPY &&)+ $last::IS_COPY;

            fn encode(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
                $(encode_part::<$part>(value.$index, out)?;)+
                $last::encode(value.$last_index, out)
            }

            fn decode(mut bytes: &[u8]) -> Result<Self::Decoded<'_>> {
                Ok(($(decode_part::<$part>(&mut bytes)?,)+ $last::decode(bytes)?))
            }

            fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a> {
                ($($part::view(&decoded.$index),)+ $last::view(&decoded.$last_index))
            }

            fn view_owned(owned: &Self::Owned) -> Self::Ref<'_> {
                ($($part::view_owned(&owned.$index),)+ $last::view_owned(&owned.$last_index))
            }

            fn own(value: Self::Ref<'_>) -> Self::Owned {
                ($($part::own(value.$index),)+ $last::own(value.$last_index))
            }

            fn heap_bytes(owned: &Self::Owned) -> usize {
                $($part::heap_bytes(&owned.$index) +)+ $last::heap_bytes(&owned.$last_index)
            }

            /// Separated by tabs.
            fn write_text(value: Self::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
                $(
                    $part::write_text(value.$index, out)?;
                    out.push(b'\t');
                )+
                $last::write_text(value.$last_index, out)
            }
        }
    };
}

tuple_value!(A 0, B 1);
tuple_value!(A 0 B 1, C 2);
tuple_value!(A 0 B 1 C 2, D 3);
