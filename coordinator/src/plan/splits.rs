//! Cuts input files into splits, the inputs of map tasks.
//!
//! Cuts fall at any byte: the worker moves them to the borders of records. Files keep their order.
//! Neighbours share a split, and all but small files are cut where a split is full, so that splits
//! are even. Pure: no file is touched.

use serde::{Deserialize, Serialize};
use windrow_jobs::hash_key;

use super::listing::InputFile;

/// Most files that share a split, so that an assignment stays a small message.
const FILES_PER_SPLIT_MAX: usize = 10_000;

/// Files up to one part in this many of a split are small, and not cut.
const PARTS_MIN: u64 = 16;

/// A range of bytes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// Index of the file.
    pub(crate) file: u32,
    /// The first byte.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
}

/// The input of one map task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Split {
    /// The index of the job's input.
    pub(crate) input: u32,
    /// In input order.
    pub(crate) ranges: Vec<Range>,
    /// Sum of their sizes.
    pub(crate) bytes: u64,
}

impl Split {
    fn push(&mut self, range: Range) {
        self.bytes += range.end - range.start;
        self.ranges.push(range);
    }

    /// How many bytes of the file go into this split, which holds `most`; `rest` bytes of it are in
    /// no split yet. None of a small file that does not fit: a range costs more than its bytes.
    fn share(&self, file: &InputFile, rest: u64, most: u64) -> u64 {
        let room = most - self.bytes;
        let is_other = self.input != file.input || self.ranges.len() >= FILES_PER_SPLIT_MAX;
        let is_small = file.bytes() <= most / PARTS_MIN;
        match self.ranges.is_empty() {
            false if is_other || (rest > room && is_small) => 0,
            _ => rest.min(room),
        }
    }

    /// Equal for equal bytes of the same files, in every job.
    pub(crate) fn affinity(&self, files: &[InputFile]) -> u64 {
        let mut name = Vec::new();
        for range in &self.ranges {
            name.extend_from_slice(files[range.file as usize].location.as_str().as_bytes());
            name.push(0);
            name.extend_from_slice(&range.start.to_le_bytes());
            name.extend_from_slice(&range.end.to_le_bytes());
        }
        hash_key(&name)
    }
}

/// Cuts `files` into splits of at most `split_bytes`, which is at least 1. Each byte of each file
/// is in exactly one split; empty files are in none. The files of an input are neighbours, and
/// share no split with another input.
pub(crate) fn cut(files: &[InputFile], uncut: &[u32], split_bytes: u64) -> Vec<Split> {
    let mut splits = Vec::new();
    let mut first = 0;
    for files in files.chunk_by(|a, b| a.input == b.input) {
        if uncut.contains(&files[0].input) {
            gather(files, first, split_bytes, &mut splits);
        } else {
            cut_input(files, first, split_bytes, &mut splits);
        }
        first += files.len() as u32;
    }
    splits
}

/// Shares out the files of an input, whose first one has the number `first`, without cutting any.
/// Two splits that are neighbours hold more than `split_bytes`, so there are not many more than of
/// files that are cut.
fn gather(files: &[InputFile], first: u32, split_bytes: u64, splits: &mut Vec<Split>) {
    let mut open = Split::default();
    for (number, file) in (first..).zip(files).filter(|(_, file)| file.bytes() > 0) {
        let is_full = open.bytes.saturating_add(file.bytes()) > split_bytes
            || open.ranges.len() >= FILES_PER_SPLIT_MAX;
        if is_full && !open.ranges.is_empty() {
            splits.push(std::mem::take(&mut open));
        }
        open.input = file.input;
        open.push(Range { file: number, start: 0, end: file.bytes() });
    }
    if !open.ranges.is_empty() {
        splits.push(open);
    }
}

