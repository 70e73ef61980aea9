//! Sorts the entries of one partition in place, by the key and value bytes of their records.
//!
//! A caching radix sort. The word in an entry holds the next bytes of its record. Large slices are
//! divided by the highest bits in which their words differ; small ones are sorted as integers.
//! Equal words are replaced with the next bytes of key or value; in the end, the words hold the
//! first eight bytes of the key again.
//!
//! The time is linear in the number of distinguishing bytes for any input; identical records cost a
//! few passes. The additional memory is at most [`SCRATCH_ENTRIES`] entries and a few tables.

use super::arena::Arena;
use super::entry::Entry;
use super::suffix::Suffix;
use crate::pairs::RecordRef;

/// Slices up to this size are sorted by comparing words.
const COMPARED_MAX: usize = 48;
/// Up to this many records of equal words are sorted by comparing the records.
const TIES_COMPARED_MAX: usize = 12;
/// Slices up to this size are divided through a copy, which stays in the cache; larger ones in
/// place.
const SCRATCH_ENTRIES: usize = 1 << 16;
/// A slice is divided into at most 2^11 buckets: the cache holds that many lines that are being
/// written.
const BITS_MAX: u32 = 11;
/// Buckets of about 2^4 records are small enough.
const BUCKET_BITS: u32 = 4;
/// After this many words of a record, records are compared instead: bounds the stack.
const DEPTH_MAX: usize = 64;
/// How many records ahead to prefetch.
const AHEAD: usize = 16;

/// Sorts `entries`, whose words are the prefixes of their keys, before and after.
pub(super) fn sort(entries: &mut [Entry], arena: &Arena) {
    let scratch = Vec::new();
    Sorter { arena, scratch, ends: Vec::new() }.words(entries, Suffix::Prefix, 0);
}

struct Sorter<'a> {
    arena: &'a Arena,
    scratch: Vec<Entry>,
    /// The ends of the buckets of all slices being sorted, the outermost slice first.
    ends: Vec<usize>,
}

impl Sorter<'_> {
    /// Sorts records that are equal before `suffix`, from which their words were taken.
    fn words(&mut self, entries: &mut [Entry], suffix: Suffix, depth: usize) {
        if entries.len() <= COMPARED_MAX {
            entries.sort_unstable();
        } else if !entries.is_sorted() {
            let (min, max) = word_range(entries);
            if min != max {
                return self.buckets(entries, Digit::new(min ^ max, entries.len()), suffix, depth);
            }
        }
        for ties in entries.chunk_by_mut(|a, b| a.word() == b.word()) {
            self.ties(ties, suffix, depth);
        }
    }

    /// Divides the slice into buckets and sorts each.
    fn buckets(&mut self, entries: &mut [Entry], digit: Digit, suffix: Suffix, depth: usize) {
        let first = self.ends.len();
        self.ends.resize(first + digit.buckets(), 0);
        let starts = &mut self.ends[first..];
        entries.iter().for_each(|entry| starts[digit.of(*entry)] += 1);
        let mut start = 0;
        for count in starts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        // Moving an entry advances the start of its bucket, so in the end all starts are ends.
        if entries.len() <= SCRATCH_ENTRIES {
            scatter(entries, digit, starts, &mut self.scratch);
        } else {
            permute(entries, digit, starts);
        }
        let mut rest = entries;
        let mut start = 0;
        for bucket in first..first + digit.buckets() {
            let (entries, after) = rest.split_at_mut(self.ends[bucket] - start);
            (rest, start) = (after, self.ends[bucket]);
            if entries.len() > 1 {
                self.words(entries, suffix, depth);
            }
        }
        self.ends.truncate(first);
    }

    /// Sorts records whose words are equal.
    fn ties(&mut self, entries: &mut [Entry], suffix: Suffix, depth: usize) {
        let [first, _, ..] = *entries else { return };
        let word = first.word();
        let Some(mut next) = suffix.after(word) else { return };
        if entries.len() <= TIES_COMPARED_MAX || depth == DEPTH_MAX {
            let arena = self.arena;
            return entries
                .sort_unstable_by(|a, b| arena.record(a.at()).cmp(&arena.record(b.at())));
        }
        if self.are_sorted(entries) {
            return;
        }
        if depth > 0 && suffix.is_of_key() == next.is_of_key() {
            next = self.skip_common(entries, next);
        }
        self.replace_words(entries, |record| next.word(record));
        self.words(entries, next, depth + 1);
        entries.iter_mut().for_each(|entry| *entry = Entry::new(word, entry.at()));
    }

    /// Whether the records are sorted, as identical ones are. Stops at the first that are not.
    fn are_sorted(&self, entries: &[Entry]) -> bool {
        let mut last = self.arena.record(entries[0].at());
        entries.iter().enumerate().all(|(index, entry)| {
            if let Some(ahead) = entries.get(index + AHEAD) {
                self.arena.prefetch(ahead.at());
            }
            let record = self.arena.record(entry.at());
            std::mem::replace(&mut last, record) <= record
        })
    }

    fn replace_words(&self, entries: &mut [Entry], word: impl Fn(RecordRef<'_>) -> u64) {
        for index in 0..entries.len() {
            if let Some(ahead) = entries.get(index + AHEAD) {
                self.arena.prefetch(ahead.at());
            }
            let at = entries[index].at();
            entries[index] = Entry::new(word(self.arena.record(at)), at);
        }
    }

    /// Advances the suffix over the bytes that all records have in common, so that many equal words
    /// cost one pass.
    fn skip_common(&self, entries: &[Entry], suffix: Suffix) -> Suffix {
        let model = suffix.rest(self.arena.record(entries[0].at()));
        let mut common = model.len();
        for entry in &entries[1..] {
            let other = suffix.rest(self.arena.record(entry.at()));
            let (model, other) = (&model[..common], &other[..common.min(other.len())]);
            if !model.starts_with(other) {
                let differs = model.iter().zip(other).position(|(a, b)| a != b);
                common = differs.unwrap_or(other.len());
            } else {
                common = other.len();
            }
            if common == 0 {
                break;
            }
        }
        suffix.moved_by(common)
    }
}

