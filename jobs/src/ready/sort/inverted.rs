//! Byte strings that sort in descending order: the encoding of [`Reverse`](std::cmp::Reverse), with
//! a decoder that copies no more than it must.

use memchr::memchr;

use crate::key::KeyPart;

/// The complement of the zero byte, which escapes and ends a string.
const MARK: u8 = !0x00;
/// After a mark: a zero byte of the string.
const ESCAPED: u8 = !0xff;

/// Appends `bytes` as a self-delimiting string, in ascending order.
pub(super) fn write_ascending(bytes: &[u8], out: &mut Vec<u8>) {
    <Vec<u8> as KeyPart>::encode_part(bytes, out);
}

/// Appends `bytes` as a self-delimiting string, in descending order.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    write_ascending(bytes, out);
    invert(&mut out[start..]);
}

/// Appends the bytes that [`write`] has encoded.
pub(super) fn read(mut inverted: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(MARK, inverted) {
        extend(&inverted[..at], out);
        if inverted.get(at + 1) != Some(&ESCAPED) {
            return;
        }
        out.push(0);
        inverted = &inverted[at + 2..];
    }
}

/// Appends the complement of every byte.
pub(super) fn extend(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().map(|byte| !byte));
}

/// Complements every byte.
pub(super) fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}
