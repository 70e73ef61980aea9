//! `gen zipf`: lines of ten words, of which few are frequent and most are rare, as in any language.

use std::io;

use super::Content;
use super::distribution::Zipf;
use super::output::{Output, Share};
use super::rng::Rng;
use super::vocabulary::{Word, vocabulary};
use super::{SETUP_STREAM, file_rng};

const WORDS_A_LINE: u32 = 10;

/// Text whose words follow Zipf's law.
pub(super) struct Text {
    seed: u64,
    words: Vec<Word>,
    ranks: Zipf,
}

impl Text {
    /// Over a vocabulary of `words`, at most [`RANKS_MAX`](super::distribution::RANKS_MAX).
    pub(super) fn new(seed: u64, words: u32) -> Self {
        let vocabulary = vocabulary(words, &mut Rng::new(seed, SETUP_STREAM));
        Self { seed, words: vocabulary, ranks: Zipf::new(words) }
    }
}

impl Content for Text {
    const EXTENSION: &str = "txt";

    /// Whole words only: the file may end up to 12 bytes short of its share.
    fn write(&self, share: Share, out: &mut Output<'_>) -> io::Result<()> {
        let mut rng = file_rng(self.seed, share);
        let mut left_bytes = share.len();
        let mut column = 0;
        loop {
            let word = &self.words[self.ranks.sample(&mut rng) as usize];
            let size_bytes = word.len() as u64 + 1;
            if size_bytes > left_bytes {
                break;
            }
            left_bytes -= size_bytes;
            column += 1;
            if column < WORDS_A_LINE {
                word.push_with(b' ', out.buffer());
            } else {
                column = 0;
                word.push_with(b'\n', out.buffer());
                out.line_ends()?;
            }
        }
        if column > 0
            && let Some(last) = out.buffer().last_mut()
        {
            *last = b'\n';
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::testing::{content, share};
    use super::*;

    #[test]
    fn lines_have_ten_words_and_sizes_are_kept() {
        let text = content(&Text::new(1, 5000), share(100_000));
        assert!((99_988..=100_000).contains(&text.len()), "{}", text.len());
        assert_eq!(text.last(), Some(&b'\n'));
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let (last, full) = lines.split_last().unwrap();
        assert!(full.iter().all(|line| line.split(' ').count() == 10));
        assert!((1..=10).contains(&last.split(' ').count()));
        assert!(!text.contains("  ") && !text.contains(" \n"));
    }

    #[test]
    fn few_words_are_frequent_and_many_are_rare() {
        let text = content(&Text::new(1, 5000), share(400_000));
        let text = String::from_utf8(text).unwrap();
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for word in text.split_ascii_whitespace() {
            *counts.entry(word).or_default() += 1;
        }
        let total: u32 = counts.values().sum();
        let top = counts.values().max().unwrap();
        // 1 / H(5000) is 11 %.
        assert!((total / 11..total / 7).contains(top), "{top} of {total}");
        assert!(counts.len() > 4000, "{}", counts.len());
    }
}
