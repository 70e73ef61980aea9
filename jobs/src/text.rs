//! Text output: how pairs become lines, and how foreign text is made fit to be shown.

use std::fmt::Display;
use std::io::Write;

use crate::error::Result;
use crate::key::Key;
use crate::value::Value;

/// Appends the pair as one line: `key TAB value LF`. A side that has no text, such as `()`, takes
/// its tab along. On error nothing is appended.
pub(crate) fn write_pair<K, V>(key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
{
    let start = out.len();
    K::write_text(key, out);
    if K::HAS_TEXT && V::HAS_TEXT {
        out.push(b'\t');
    }
    if let Err(error) = V::write_text(value, out) {
        out.truncate(start);
        return Err(error);
    }
    out.push(b'\n');
    Ok(())
}

pub(crate) fn write_integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(crate) fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(crate) fn write_char(value: char, out: &mut Vec<u8>) {
    out.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
}

pub(crate) fn write_display(value: impl Display, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail.
    let _ = write!(out, "{value}");
}

/// Most characters of foreign text that a message shows.
pub(crate) const SHOWN_CHARS_MAX: usize = 100;

/// `bytes` for a message: control characters and invalid bytes escaped, a long rest cut off.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let escaped = bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|char| {
            if char.is_control() || char == '\\' {
                char.escape_default().to_string()
            } else {
                char.to_string()
            }
        });
        valid.chain(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")))
    });
    let mut text = String::new();
    for (count, piece) in escaped.enumerate() {
        if count == SHOWN_CHARS_MAX {
            text.push('…');
            break;
        }
        text.push_str(&piece);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<K: Key + ?Sized, V: Value + ?Sized>(key: K::Ref<'_>, value: V::Ref<'_>) -> String {
        let mut out = Vec::new();
        write_pair::<K, V>(key, value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pair_is_a_line() {
        assert_eq!(line::<str, u64>("a", 7), "a\t7\n");
        assert_eq!(line::<(String, i8), (f64, bool)>(("a", -1), (0.5, true)), "a\t-1\t0.5\ttrue\n");
    }

    #[test]
    fn unit_takes_its_tab_along() {
        assert_eq!(line::<str, ()>("a", ()), "a\n");
        assert_eq!(line::<(), str>((), "a"), "a\n");
        assert_eq!(line::<str, str>("a", ""), "a\t\n");
    }

    #[test]
    fn shown_text_is_escaped_and_short() {
        assert_eq!(shown(b"a\tb\x1b[2J\xff\\ \xc3\xa9"), "a\\tb\\u{1b}[2J\\xff\\\\ é");
        let long = shown(&[b'x'; 1000]);
        assert_eq!(long.chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
