//! Strings and bytes: their own encoding when alone or last, escaped before another part.

use std::borrow::Cow;

use super::{Key, KeyPart, escape, malformed};
use crate::error::Result;

/// Shared by sized and unsized keys of strings.
macro_rules! string_key {
    ($view:ty, $owned:ty, $decoded:ty, |$bytes:ident| $decode:expr) => {
        type Ref<'a> = &'a $view;
        type Decoded<'a> = $decoded;
        type Owned = $owned;

        #[inline]
        fn encode(key: &$view, out: &mut Vec<u8>) {
            out.extend_from_slice(key.as_ref());
        }

        #[inline]
        fn encoded<'a, 'k: 'a>(key: &'k $view, _scratch: &'a mut Vec<u8>) -> &'a [u8] {
            key.as_ref()
        }

        #[inline]
        fn decode($bytes: &[u8]) -> Result<Self::Decoded<'_>> {
            $decode
        }

        #[inline]
        fn view<'a>(decoded: &'a Self::Decoded<'_>) -> &'a $view {
            decoded
        }

        fn view_owned(owned: &$owned) -> &$view {
            owned
        }

        fn own(key: &$view) -> $owned {
            key.into()
        }

        fn write_text(key: &$view, out: &mut Vec<u8>) {
            out.extend_from_slice(key.as_ref());
        }
    };
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes).map_err(|_| malformed::<str>())
}

impl Key for str {
    string_key!(str, String, &'a str, |bytes| utf8(bytes));
}

impl Key for String {
    string_key!(str, String, Cow<'a, str>, |bytes| utf8(bytes).map(Cow::Borrowed));
}

impl Key for [u8] {
    string_key!([u8], Vec<u8>, &'a [u8], |bytes| Ok(bytes));
}

impl Key for Vec<u8> {
    string_key!([u8], Vec<u8>, Cow<'a, [u8]>, |bytes| Ok(Cow::Borrowed(bytes)));
}

impl KeyPart for String {
    fn encode_part(key: &str, out: &mut Vec<u8>) {
        escape::write(key.as_bytes(), out);
    }

    fn decode_part<'a>(bytes: &mut &'a [u8]) -> Result<Cow<'a, str>> {
        match escape::read(bytes).ok_or_else(malformed::<Self>)? {
            Cow::Borrowed(bytes) => utf8(bytes).map(Cow::Borrowed),
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map(Cow::Owned).map_err(|_| malformed::<Self>())
            }
        }
    }
}

impl KeyPart for Vec<u8> {
    fn encode_part(key: &[u8], out: &mut Vec<u8>) {
        escape::write(key, out);
    }

    fn decode_part<'a>(bytes: &mut &'a [u8]) -> Result<Cow<'a, [u8]>> {
        escape::read(bytes).ok_or_else(malformed::<Self>)
    }
}
