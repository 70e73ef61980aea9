//! `word-count`: how often each word occurs.

use crate::input::{Chunk, RecordError, line_count};
use crate::mapper::map_each;
use crate::prelude::*;
use crate::scan;

/// Counts words, which are separated by ASCII whitespace and case-sensitive. Output:
/// `word<TAB>count`.
pub fn word_count() -> Job {
    Job::new("word-count", Words).about("Count how often each word occurs").combine(Sum).reduce(Sum)
}

struct Words;

impl Mapper for Words {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        for word in line.split_ascii_whitespace() {
            out.emit(word, 1)?;
        }
        Ok(())
    }

    /// Line ends are whitespace, too, so a whole chunk is split into words at once.
    fn map_chunk(
        &self,
        format: &Line,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<u64, RecordError> {
        let chunk = &chunk.without_mark();
        let Ok(text) = simdutf8::basic::from_utf8(chunk.bytes) else {
            return map_each(self, format, chunk, out);
        };
        scan::words(chunk.bytes, |word| {
            let position = chunk.position(word.start);
            out.emit(&text[word], 1).map_err(|error| RecordError::new(position, &error))
        })?;
        Ok(line_count(chunk.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_mapper_is_tested_with_a_vec() -> Result<()> {
        let mut out = Vec::new();
        Words.map("a b a", &mut out)?;
        assert_eq!(out, [("a".into(), 1), ("b".into(), 1), ("a".into(), 1)]);
        Ok(())
    }

    #[test]
    fn words_are_counted_over_files() {
        let inputs = [("a", "The hay,\tthe\u{c}hay\r\n\r\n"), ("b", "hay été hay\u{a0}x")];
        let text = testing::run(&word_count(), "{}", &inputs).unwrap();
        assert_eq!(text, "The\t1\nhay\t2\nhay,\t1\nhay\u{a0}x\t1\nthe\t1\nété\t1\n");
    }

    #[test]
    fn lines_are_counted_and_bad_ones_are_found() {
        let mut out: Vec<(String, u64)> = Vec::new();
        let mut records = |bytes: &[u8]| Words.map_chunk(&Line, &Chunk::new("a", bytes), &mut out);
        assert_eq!(records(b"a b\n\nc"), Ok(3));
        assert_eq!(records(b"a b\n\nc\n"), Ok(3));
        assert_eq!(records(b""), Ok(0));
        let error = records(b"a b\nc \xff\n").unwrap_err();
        assert_eq!(error.offset, 6);
    }

    #[test]
    fn no_words_no_lines() {
        assert_eq!(testing::run(&word_count(), "{}", &[("a", " \n\n")]).unwrap(), "");
    }
}
