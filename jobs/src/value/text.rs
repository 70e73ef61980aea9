//! Strings and bytes are their own encoding.

use super::{Value, malformed};
use crate::error::Result;

macro_rules! string_values {
    ($($value:ty: $view:ty, $owned:ty, |$bytes:ident| $decode:expr;)+) => {$(
        impl Value for $value {
            type Ref<'a> = &'a $view;
            type Decoded<'a> = &'a $view;
            type Owned = $owned;

            const IS_BYTES: bool = true;

            #[inline]
            fn encode(value: &$view, out: &mut Vec<u8>) -> Result<()> {
                out.extend_from_slice(value.as_ref());
                Ok(())
            }

            #[inline]
            fn encoded<'a, 'v: 'a>(
                value: &'v $view,
                _scratch: &'a mut Vec<u8>,
            ) -> Result<&'a [u8]> {
                Ok(value.as_ref())
            }

            #[inline]
            fn decode($bytes: &[u8]) -> Result<&$view> {
                $decode
            }

            #[inline]
            fn view<'a>(decoded: &'a &$view) -> &'a $view {
                decoded
            }

            fn view_owned(owned: &$owned) -> &$view {
                owned
            }

            fn own(value: &$view) -> $owned {
                value.into()
            }

            fn heap_bytes(owned: &$owned) -> usize {
                owned.capacity()
            }

            fn write_text(value: &$view, out: &mut Vec<u8>) -> Result<()> {
                out.extend_from_slice(value.as_ref());
                Ok(())
            }
        }
    )+};
}

string_values! {
    str: str, String, |bytes| utf8(bytes);
    String: str, String, |bytes| utf8(bytes);
    [u8]: [u8], Vec<u8>, |bytes| Ok(bytes);
    Vec<u8>: [u8], Vec<u8>, |bytes| Ok(bytes);
}

/// Long values are checked with vector instructions, short ones by the standard library.
#[inline]
fn utf8(bytes: &[u8]) -> Result<&str> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| malformed::<str>())
}
