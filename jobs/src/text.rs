//! Writes numbers and other values as text, and escapes foreign text for messages.

use std::fmt::Display;
use std::io::Write;

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

/// `bytes` for a message: control characters and invalid bytes are escaped, and a long text is
/// truncated.
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

    #[test]
    fn shown_text_is_escaped_and_short() {
        assert_eq!(shown(b"a\tb\x1b[2J\xff\\ \xc3\xa9"), "a\\tb\\u{1b}[2J\\xff\\\\ é");
        let long = shown(&[b'x'; 1000]);
        assert_eq!(long.chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
