//! Distinct random words of a few letters.

use std::collections::HashSet;

use super::rng::Rng;

const LETTERS_MIN: u64 = 4;
const LETTERS_MAX: u64 = 12;

/// A word in a fixed number of bytes, so that writing one is a copy of constant length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    letters: [u8; Word::BYTES],
    len: u8,
}

impl Word {
    const BYTES: usize = 15;

    fn random(rng: &mut Rng) -> Self {
        let len = LETTERS_MIN + rng.below(LETTERS_MAX - LETTERS_MIN + 1);
        let mut letters = [0; Self::BYTES];
        for letter in &mut letters[..len as usize] {
            *letter = b'a' + rng.below(26) as u8;
        }
        Self { letters, len: len as u8 }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn letters(&self) -> &[u8] {
        &self.letters[..self.len()]
    }

    /// Appends the word and the byte that follows it.
    pub(super) fn push_with(&self, next: u8, out: &mut Vec<u8>) {
        let end = out.len() + self.len();
        out.extend_from_slice(&self.letters);
        out[end] = next;
        out.truncate(end + 1);
    }
}

/// `words` distinct words, the same for the same seed. They never run short: there are 10^17.
pub(super) fn vocabulary(words: u32, rng: &mut Rng) -> Vec<Word> {
    let mut seen = HashSet::with_capacity(words as usize);
    let mut vocabulary = Vec::with_capacity(words as usize);
    while vocabulary.len() < words as usize {
        let word = Word::random(rng);
        if seen.insert(word) {
            vocabulary.push(word);
        }
    }
    vocabulary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_of_the_right_length() {
        let words = vocabulary(20_000, &mut Rng::new(1, 0));
        let distinct: HashSet<_> = words.iter().map(Word::letters).collect();
        assert_eq!(distinct.len(), 20_000);
        let lengths: HashSet<_> = words.iter().map(Word::len).collect();
        assert_eq!(lengths, (4..=12).collect());
        assert!(words.iter().all(|word| word.letters().iter().all(u8::is_ascii_lowercase)));
    }

    #[test]
    fn a_word_is_appended_with_what_follows() {
        let word = vocabulary(1, &mut Rng::new(1, 0))[0];
        let mut out = b"a ".to_vec();
        word.push_with(b'\n', &mut out);
        assert_eq!(out, [b"a ", word.letters(), b"\n"].concat());
    }
}
