//! `n-grams`: how often each run of n words occurs.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::input::{Chunk, Format, RecordError};
use crate::prelude::*;

/// Counts runs of n words within lines. Words are those of `word-count`; in the output,
/// `n-gram<TAB>count`, there is one space between them.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run n-grams --size 2 ..
/// let file = ("a.txt", "make hay\nmake hay while\n");
/// let text = testing::run(&ready::n_grams(), r#"{"size":2}"#, &[file])?;
/// assert_eq!(text, "hay while\t1\nmake hay\t2\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn n_grams() -> Job {
    Job::with_params("n-grams", |params: &Params| {
        Ok(Job::new("n-grams", Grams { size: params.size }).combine(Sum).reduce(Sum))
    })
    .with_about("Count how often each run of n words occurs")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Words in a run
    #[arg(long, value_name = "N", default_value = "2", value_parser = super::positive)]
    size: NonZeroUsize,
}

struct Grams {
    size: NonZeroUsize,
}

/// A line with one space between words; its memory is reused from line to line.
#[derive(Default)]
struct Words {
    text: String,
    /// The range of each word in the text.
    bounds: Vec<(usize, usize)>,
}

impl Words {
    fn read(&mut self, line: &str) {
        self.text.clear();
        self.bounds.clear();
        for word in line.split_ascii_whitespace() {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            let start = self.text.len();
            self.text.push_str(word);
            self.bounds.push((start, self.text.len()));
        }
    }

    fn grams(&self, size: NonZeroUsize) -> impl Iterator<Item = &str> {
        let ends = self.bounds.iter().skip(size.get() - 1);
        self.bounds.iter().zip(ends).map(|((start, _), (_, end))| &self.text[*start..*end])
    }
}

impl Mapper for Grams {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        let mut words = Words::default();
        words.read(line);
        words.grams(self.size).try_for_each(|gram| out.emit(gram, 1))
    }

    fn map_chunk(
        &self,
        format: &Line,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<u64, RecordError> {
        let (mut words, mut records) = (Words::default(), 0);
        format.for_each(chunk, |position, line| {
            records += 1;
            chunk.visit(position.offset);
            words.read(line);
            let mut grams = words.grams(self.size);
            grams.try_for_each(|gram| out.emit(gram, 1)).map_err(|error| position.error(&error))
        })?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    #[test]
    fn runs_do_not_cross_lines() {
        let files = [("a", " a  b\ta b\r\n\nb a\n"), ("b", "a\nb")];
        assert_eq!(run(&n_grams(), &[], &files), "a b\t2\nb a\t2\n");
        assert_eq!(run(&n_grams(), &["--size", "1"], &files), "a\t4\nb\t4\n");
        assert_eq!(run(&n_grams(), &["--size", "4"], &files), "a b a b\t1\n");
    }
}
