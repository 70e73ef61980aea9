//! Encodes numbers of any length as bytes that sort like the numbers.
//!
//! ```text
//! zero       80
//! positive   (81..ff: number of digits before the point) (two digits a byte, 1 added) 00
//! negative   the complement of its absolute value
//! ```

/// Encodes zero, between all negative and all positive numbers.
const ZERO: u8 = 0x80;
/// The first byte of a positive number with no digit before the point and no zero right after it.
const EXPONENT_BIAS: i64 = 0xa0;
/// First bytes after which the full exponent follows.
const SMALL: u8 = 0x81;
const LARGE: u8 = 0xff;

/// Appends the number at the start of `text`, after blanks: `-`, digits, a point, digits. A text
/// without digits counts as zero, as in `sort -n`.
pub(in crate::ready) fn write(text: &[u8], out: &mut Vec<u8>) {
    let text = text.trim_ascii_start();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (whole, rest) = digits(text);
    let fraction = match rest {
        [b'.', rest @ ..] => digits(rest).0,
        _ => &[],
    };
    let start = out.len();
    write_absolute(whole, fraction, out);
    if negative && out[start] != ZERO {
        super::inverted::invert(&mut out[start..]);
    }
}

/// Splits `text` after its leading digits.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

fn write_absolute(whole: &[u8], fraction: &[u8], out: &mut Vec<u8>) {
    let whole = &whole[leading_zeros(whole)..];
    let trailing_zeros = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
    let fraction = &fraction[..fraction.len() - trailing_zeros];
    let (exponent, fraction) = if whole.is_empty() {
        let zeros = leading_zeros(fraction);
        (-(zeros as i64), &fraction[zeros..])
    } else {
        (whole.len() as i64, fraction)
    };
    if whole.is_empty() && fraction.is_empty() {
        return out.push(ZERO);
    }
    write_exponent(exponent, out);
    // Trailing zeros do not change the number.
    let whole_len = if fraction.is_empty() {
        whole.len() - whole.iter().rev().take_while(|digit| **digit == b'0').count()
    } else {
        whole.len()
    };
    write_digits(whole[..whole_len].iter().chain(fraction), out);
}

fn leading_zeros(digits: &[u8]) -> usize {
    digits.iter().take_while(|digit| **digit == b'0').count()
}

/// More digits before the point, or fewer zeros after it, make a larger number.
fn write_exponent(exponent: i64, out: &mut Vec<u8>) {
    match u8::try_from(exponent + EXPONENT_BIAS) {
        Ok(byte @ 0x82..=0xfe) => out.push(byte),
        _ => {
            out.push(if exponent < 0 { SMALL } else { LARGE });
            out.extend_from_slice(&((exponent as u64) ^ (1 << 63)).to_be_bytes());
        }
    }
}

fn write_digits<'a>(mut digits: impl Iterator<Item = &'a u8>, out: &mut Vec<u8>) {
    while let Some(tens) = digits.next() {
        let units = digits.next().unwrap_or(&b'0');
        out.push((tens - b'0') * 10 + (units - b'0') + 1);
    }
    out.push(0);
}

/// Size of the encoded number at the start of `bytes`, which may be complemented.
pub(in crate::ready) fn len(bytes: &[u8]) -> usize {
    let Some(&first) = bytes.first() else { return 0 };
    if first == ZERO || first == !ZERO {
        return 1;
    }
    let (absolute, end) = if first > ZERO { (first, 0) } else { (!first, 0xff) };
    let digits = if matches!(absolute, SMALL | LARGE) { 9 } else { 1 };
    let rest = bytes.get(digits..).unwrap_or_default();
    rest.iter().position(|byte| *byte == end).map_or(bytes.len(), |at| digits + at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(text.as_bytes(), &mut bytes);
        bytes
    }

    #[test]
    fn bytes_sort_like_numbers() {
        let long = format!("1{}", "0".repeat(200));
        let tiny = format!("0.{}1", "0".repeat(200));
        let ascending = [
            &*format!("-{long}"),
            "-1000",
            "-999.5",
            "-20",
            "-19.99",
            "-2",
            "-0.5",
            "-0.05",
            &format!("-{tiny}"),
            "0",
            &tiny,
            "0.001",
            "0.01",
            "0.5",
            "0.51",
            "1",
            "1.5",
            "2",
            "10",
            "19",
            "20",
            "100",
            "101",
            "101.0000001",
            "12345678901234567890123",
            &long,
            &format!("{long}1"),
        ];
        for pair in ascending.windows(2) {
            assert!(encoded(pair[0]) < encoded(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_bytes() {
        for (a, b) in [
            ("007", "7.0"),
            ("-0", ""),
            ("  12abc", "12"),
            ("-.50", "-0.5"),
            ("x1", "0"),
            ("1e3", "1"),
        ] {
            assert_eq!(encoded(a), encoded(b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn bytes_sort_like_integers_of_any_scale(a in -10_000..10_000_i64, b in -10_000..10_000_i64, scale in 0..6_u32) {
            let text = |n: i64| format!("{}{}.{:0width$}", if n < 0 { "-" } else { "" },
                n.abs() / 10_i64.pow(scale), n.abs() % 10_i64.pow(scale), width = scale as usize);
            let (x, y) = (encoded(&text(a)), encoded(&text(b)));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            // No encoding is a prefix of another.
            prop_assert!(a == b || !y.starts_with(&x));
            prop_assert_eq!(len(&[&x[..], b"\x00rest\xff"].concat()), x.len());
            let complement: Vec<_> = x.iter().map(|byte| !byte).chain(*b"\x00\xff").collect();
            prop_assert_eq!(len(&complement), x.len());
        }
    }
}
