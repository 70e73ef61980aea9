//! Cuts input files into splits, the inputs of map tasks.
//!
//! Cuts fall at any byte: the worker moves them to the borders of records. Files keep their order; small neighbours
//! share a split, a big one is cut into equal pieces. Pure: no file is touched.

use windrow_jobs::hash_key;

use super::listing::InputFile;

/// Most files that share a split, so that an assignment stays a small message.
const FILES_PER_SPLIT_MAX: usize = 10_000;

/// Bytes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Index of the file.
    pub(crate) file: u32,
    /// First byte.
    pub(crate) start: u64,
    /// Byte after the last.
    pub(crate) end: u64,
}

/// The input of one map task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// Which of the job's inputs, counted from 0.
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

    /// One without a file takes any.
    fn takes(&self, file: &InputFile, split_bytes: u64) -> bool {
        let fits = || {
            self.input == file.input
                && self.bytes + file.bytes <= split_bytes
                && self.ranges.len() < FILES_PER_SPLIT_MAX
        };
        self.ranges.is_empty() || fits()
    }

    /// The same for the same bytes of the same files in every job.
    pub(crate) fn affinity(&self, files: &[InputFile]) -> u64 {
        let mut name = Vec::new();
        for range in &self.ranges {
            name.extend_from_slice(files[range.file as usize].path.as_bytes());
            name.push(0);
            name.extend_from_slice(&range.start.to_le_bytes());
            name.extend_from_slice(&range.end.to_le_bytes());
        }
        hash_key(&name)
    }
}

/// Cuts `files` into splits of at most `split_bytes`, which is at least 1. Each byte of each file is in exactly one
/// split; empty files are in none. The files of an input are neighbours, and share no split with those of another.
pub(crate) fn cut(files: &[InputFile], split_bytes: u64) -> Vec<Split> {
    let mut splits = Vec::new();
    let mut open = Split::default();
    for (index, file) in (0..).zip(files) {
        if file.bytes == 0 {
            continue;
        }
        if !open.takes(file, split_bytes) {
            splits.push(std::mem::take(&mut open));
        }
        if file.bytes <= split_bytes {
            open.input = file.input;
            open.push(Range { file: index, start: 0, end: file.bytes });
        } else {
            splits.extend(pieces(index, file, split_bytes));
        }
    }
    if !open.ranges.is_empty() {
        splits.push(open);
    }
    splits
}

/// A big file in pieces whose sizes differ by at most one byte, so that no small rest is left.
fn pieces(index: u32, file: &InputFile, split_bytes: u64) -> impl Iterator<Item = Split> {
    let (input, count) = (file.input, file.bytes.div_ceil(split_bytes));
    let (size, larger) = (file.bytes / count, file.bytes % count);
    let border = move |piece: u64| piece * size + piece.min(larger);
    (0..count).map(move |piece| {
        let mut split = Split { input, ..Split::default() };
        split.push(Range { file: index, start: border(piece), end: border(piece + 1) });
        split
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(sizes: &[u64]) -> Vec<InputFile> {
        let file = |(i, &bytes)| InputFile {
            input: 0,
            path: format!("/f{i}"),
            bytes,
            modified_unix_ns: 0,
        };
        sizes.iter().enumerate().map(file).collect()
    }

    #[test]
    fn splits_do_not_mix_inputs() {
        let mut files = files(&[1, 1, 1, 0, 9]);
        (files[2].input, files[3].input, files[4].input) = (1, 1, 2);
        let splits = cut(&files, 5);
        assert_eq!(sizes_of(&splits), [vec![1, 1], vec![1], vec![5], vec![4]]);
        assert_eq!(splits.iter().map(|split| split.input).collect::<Vec<_>>(), [0, 1, 2, 2]);
    }

    fn sizes_of(splits: &[Split]) -> Vec<Vec<u64>> {
        let sizes = |split: &Split| split.ranges.iter().map(|r| r.end - r.start).collect();
        splits.iter().map(sizes).collect()
    }

    #[test]
    fn small_files_share_a_split_and_big_ones_are_cut_evenly() {
        let splits = cut(&files(&[3, 4, 0, 5, 25, 1, 1]), 10);
        assert_eq!(sizes_of(&splits), [vec![3, 4], vec![5], vec![9], vec![8], vec![8], vec![1, 1]]);
    }

    #[test]
    fn files_of_the_split_size_get_a_task_each() {
        assert_eq!(cut(&files(&[100; 8]), 100).len(), 8);
    }

    #[test]
    fn a_split_holds_a_bounded_number_of_files() {
        let splits = cut(&files(&vec![1; FILES_PER_SPLIT_MAX + 1]), u64::MAX);
        assert_eq!(
            splits.iter().map(|s| s.ranges.len()).collect::<Vec<_>>(),
            [FILES_PER_SPLIT_MAX, 1]
        );
    }

    #[test]
    fn affinity_tells_files_and_offsets_apart() {
        let files = files(&[10, 10]);
        let splits = cut(&files, 5);
        let mut affinities: Vec<_> = splits.iter().map(|split| split.affinity(&files)).collect();
        assert_eq!(
            affinities,
            cut(&files, 5).iter().map(|s| s.affinity(&files)).collect::<Vec<_>>()
        );
        affinities.sort_unstable();
        affinities.dedup();
        assert_eq!(affinities.len(), 4);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_exactly_one_split(
            sizes in prop::collection::vec(0u64..2_000, 0..40),
            split_bytes in 1u64..3_000,
        ) {
            let files = files(&sizes);
            let splits = cut(&files, split_bytes);
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
