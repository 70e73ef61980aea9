//! Text outputs, which write each pair by itself.

use super::{Output, PartInfo, SectionEncoder};
use crate::error::Result;
use crate::key::Key;
use crate::value::Value;

/// An [`Output`] with one function, which writes each pair by itself. It is cloned for each thread
/// and part, so large data in it belongs in an `Arc`.
///
/// ```
/// use windrow_jobs::prelude::*;
/// use windrow_jobs::testing;
///
/// /// `key=value`, and the names of the columns at the start of each part.
/// #[derive(Clone)]
/// struct Equations;
///
/// impl TextOutput<str, u64> for Equations {
///     fn write(&self, key: &str, value: u64, out: &mut Vec<u8>) -> Result<()> {
///         out.extend_from_slice(format!("{key}={value}\n").as_bytes());
///         Ok(())
///     }
///
///     // Only where there is a header.
///     fn write_header(&self, out: &mut Vec<u8>) {
///         out.extend_from_slice(b"word=count\n");
///     }
/// }
/// # struct Words;
/// # impl Mapper for Words {
/// #     type Input = Line;
/// #     type Key = str;
/// #     type Value = u64;
/// #     fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
/// #         line.split_ascii_whitespace().try_for_each(|word| out.emit(word, 1))
/// #     }
/// # }
///
/// let job = Job::new("word-count", Words).output(Equations).reduce(Sum);
/// assert_eq!(testing::run(&job, "{}", &[("a", "hay oats hay")])?, "word=count\nhay=2\noats=1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub trait TextOutput<K: Key + ?Sized, V: Value + ?Sized>: Clone + Send + Sync + 'static {
    /// Appends the pair to `out`. After an error `out` must be as before.
    fn write(&self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()>;

    /// The extension of part names, as in [`Output::extension`]; by default empty.
    fn extension(&self) -> &str {
        ""
    }

    /// Appends the header of each part; by default empty.
    fn write_header(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
}

/// A section of a [`TextOutput`]: a sequence of pairs.
#[derive(Clone, Debug)]
pub struct TextSection<O>(O);

impl<K: Key + ?Sized, V: Value + ?Sized, O: TextOutput<K, V>> Output<K, V> for O {
    type Part = ();
    type Section = TextSection<O>;

    fn begin(&self, _part: PartInfo, out: &mut Vec<u8>) -> Result<()> {
        self.write_header(out);
        Ok(())
    }

    fn extension(&self) -> &str {
        TextOutput::<K, V>::extension(self)
    }

    fn section(&self) -> TextSection<O> {
        TextSection(self.clone())
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, O: TextOutput<K, V>> SectionEncoder<K, V>
    for TextSection<O>
{
    type Summary = ();
    type Mark = ();

    #[inline]
    fn write(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.0.write(key, value, out)
    }

    fn mark(&mut self) {}

    fn undo(&mut self, (): ()) {}

    fn finish(self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// A line for each pair, `key TAB value LF`; the default. If key or value has no text, as `()`,
/// there is no tab either. Text is written as it is: tabs and line breaks in it are not escaped.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextLines;

/// The text of key and value without separators: for binary records, whose key and value are bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Concatenated;

/// A line with the text of the value: for keys that only sort or group.
#[derive(Clone, Copy, Debug, Default)]
pub struct ValueLines;

impl<K: Key + ?Sized, V: Value + ?Sized> TextOutput<K, V> for TextLines {
    #[inline]
    fn write(&self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        K::write_text(key, out);
        if K::HAS_TEXT && V::HAS_TEXT {
            out.push(b'\t');
        }
        V::write_text(value, out).inspect_err(|_| out.truncate(start))?;
        out.push(b'\n');
        Ok(())
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> TextOutput<K, V> for Concatenated {
    #[inline]
    fn write(&self, key: K::Ref<'_>, value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        K::write_text(key, out);
        V::write_text(value, out).inspect_err(|_| out.truncate(start))
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> TextOutput<K, V> for ValueLines {
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
    fn each_output_writes_its_own_text() {
        let mut out = Vec::new();
        TextOutput::<[u8], [u8]>::write(&TextLines, b"k", b"v", &mut out).unwrap();
        TextOutput::<[u8], [u8]>::write(&Concatenated, b"k", b"v", &mut out).unwrap();
        TextOutput::<[u8], [u8]>::write(&ValueLines, b"k", b"v", &mut out).unwrap();
        assert_eq!(out, b"k\tv\nkvv\n");
    }

    fn line<K: Key + ?Sized, V: Value + ?Sized>(key: K::Ref<'_>, value: V::Ref<'_>) -> String {
        let mut out = Vec::new();
        TextOutput::<K, V>::write(&TextLines, key, value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pair_is_a_line() {
        assert_eq!(line::<str, u64>("a", 7), "a\t7\n");
        assert_eq!(line::<(String, i8), (f64, bool)>(("a", -1), (0.5, true)), "a\t-1\t0.5\ttrue\n");
    }

    #[test]
    fn unit_has_no_tab() {
        assert_eq!(line::<str, ()>("a", ()), "a\n");
        assert_eq!(line::<(), str>((), "a"), "a\n");
        assert_eq!(line::<str, str>("a", ""), "a\t\n");
    }
}
