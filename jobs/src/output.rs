//! How pairs become the bytes of a part.

use crate::error::Result;
use crate::key::Key;
use crate::text;
use crate::value::Value;

/// Writes one pair of a job's output.
pub trait Output<K: Key + ?Sized, V: Value + ?Sized>: Send + Sync + 'static {
    /// Appends the pair to `out`. After an error `out` must be as it was.
    fn write(&self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;
}

/// A line for each pair, `key TAB value LF`; the default. A side that has no text, such as `()`,
/// takes its tab along.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextLines;

/// The text of key and value with nothing between or after: for binary records, whose key and value
/// are bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Concatenated;

/// The text of the value alone, as a line: for keys that only sort or group.
#[derive(Clone, Copy, Debug, Default)]
pub struct ValueLines;

impl<K: Key + ?Sized, V: Value + ?Sized> Output<K, V> for TextLines {
    #[inline]
    fn write(&self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        text::write_pair::<K, V>(key, value, out)
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> Output<K, V> for Concatenated {
    #[inline]
    fn write(&self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        K::write_text(key, out);
        V::write_text(value, out).inspect_err(|_| out.truncate(start))
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> Output<K, V> for ValueLines {
    #[inline]
    fn write(&self, _key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        V::write_text(value, out).inspect_err(|_| out.truncate(start))?;
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_writes_its_own_way() {
        let mut out = Vec::new();
        Output::<[u8], [u8]>::write(&TextLines, b"k", b"v", &mut out).unwrap();
        Output::<[u8], [u8]>::write(&Concatenated, b"k", b"v", &mut out).unwrap();
        Output::<[u8], [u8]>::write(&ValueLines, b"k", b"v", &mut out).unwrap();
        assert_eq!(out, b"k\tv\nkvv\n");
    }
}
