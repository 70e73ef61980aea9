//! Counts words: your own mapper, with a ready combiner and reducer.
//!
//!     cargo run --release --example word_count -- run word-count --input '**/*.md' --output words

use std::process::ExitCode;

use windrow::prelude::*;

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
}

fn main() -> ExitCode {
    windrow::main([Job::new("word-count", Words).combine(Sum).reduce(Sum)])
}
