//! The loop: takes an input, mutates it, tries it, and keeps it if it ran new code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use windrow_jobs::fuzzing::Target;

use crate::coverage::Coverage;
use crate::heap::peak_bytes;
use crate::mutate::{INPUT_BYTES_MAX, mutate};
use crate::random::Random;

/// An input on which its target fails.
#[derive(Debug)]
pub struct Found {
    /// The input.
    pub input: Vec<u8>,
    /// What went wrong.
    pub message: String,
}

/// The progress of a fuzzer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Inputs tried.
    pub tries: u64,
    /// Inputs kept for mutation.
    pub kept: usize,
    /// Branches covered; 0 in a build without counters.
    pub branches: usize,
}

/// Tries inputs on one target.
pub struct Fuzzer {
    target: Target,
    random: Random,
    corpus: Vec<Vec<u8>>,
    coverage: Coverage,
    tries: u64,
}

impl Fuzzer {
    /// Starts from the target's own seeds; deterministic for a `seed`.
    pub fn new(target: Target, seed: u64) -> Self {
        let mut corpus = (target.seeds)();
        corpus.push(Vec::new());
        corpus.iter_mut().for_each(|input| input.truncate(INPUT_BYTES_MAX));
        Self { target, random: Random::new(seed), corpus, coverage: Coverage::default(), tries: 0 }
    }

    /// Tries the seeds, unchanged.
    ///
    /// # Errors
    /// The first input on which the target fails.
    pub fn try_seeds(&mut self) -> Result<(), Found> {
        for input in self.corpus.clone() {
            self.try_new(input)?;
        }
        Ok(())
    }

    /// Tries this many more inputs.
    ///
    /// # Errors
    /// The first input on which the target fails.
    pub fn run(&mut self, tries: u64) -> Result<(), Found> {
        for _ in 0..tries {
            let mut input = self.any_input().clone();
            let other = self.any_input().clone();
            mutate(&mut self.random, &mut input, &other);
            self.try_new(input)?;
        }
        Ok(())
    }

    /// Its progress.
    pub fn progress(&self) -> Progress {
        let (tries, kept) = (self.tries, self.corpus.len());
        Progress { tries, kept, branches: self.coverage.branches() }
    }

    fn any_input(&mut self) -> &Vec<u8> {
        let index = self.random.below(self.corpus.len());
        &self.corpus[index]
    }

    fn try_new(&mut self, input: Vec<u8>) -> Result<(), Found> {
        Coverage::reset();
        self.tries += 1;
        if let Err(message) = try_input(&self.target, &input) {
            return Err(Found { input, message });
        }
        if self.coverage.is_new() {
            self.corpus.push(input);
        }
        Ok(())
    }
}

/// Tries one input.
///
/// # Errors
/// The message of the panic, or how much memory the target used beyond its limit.
pub fn try_input(target: &Target, input: &[u8]) -> Result<(), String> {
    let (tried, bytes) =
        peak_bytes(|| catch_unwind(AssertUnwindSafe(|| (target.check)(input))).map_err(text_of));
    tried?;
    let bytes_max = target.heap.bytes_max(input.len());
    if bytes > bytes_max {
        return Err(format!("it used {bytes} bytes of memory, more than its limit of {bytes_max}"));
    }
    Ok(())
}

fn text_of(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "it panicked".to_string())
}

#[cfg(test)]
mod tests {
    use windrow_jobs::fuzzing::HeapBound;

    use super::*;

    fn target(check: fn(&[u8])) -> Target {
        let seeds = || vec![b"hay".to_vec(), b"straw".to_vec()];
        Target { name: "planted", seeds, check, heap: HeapBound { fixed: 1 << 10, times: 2 } }
    }

    #[test]
    fn a_planted_panic_is_found_with_an_input_that_reproduces_it() {
        let target = target(|input| assert!(!input.ends_with(b"hayaw"), "the planted panic"));
        let mut fuzzer = Fuzzer::new(target, 1);
        fuzzer.try_seeds().unwrap();
        let found = fuzzer.run(1_000_000).unwrap_err();
        assert!(found.message.contains("the planted panic"), "{found:?}");
        assert_eq!(try_input(&target, &found.input), Err(found.message));
    }

    #[test]
    fn memory_beyond_the_limit_for_the_input_is_found() {
        let target = target(|input| drop(vec![1u8; usize::from(input[0]) * 100]));
        let found = try_input(&target, &[100]).unwrap_err();
        assert!(found.contains("10000 bytes of memory, more than its limit of 1026"), "{found}");
        assert_eq!(try_input(&target, &[5]), Ok(()));
        assert!(Fuzzer::new(target, 1).try_seeds().is_err());
    }
}
