//! LEB128: numbers of seven bits a byte, low bits first, for lengths in values and in blocks of the
//! shuffle.

/// Most bytes of an encoded number.
const LEN_MAX: usize = u64::BITS.div_ceil(7) as usize;

/// Appends `number`.
#[inline]
pub fn write(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`write`] appends for `number`.
#[inline]
pub(crate) fn len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Takes a number from the start of `bytes`; `None` if it is truncated, too large, or not in its
/// shortest form.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Option<u64> {
    match *bytes {
        [digit, rest @ ..] if *digit < 0x80 => {
            *bytes = rest;
            Some(u64::from(*digit))
        }
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &mut &[u8]) -> Option<u64> {
    let len = 1 + bytes.iter().take(LEN_MAX).position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = bytes.split_at(len);
    let last = digits[len - 1];
    if (last == 0 && len > 1) || (len == LEN_MAX && last > 1) {
        return None;
    }
    *bytes = rest;
    Some(digits.iter().rev().fold(0, |number, digit| number << 7 | u64::from(digit & 0x7f)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write(number, &mut out);
        out
    }

    proptest! {
        #[test]
        fn round_trip(number: u64, shift in 0..64_u32, rest: Vec<u8>) {
            let number = number >> shift;
            prop_assert_eq!(encoded(number).len(), len(number));
            let bytes = [encoded(number), rest.clone()].concat();
            let mut left = &bytes[..];
            prop_assert_eq!(read(&mut left), Some(number));
            prop_assert_eq!(left, &rest[..]);
        }

        #[test]
        fn foreign_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut left = &bytes[..];
            if let Some(number) = read(&mut left) {
                prop_assert_eq!(&encoded(number)[..], &bytes[..bytes.len() - left.len()]);
            }
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(encoded(u64::MAX).len(), LEN_MAX);
        assert_eq!(read(&mut &encoded(u64::MAX)[..]), Some(u64::MAX));
        assert_eq!(read(&mut &[0xff; 11][..]), None);
        assert_eq!(read(&mut &[0x80, 0x00][..]), None);
    }
}
