//! Counts words, except those in a side file: a list that every worker reads besides its input.
//!
//!     cargo run --release --example stop_words -- run stop-words \
//!         --file stop-words=the.txt --input '**/*.md' --output words

use std::collections::HashSet;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use windrow::prelude::*;

struct Words {
    /// Words that are not counted.
    stop: HashSet<String>,
}

impl Mapper for Words {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        for word in line.split_ascii_whitespace().filter(|word| !self.stop.contains(*word)) {
            out.emit(word, 1)?;
        }
        Ok(())
    }
}

/// The job takes no parameters, but is built where it runs, so that each worker reads the list
/// once.
#[derive(clap::Args, Serialize, Deserialize)]
struct None {}

/// The job, by the name `stop-words`.
pub fn job() -> Job {
    Job::with_params("stop-words", |_: &None| {
        let list = std::fs::read_to_string(windrow::side_file("stop-words")?)?;
        let stop = list.split_ascii_whitespace().map(str::to_string).collect();
        Ok(Job::new("stop-words", Words { stop }).combine(Sum).reduce(Sum))
    })
}

#[allow(dead_code, reason = "a test includes this file for its job")]
fn main() -> ExitCode {
    windrow::main([job()])
}
