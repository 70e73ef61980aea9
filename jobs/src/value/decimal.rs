//! Exact decimal numbers.

use std::cmp::Ordering;
use std::fmt;

use super::{OrderedValue, Value, malformed};
use crate::copied_views::copied_views;
use crate::error::{Error, Result};
use crate::text::{self, shown};

/// Most digits after the point.
const SCALE_MAX: u8 = 28;

/// This many digits always fit a `u64`.
const FAST_DIGITS: usize = 18;

/// A decimal number of up to 36 digits, 28 of them after the point. Unlike sums of floats, sums of
/// decimals are exact, and so do not depend on the order of addition.
///
/// ```
/// use windrow_jobs::value::Decimal;
///
/// let sum = Decimal::parse(b"0.10")?.checked_add(Decimal::parse(b"-2e-1")?);
/// assert_eq!(sum.map(|sum| sum.to_string()), Some("-0.10".to_string()));
/// # Ok::<(), windrow_jobs::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Decimal(
    /// The number times ten to the power of its scale, with the scale in the lowest bits: one
    /// integer, so that numbers of one scale are added in one addition, and tables of sums stay
    /// small.
    i128,
);

const SCALE_BITS: u32 = 5;
const SCALE_MASK: i128 = (1 << SCALE_BITS) - 1;

impl Decimal {
    /// Zero, without digits after the point.
    pub const ZERO: Self = Self(0);

    /// The number `units * 10^-scale`; `None` if the scale is more than 28, or the units have more
    /// than 36 digits.
    pub fn new(units: i128, scale: u8) -> Option<Self> {
        let shifted = units << SCALE_BITS;
        (scale <= SCALE_MAX && shifted >> SCALE_BITS == units)
            .then_some(Self(shifted | i128::from(scale)))
    }

    #[inline]
    fn units(self) -> i128 {
        self.0 >> SCALE_BITS
    }

    #[inline]
    fn scale(self) -> u8 {
        (self.0 & SCALE_MASK) as u8
    }

    /// Parses a number such as `12`, `-0.50`, `.5` or `1.5e3`, perhaps with blanks around it.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self> {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.is_empty() || digits.len() > FAST_DIGITS {
            return parse_any(text);
        }
        let (mut units, mut scale, mut after_point) = (0_u64, 0_u8, 0_u8);
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                units = units * 10 + u64::from(digit);
                scale += after_point;
            } else if *byte == b'.' && after_point == 0 {
                after_point = 1;
            } else {
                return parse_any(text);
            }
        }
        if digits.len() == usize::from(after_point) {
            return Err(not_a_number(text));
        }
        let units = i128::from(units);
        let units = if digits.len() < text.len() { -units } else { units };
        Ok(Self(units << SCALE_BITS | i128::from(scale)))
    }

    /// The sum, with as many digits after the point as the more precise summand; `None` if it has
    /// more than 36 digits.
    #[inline]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.scale() == other.scale() {
            return self.0.checked_add(other.0 & !SCALE_MASK).map(Self);
        }
        let scale = self.scale().max(other.scale());
        Self::new(self.units_at(scale)?.checked_add(other.units_at(scale)?)?, scale)
    }

    /// The largest integer that, times `width`, is at most this number; `None` if `width` is not
    /// positive or the integer does not fit.
    pub fn checked_div_floor(self, width: Self) -> Option<i128> {
        let scale = self.scale().max(width.scale());
        let (units, width) = (self.units_at(scale)?, width.units_at(scale)?);
        (width > 0).then(|| units.div_euclid(width))
    }

    /// The product with `times`; `None` if it has more than 36 digits.
    pub fn checked_mul(self, times: i128) -> Option<Self> {
        Self::new(self.units().checked_mul(times)?, self.scale())
    }

    /// Whether it is less than zero.
    pub(crate) fn is_negative(self) -> bool {
        self.units() < 0
    }

    /// The largest exponent of a power of ten that is at most this number's absolute value; `None`
    /// for zero.
    pub(crate) fn log10_floor(self) -> Option<i32> {
        let digits = self.units().unsigned_abs().checked_ilog10()?;
        Some(digits as i32 - i32::from(self.scale()))
    }

    /// The largest exponent of a power of two that is at most this number's absolute value; `None`
    /// for zero.
    pub(crate) fn log2_floor(self) -> Option<i32> {
        let (units, unit) = (self.units().unsigned_abs(), 10_u128.pow(u32::from(self.scale())));
        // Once the smaller number has been shifted, both have the same number of bits, so 128 bits
        // suffice.
        let exponent = units.checked_ilog2()? as i32 - unit.ilog2() as i32;
        let is_less = match u32::try_from(exponent) {
            Ok(up) => units < unit << up,
            Err(_) => units << exponent.unsigned_abs() < unit,
        };
        Some(exponent - i32::from(is_less))
    }

    /// The nearest float, or its neighbour.
    pub fn to_f64(self) -> f64 {
        self.units() as f64 / 10_f64.powi(i32::from(self.scale()))
    }

    /// The units at a scale that is at least this number's.
    fn units_at(self, scale: u8) -> Option<i128> {
        self.units().checked_mul(10_i128.pow(u32::from(scale - self.scale())))
    }
}

