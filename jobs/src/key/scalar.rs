//! Integers, `bool` and `char`: big endian, with the sign bit flipped so that negative numbers come
//! first.

use super::{Key, KeyPart, decode_whole, malformed};
use crate::copied_views::copied_views;
use crate::error::Result;
use crate::text;

macro_rules! integer_keys {
    ($($key:ty as $bits:ty),+) => {$(
        impl Key for $key {
            type Ref<'a> = $key;
            type Decoded<'a> = $key;
            type Owned = $key;

            #[inline]
            fn encode(key: $key, out: &mut Vec<u8>) {
                // The smallest value is zero for unsigned types and the sign bit for signed ones.
                out.extend_from_slice(&((key ^ <$key>::MIN) as $bits).to_be_bytes());
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<$key> {
                decode_whole::<Self>(bytes)
            }

            fn write_text(key: $key, out: &mut Vec<u8>) {
                text::write_integer(key, out);
            }

            copied_views!();
        }

        impl KeyPart for $key {
            #[inline]
            fn encode_part(key: $key, out: &mut Vec<u8>) {
                Self::encode(key, out);
            }

            #[inline]
            fn decode_part(bytes: &mut &[u8]) -> Result<$key> {
                let (number, rest) = bytes.split_first_chunk().ok_or_else(malformed::<Self>)?;
                *bytes = rest;
                Ok(<$bits>::from_be_bytes(*number) as $key ^ <$key>::MIN)
            }
        }
    )+};
}

integer_keys!(
    u8 as u8,
    u16 as u16,
    u32 as u32,
    u64 as u64,
    u128 as u128,
    i8 as u8,
    i16 as u16,
    i32 as u32,
    i64 as u64,
    i128 as u128
);

impl Key for bool {
    type Ref<'a> = bool;
    type Decoded<'a> = bool;
    type Owned = bool;

    fn encode(key: bool, out: &mut Vec<u8>) {
        out.push(u8::from(key));
    }

    fn decode(bytes: &[u8]) -> Result<bool> {
        decode_whole::<Self>(bytes)
    }

    fn write_text(key: bool, out: &mut Vec<u8>) {
        text::write_bool(key, out);
    }

    copied_views!();
}

impl KeyPart for bool {
    fn encode_part(key: bool, out: &mut Vec<u8>) {
        Self::encode(key, out);
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<bool> {
        match u8::decode_part(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed::<Self>()),
        }
    }
}

impl Key for char {
    type Ref<'a> = char;
    type Decoded<'a> = char;
    type Owned = char;

    fn encode(key: char, out: &mut Vec<u8>) {
        u32::encode(u32::from(key), out);
    }

    fn decode(bytes: &[u8]) -> Result<char> {
        decode_whole::<Self>(bytes)
    }

    fn write_text(key: char, out: &mut Vec<u8>) {
        text::write_char(key, out);
    }

    copied_views!();
}

impl KeyPart for char {
    fn encode_part(key: char, out: &mut Vec<u8>) {
        Self::encode(key, out);
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<char> {
        char::from_u32(u32::decode_part(bytes)?).ok_or_else(malformed::<Self>)
    }
}
