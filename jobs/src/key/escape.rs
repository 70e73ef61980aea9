//! Byte strings that delimit themselves and keep their order, for parts of tuples before the last.
//!
//! A zero byte becomes `00 FF`, and `00 01` ends the string. So a string sorts before every longer
//! string that starts with it.

use std::borrow::Cow;

use memchr::memchr;

const ZERO: u8 = 0x00;
const ESCAPED: u8 = 0xff;
const END: u8 = 0x01;

/// Appends `bytes`, escaped, and the end.
pub(super) fn write(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(ZERO, bytes) {
        out.extend_from_slice(&bytes[..=at]);
        out.push(ESCAPED);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
    out.extend_from_slice(&[ZERO, END]);
}

/// Takes one string from the start of `bytes`; `None` if it has no end. Borrowed unless a byte was
/// escaped.
pub(super) fn read<'a>(bytes: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let mut string = Cow::Borrowed(&[][..]);
    loop {
        let at = memchr(ZERO, bytes)?;
        let mark = *bytes.get(at + 1)?;
        // An escaped zero byte belongs to the string.
        let piece = if mark == ESCAPED { &bytes[..=at] } else { &bytes[..at] };
        if string.is_empty() {
            string = Cow::Borrowed(piece);
        } else {
            string.to_mut().extend_from_slice(piece);
        }
        *bytes = &bytes[at + 2..];
        match mark {
            END => return Some(string),
            ESCAPED => {}
            _ => return None,
        }
    }
}
