//! Numbers, `bool` and `char`.
//!
//! An integer is its little-endian bytes without trailing zeros, so that a small one, as most
//! counts are, takes one byte; its length is stored outside. Signed integers are zigzag-encoded
//! first (0, -1, 1, -2, ..).

use super::{Value, malformed};
use crate::copied_views::copied_views;
use crate::error::Result;
use crate::text;

macro_rules! integer_values {
    ($fold:ident, $unfold:ident: $($value:ident as $bits:ident),+) => {$(
        impl Value for $value {
            type Ref<'a> = $value;
            type Decoded<'a> = $value;
            type Owned = $value;

            const IS_COPY: bool = true;

            #[inline]
            fn encode(value: $value, out: &mut Vec<u8>) -> Result<()> {
                let bits = $fold!(value, $value, $bits);
                let len = size_of::<$bits>() - bits.leading_zeros() as usize / 8;
                out.extend_from_slice(&bits.to_le_bytes()[..len]);
                Ok(())
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<$value> {
                let mut digits = [0; size_of::<$bits>()];
                if bytes.len() > digits.len() || bytes.last() == Some(&0) {
                    return Err(malformed::<Self>());
                }
                digits[..bytes.len()].copy_from_slice(bytes);
                let bits = <$bits>::from_le_bytes(digits);
                Ok($unfold!(bits, $value, $bits))
            }

            fn write_text(value: $value, out: &mut Vec<u8>) -> Result<()> {
                text::write_integer(value, out);
                Ok(())
            }

            copied_views!();
        }
    )+};
}

macro_rules! same {
    ($number:expr, $value:ident, $bits:ident) => {
        $number
    };
}

macro_rules! zigzag {
    ($number:expr, $value:ident, $bits:ident) => {
        (($number << 1) ^ ($number >> ($value::BITS - 1))) as $bits
    };
}

macro_rules! unzigzag {
    ($number:expr, $value:ident, $bits:ident) => {
        ($number >> 1) as $value ^ -(($number & 1) as $value)
    };
}

integer_values!(same, same: u8 as u8, u16 as u16, u32 as u32, u64 as u64, u128 as u128);
integer_values!(zigzag, unzigzag: i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128);

macro_rules! float_values {
    ($($value:ty),+) => {$(
        impl Value for $value {
            type Ref<'a> = $value;
            type Decoded<'a> = $value;
            type Owned = $value;

            const IS_COPY: bool = true;

            #[inline]
            fn encode(value: $value, out: &mut Vec<u8>) -> Result<()> {
                out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<$value> {
                let bytes = bytes.try_into().map_err(|_| malformed::<Self>())?;
                Ok(<$value>::from_le_bytes(bytes))
            }

            /// The shortest decimal number that parses to the same float.
            fn write_text(value: $value, out: &mut Vec<u8>) -> Result<()> {
                text::write_display(value, out);
                Ok(())
            }

            copied_views!();
        }
    )+};
}

float_values!(f32, f64);

impl Value for bool {
    type Ref<'a> = bool;
    type Decoded<'a> = bool;
    type Owned = bool;

    const IS_COPY: bool = true;

    fn encode(value: bool, out: &mut Vec<u8>) -> Result<()> {
        out.push(u8::from(value));
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<bool> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(malformed::<Self>()),
        }
    }

    fn write_text(value: bool, out: &mut Vec<u8>) -> Result<()> {
        text::write_bool(value, out);
        Ok(())
    }

    copied_views!();
}

impl Value for char {
    type Ref<'a> = char;
    type Decoded<'a> = char;
    type Owned = char;

    const IS_COPY: bool = true;

    fn encode(value: char, out: &mut Vec<u8>) -> Result<()> {
        u32::encode(u32::from(value), out)
    }

    fn decode(bytes: &[u8]) -> Result<char> {
        u32::decode(bytes).ok().and_then(char::from_u32).ok_or_else(malformed::<Self>)
    }

    fn write_text(value: char, out: &mut Vec<u8>) -> Result<()> {
        text::write_char(value, out);
        Ok(())
    }

    copied_views!();
}
