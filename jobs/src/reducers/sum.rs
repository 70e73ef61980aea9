//! Sums of numbers.

use crate::combiner::Combiner;
use crate::emit::Emit;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::pairs::Values;
use crate::reducer::Reducer;
use crate::value::Decimal;

/// Adds up the values of a key.
///
/// A sum of integers that overflows its type is an error, never a wrong number. Partial sums can
/// overflow, too, so give large sums of both signs a wider type. A sum of floats depends on the
/// order of addition: as a reducer, `Sum` adds in a fixed order and so gives the same result each
/// time, but it cannot be the combiner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum;

macro_rules! integer_sums {
    ($($number:ident)+) => {$(
        impl Combiner<$number> for Sum {
            type Accumulator = $number;

            #[inline]
            fn start(&self, value: $number) -> Result<$number> {
                Ok(value)
            }

            #[inline]
            fn add(&self, sum: &mut $number, value: $number) -> Result<()> {
                match sum.checked_add(value) {
                    Some(more) => *sum = more,
                    None => return Err(overflow(stringify!($number))),
                }
                Ok(())
            }

            #[inline]
            fn finish(&self, sum: &$number) -> $number {
                *sum
            }
        }

        impl<K: Key + ?Sized> Reducer<K, $number> for Sum {
            type OutputKey = K;
            type OutputValue = $number;

            fn reduce(
                &self,
                key: K::Decoded<'_>,
                values: &mut Values<'_, $number>,
                out: &mut impl Emit<K, $number>,
            ) -> Result<()> {
                let mut sum = 0;
                while let Some(value) = values.next()? {
                    Combiner::<$number>::add(self, &mut sum, value)?;
                }
                out.emit(K::view(&key), sum)
            }
        }
    )+};
}

integer_sums!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl Combiner<Decimal> for Sum {
    type Accumulator = Decimal;

    #[inline]
    fn start(&self, value: Decimal) -> Result<Decimal> {
        Ok(value)
    }

    #[inline]
    fn add(&self, sum: &mut Decimal, value: Decimal) -> Result<()> {
        let more = sum.checked_add(value);
        *sum = more.ok_or_else(|| Error::new("the sum has more than 36 digits"))?;
        Ok(())
    }

    #[inline]
    fn finish(&self, sum: &Decimal) -> Decimal {
        *sum
    }
}

impl<K: Key + ?Sized> Reducer<K, Decimal> for Sum {
    type OutputKey = K;
    type OutputValue = Decimal;

    fn reduce(
        &self,
        key: K::Decoded<'_>,
        values: &mut Values<'_, Decimal>,
        out: &mut impl Emit<K, Decimal>,
    ) -> Result<()> {
        let mut sum = Decimal::ZERO;
        while let Some(value) = values.next()? {
            Combiner::<Decimal>::add(self, &mut sum, value)?;
        }
        out.emit(K::view(&key), sum)
    }
}

macro_rules! float_sums {
    ($($number:ident)+) => {$(
        impl<K: Key + ?Sized> Reducer<K, $number> for Sum {
            type OutputKey = K;
            type OutputValue = $number;

            fn reduce(
                &self,
                key: K::Decoded<'_>,
                values: &mut Values<'_, $number>,
                out: &mut impl Emit<K, $number>,
            ) -> Result<()> {
                let mut sum = 0.0;
                while let Some(value) = values.next()? {
                    sum += value;
                }
                out.emit(K::view(&key), sum)
            }
        }
    )+};
}

float_sums!(f32 f64);

#[cold]
fn overflow(number: &str) -> Error {
    Error::new(format!("the sum overflows {number}: emit a wider type"))
}
