//! Values that can be compared, for reducers that choose among them.

use std::cmp::Ordering;

use super::Value;

/// A value with a total order. Floats have the total order of IEEE 754 (`total_cmp`): NaN after
/// infinity.
pub trait OrderedValue: Value {
    /// Compares two values.
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering;
}

macro_rules! ordered {
    ($($value:ty),+) => {$(
        impl OrderedValue for $value {
            #[inline]
            fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering {
                a.cmp(&b)
            }
        }
    )+};
}

ordered!((), u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, bool, char);

macro_rules! ordered_strings {
    ($($value:ty: $view:ty),+) => {$(
        impl OrderedValue for $value {
            #[inline]
            fn compare(a: &$view, b: &$view) -> Ordering {
                a.cmp(b)
            }
        }
    )+};
}

ordered_strings!(str: str, String: str, [u8]: [u8], Vec<u8>: [u8]);

macro_rules! ordered_floats {
    ($($value:ty),+) => {$(
        impl OrderedValue for $value {
            #[inline]
            fn compare(a: $value, b: $value) -> Ordering {
                a.total_cmp(&b)
            }
        }
    )+};
}

ordered_floats!(f32, f64);

impl<V: OrderedValue> OrderedValue for Option<V> {
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => V::compare(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

macro_rules! ordered_tuple {
    ($first:ident 0 $(, $part:ident $index:tt)+) => {
        impl<$first: OrderedValue $(, $part: OrderedValue)+> OrderedValue for ($first $(, $part)+) {
            fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering {
                $first::compare(a.0, b.0)$(.then_with(|| $part::compare(a.$index, b.$index)))+
            }
        }
    };
}

ordered_tuple!(A 0, B 1);
ordered_tuple!(A 0, B 1, C 2);
ordered_tuple!(A 0, B 1, C 2, D 3);