fn word_range(entries: &[Entry]) -> (u64, u64) {
    entries
        .iter()
        .fold((u64::MAX, 0), |(min, max), entry| (min.min(entry.word()), max.max(entry.word())))
}

/// Some bits of a word, by which a slice is divided into buckets.
#[derive(Clone, Copy)]
struct Digit {
    shift: u32,
    bits: u32,
}

impl Digit {
    /// The highest bits of `differing`, above which all words of the `records` are equal.
    fn new(differing: u64, records: usize) -> Self {
        let significant = u64::BITS - differing.leading_zeros();
        let wanted = records.ilog2().saturating_sub(BUCKET_BITS).clamp(1, BITS_MAX);
        let bits = wanted.min(significant);
        Self { shift: significant - bits, bits }
    }

    fn buckets(self) -> usize {
        1 << self.bits
    }

    #[inline]
    fn of(self, entry: Entry) -> usize {
        (entry.word() >> self.shift) as usize & (self.buckets() - 1)
    }
}

/// Moves all entries to their buckets through a copy.
fn scatter(entries: &mut [Entry], digit: Digit, starts: &mut [usize], scratch: &mut Vec<Entry>) {
    scratch.clear();
    scratch.extend_from_slice(entries);
    for entry in scratch {
        let start = &mut starts[digit.of(*entry)];
        entries[*start] = *entry;
        *start += 1;
    }
}

/// Moves all entries to their buckets in place. Each step moves one entry to its bucket; the steps
/// hardly depend on each other, so the processor overlaps them.
fn permute(entries: &mut [Entry], digit: Digit, starts: &mut [usize]) {
    let ends: Vec<usize> = starts[1..].iter().copied().chain([entries.len()]).collect();
    let mut unfinished: Vec<usize> = (0..starts.len()).collect();
    while !unfinished.is_empty() {
        unfinished.retain(|&bucket| {
            for index in starts[bucket]..ends[bucket] {
                let start = &mut starts[digit.of(entries[index])];
                entries.swap(index, *start);
                *start += 1;
            }
            starts[bucket] < ends[bucket]
        });
    }
}

#[cfg(test)]
mod tests;