/// Cuts one input, whose first file has the number `first`, into as few splits as needed, as even
/// as small files allow.
fn cut_input(files: &[InputFile], first: u32, split_bytes: u64, splits: &mut Vec<Split>) {
    let input_bytes: u64 = files.iter().map(InputFile::bytes).sum();
    let most = input_bytes.div_ceil(input_bytes.div_ceil(split_bytes).max(1));
    let mut open = Split::default();
    for (number, file) in (first..).zip(files) {
        let mut start = 0;
        while start < file.bytes() {
            let share = open.share(file, file.bytes() - start, most);
            if share == 0 {
                splits.push(std::mem::take(&mut open));
                continue;
            }
            open.input = file.input;
            open.push(Range { file: number, start, end: start + share });
            start += share;
        }
    }
    if !open.ranges.is_empty() {
        splits.push(open);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(sizes: &[u64]) -> Vec<InputFile> {
        let file = |(i, &bytes)| InputFile::for_test(0, &format!("/f{i}"), bytes);
        sizes.iter().enumerate().map(file).collect()
    }

    #[test]
    fn splits_do_not_mix_inputs() {
        let mut files = files(&[1, 1, 1, 0, 9]);
        (files[2].input, files[3].input, files[4].input) = (1, 1, 2);
        let splits = cut(&files, &[], 5);
        assert_eq!(sizes_of(&splits), [vec![1, 1], vec![1], vec![5], vec![4]]);
        assert_eq!(splits.iter().map(|split| split.input).collect::<Vec<_>>(), [0, 1, 2, 2]);
    }

    fn sizes_of(splits: &[Split]) -> Vec<Vec<u64>> {
        let sizes = |split: &Split| split.ranges.iter().map(|r| r.end - r.start).collect();
        splits.iter().map(sizes).collect()
    }

    #[test]
    fn splits_are_even_whatever_the_sizes_of_files() {
        let splits = cut(&files(&[3, 4, 0, 5, 25, 1, 1]), &[], 10);
        assert_eq!(sizes_of(&splits), [vec![3, 4, 3], vec![2, 8], vec![10], vec![7, 1, 1]]);
        assert_eq!(sizes_of(&cut(&files(&[25]), &[], 10)), [vec![9], vec![9], vec![7]]);
    }

    #[test]
    fn small_files_are_not_cut() {
        let splits = cut(&files(&[15, 10, 10, 160, 5]), &[], 160);
        assert_eq!(sizes_of(&splits), [vec![15, 10, 10, 65], vec![95, 5]]);
        let splits = cut(&files(&[3, 3, 3, 3, 3, 3, 90]), &[], 54);
        assert_eq!(sizes_of(&splits), [vec![3, 3, 3, 3, 3, 3, 36], vec![54]]);
        let splits = cut(&files(&[48, 3, 49]), &[], 50);
        assert_eq!(sizes_of(&splits), [vec![48], vec![3, 47], vec![2]]);
    }

    #[test]
    fn each_file_of_the_split_size_gets_a_task() {
        assert_eq!(cut(&files(&[100; 8]), &[], 100).len(), 8);
    }

    #[test]
    fn a_split_holds_a_bounded_number_of_files() {
        let splits = cut(&files(&vec![1; FILES_PER_SPLIT_MAX + 1]), &[], u64::MAX);
        assert_eq!(
            splits.iter().map(|s| s.ranges.len()).collect::<Vec<_>>(),
            [FILES_PER_SPLIT_MAX, 1]
        );
    }

    #[test]
    fn affinity_tells_files_and_offsets_apart() {
        let files = files(&[10, 10]);
        let splits = cut(&files, &[], 5);
        let mut affinities: Vec<_> = splits.iter().map(|split| split.affinity(&files)).collect();
        assert_eq!(
            affinities,
            cut(&files, &[], 5).iter().map(|s| s.affinity(&files)).collect::<Vec<_>>()
        );
        affinities.sort_unstable();
        affinities.dedup();
        assert_eq!(affinities.len(), 4);
    }

    #[test]
    fn files_that_are_not_cut_share_splits_while_they_fit() {
        let splits = cut(&files(&[3, 4, 0, 5, 25, 1, 1]), &[0], 10);
        assert_eq!(sizes_of(&splits), [vec![3, 4], vec![5], vec![25], vec![1, 1]]);
        // Of several inputs, each by itself.
        let mut files = files(&[25, 25]);
        files[1].input = 1;
        assert_eq!(sizes_of(&cut(&files, &[1], 20)), [vec![13], vec![12], vec![25]]);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_exactly_one_split(
            sizes in prop::collection::vec(0u64..2_000, 0..40),
            split_bytes in 1u64..3_000,
        ) {
            let files = files(&sizes);
            let splits = cut(&files, &[], split_bytes);
            let mut expected_start = vec![0; files.len()];
            for split in &splits {
                prop_assert!(split.bytes <= split_bytes);
                prop_assert!(!split.ranges.is_empty());
                prop_assert_eq!(split.bytes, split.ranges.iter().map(|r| r.end - r.start).sum::<u64>());
                for range in &split.ranges {
                    let expected = &mut expected_start[range.file as usize];
                    prop_assert_eq!(range.start, *expected);
                    prop_assert!(range.end > range.start);
                    *expected = range.end;
                }
            }
            prop_assert_eq!(expected_start, sizes);
        }
    }
}