/// Parses every number that [`Decimal::parse`] accepts.
#[cold]
fn parse_any(text: &[u8]) -> Result<Decimal> {
    let number = text.trim_ascii();
    let (number, exponent) = match number.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&number[..at], parse_exponent(&number[at + 1..])),
        None => (number, Some(0)),
    };
    let (negative, digits) = match number {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let (mut units, mut scale, mut any_digit, mut point) = (0_i128, 0_i32, false, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                let digit = i128::from(byte - b'0');
                let more = units.checked_mul(10).and_then(|units| units.checked_add(digit));
                units = more.ok_or_else(|| too_long(text))?;
                scale += i32::from(point);
                any_digit = true;
            }
            b'.' if !point => point = true,
            _ => return Err(not_a_number(text)),
        }
    }
    let (Some(exponent), true) = (exponent, any_digit) else { return Err(not_a_number(text)) };
    let units = if negative { -units } else { units };
    scaled(units, scale - exponent).ok_or_else(|| too_long(text))
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    // An exponent of more than six characters is out of range.
    let text = str::from_utf8(text).ok().filter(|text| text.len() <= 6)?;
    text.parse().ok()
}

/// `units * 10^-scale`, brought to a scale in range.
fn scaled(mut units: i128, mut scale: i32) -> Option<Decimal> {
    if units == 0 {
        scale = scale.clamp(0, i32::from(SCALE_MAX));
    }
    while scale > i32::from(SCALE_MAX) && units % 10 == 0 {
        (units, scale) = (units / 10, scale - 1);
    }
    if scale < 0 {
        units = units.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?;
        scale = 0;
    }
    Decimal::new(units, u8::try_from(scale).ok()?)
}

#[cold]
fn not_a_number(text: &[u8]) -> Error {
    Error::new(format!("'{}' is not a number", shown(text)))
}

#[cold]
fn too_long(text: &[u8]) -> Error {
    Error::new(format!(
        "'{}' has too many digits: 36 can be kept, {SCALE_MAX} of them after the point",
        shown(text)
    ))
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale());
        let digits = format!("{:0>width$}", self.units().unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.units() < 0 { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

impl Value for Decimal {
    type Ref<'a> = Self;
    type Decoded<'a> = Self;
    type Owned = Self;

    const IS_COPY: bool = true;

    fn encode(value: Self, out: &mut Vec<u8>) -> Result<()> {
        i128::encode(value.0, out)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let number = Self(i128::decode(bytes)?);
        if number.scale() <= SCALE_MAX { Ok(number) } else { Err(malformed::<Self>()) }
    }

    fn write_text(value: Self, out: &mut Vec<u8>) -> Result<()> {
        if value.scale() == 0 {
            text::write_integer(value.units(), out);
        } else {
            text::write_display(value, out);
        }
        Ok(())
    }

    copied_views!();
}

/// By value; among equal numbers, the one with fewer digits after the point comes first.
impl OrderedValue for Decimal {
    fn compare(a: Self, b: Self) -> Ordering {
        let scale = a.scale().max(b.scale());
        let by_value = match (a.units_at(scale), b.units_at(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Only one of the two is scaled up; if it overflows, it is the one farther from zero.
            (None, _) => a.units().cmp(&0),
            (_, None) => 0.cmp(&b.units()),
        };
        by_value.then(a.scale().cmp(&b.scale()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_parsed_as_people_write_them() {
        for (text, expected) in [
            ("7", "7"),
            ("-0", "0"),
            (" +0.50 ", "0.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-12345678901234567890.05", "-12345678901234567890.05"),
            ("1.5e3", "1500"),
            ("15E-4", "0.0015"),
            ("0e99", "0"),
            ("1000e-30", "0.0000000000000000000000000010"),
        ] {
            let number = Decimal::parse(text.as_bytes()).map(|number| number.to_string());
            assert!(
                number
                    .as_ref()
                    .is_ok_and(|n| n.trim_end_matches('0') == expected.trim_end_matches('0')
                        || n == expected),
                "{text}: {number:?}"
            );
        }
        for text in ["", "-", ".", "1.2.3", "1,5", "x", "--1", "1e", "e5", "1 2", "0x1", "NaN"] {
            let message = Decimal::parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(message, format!("'{text}' is not a number"));
        }
        for text in ["1e-29", "1e39", "123456789012345678901234567890123456789012"] {
            let message = Decimal::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains("too many digits"), "{message}");
        }
    }

    #[test]
    fn sums_that_do_not_fit_are_none() {
        let large = Decimal::new(i128::MAX >> SCALE_BITS, 0).unwrap();
        assert_eq!(large.checked_add(decimal("1")), None);
        assert_eq!(large.checked_add(decimal("0.1")), None);
        assert_eq!(Decimal::compare(large, decimal("0.1")), Ordering::Greater);
        assert_eq!(Decimal::compare(decimal("0.1"), large), Ordering::Less);
    }

    proptest! {
        #[test]
        fn decimals_behave_like_scaled_integers(a in -1_000_000..1_000_000_i64, b in -1_000_000..1_000_000_i64, scale in 0..5_u8) {
            let (x, y) = (Decimal::new(a.into(), scale).unwrap(), decimal(&b.to_string()));
            prop_assert_eq!(decimal(&x.to_string()), x);
            let factor = 10_i64.pow(scale.into());
            prop_assert_eq!(x.checked_add(y).unwrap().units(), i128::from(a + b * factor));
            prop_assert_eq!(Decimal::compare(x, y), a.cmp(&(b * factor)).then(scale.cmp(&0)));
            let mut bytes = Vec::new();
            Decimal::encode(x, &mut bytes).unwrap();
            prop_assert_eq!(Decimal::decode(&bytes).unwrap(), x);
            if b > 0 {
                let floor = x.checked_div_floor(y).unwrap();
                prop_assert_eq!(floor, i128::from(a.div_euclid(b * factor)));
            }
        }
    }
}
