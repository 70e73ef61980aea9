//! Work on disk: sorted runs of pairs that did not fit into memory, and merges of more sources
//! than may be open at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windrow_jobs::fan_in::SOURCE_BYTES;
use windrow_jobs::pairs::{RecordBatches, RecordSink};
use windrow_jobs::{Audit, FailureCause};

use super::block::Codec;
use super::merge::Merge;
use super::pairs::SortedPairs;
use super::segment::{Owner, PartitionIndex, RunWriter, Segment, SegmentWriter};
use super::source::{BlockSource, memory_bytes, open_files};
use super::store::JobFolder;
use crate::model::Progress;

/// Pairs in memory that are looked up at once.
const READ_PAIRS: usize = 1024;

/// An attempt's place and limits for temporary files.
#[derive(Clone)]
pub struct Scratch {
    /// The folder of its job.
    pub folder: Arc<JobFolder>,
    /// The owner of its pairs.
    pub owner: Owner,
    /// Ends every loop over pairs.
    pub cancel: CancellationToken,
    /// Counts every step of these loops, so that long sorts and merges do not look like a hang.
    pub progress: Arc<Progress>,
    /// Most memory of the sources that are merged at once; at least two are merged in any case.
    pub merge_bytes: u64,
    /// Most files that these keep open; at least two are merged in any case.
    pub files_max: usize,
    /// Compression of temporary files. They are read on this machine, so mostly none.
    pub codec: Codec,
}

impl Scratch {
    /// An error once the attempt has been told to stop.
    pub fn check(&self) -> Result<(), FailureCause> {
        self.progress.step();
        if self.cancel.is_cancelled() { Err(FailureCause::Cancelled) } else { Ok(()) }
    }

    /// Appends all of `pairs` to a segment as a run. The returned entries belong in its index.
    pub fn append(
        &self,
        segment: &SegmentWriter,
        pairs: &dyn SortedPairs,
    ) -> Result<Vec<PartitionIndex>, FailureCause> {
        let run = segment.begin_run();
        (0..pairs.partitions())
            .filter(|partition| pairs.len(*partition) > 0)
            .map(|partition| {
                self.check()?;
                write_partition(run, pairs, partition)
            })
            .collect()
    }

    /// A new segment without a final name.
    pub fn create(&self) -> Result<SegmentWriter, FailureCause> {
        SegmentWriter::create(self.folder.scratch_path(), self.codec, &self.owner)
    }

    /// Merges any number of sources. If they need more memory than a merge may have, some are
    /// merged to runs first.
    pub fn merge<'a>(
        &self,
        mut sources: Vec<Box<dyn BlockSource + 'a>>,
    ) -> Result<Merge<'a>, FailureCause> {
        let files_max = self.files_max.max(2);
        while sources.len() > 2
            && (memory_bytes(&sources) > self.merge_bytes || open_files(&sources) > files_max)
        {
            // The smallest first. Of equal ones, a merged run becomes the last.
            sources.sort_by_key(|source| source.memory_bytes());
            let too_many = (open_files(&sources) + 1).saturating_sub(files_max);
            let group = self.group_of(&sources, too_many.min(files_max));
            let merged = self.merge_to_run(sources.drain(..group).collect())?.sources(0)?;
            sources.extend(merged.into_iter().map(|source| Box::new(source) as _));
        }
        Ok(Merge::new(sources))
    }

    /// Merges sources to a run on disk in one pass: they must be few enough.
    pub fn merge_to_run(
        &self,
        sources: Vec<Box<dyn BlockSource + '_>>,
    ) -> Result<Segment, FailureCause> {
        let mut merge = Merge::new(sources);
        let segment = self.create()?;
        let mut writer = segment.begin_run().partition(0);
        self.copy(&mut merge, &mut writer)?;
        let index = vec![writer.finish(merge.promised())?];
        Ok(segment.into_temporary(index))
    }

    /// Writes the rest of a merge as a run.
    pub fn write_run(&self, merge: &mut Merge<'_>) -> Result<Segment, FailureCause> {
        let segment = self.create()?;
        let mut writer = segment.begin_run().partition(0);
        self.copy(merge, &mut writer)?;
        // The digest is not known, and not needed: the audit of the whole is kept elsewhere.
        let left = Audit { records: writer.records(), digest: 0 };
        let index = vec![writer.finish(left)?];
        Ok(segment.into_temporary(index))
    }

    /// Whether sources have single pairs so large that the usual memory would not do.
    pub fn has_large(&self, sources: &[Box<dyn BlockSource + '_>]) -> bool {
        let has_large = sources.iter().any(|source| source.memory_bytes() > SOURCE_BYTES);
        has_large && memory_bytes(sources) > self.merge_bytes
    }

    /// How many of these sources, which are sorted by size, to merge to one: the fewest of the
    /// smallest after which the rest fits into the memory of a merge, but at least `least`, and at
    /// most as many as fit at once.
    fn group_of(&self, sources: &[Box<dyn BlockSource + '_>], least: usize) -> usize {
        let all = memory_bytes(sources);
        let mut group_bytes = 0;
        for (count, source) in sources.iter().enumerate() {
            let bytes = source.memory_bytes();
            if count >= 2 && group_bytes + bytes > self.merge_bytes {
                return count;
            }
            group_bytes += bytes;
            let is_enough = count >= 1 && count + 1 >= least;
            if is_enough && all - group_bytes + bytes.max(SOURCE_BYTES) <= self.merge_bytes {
                return count + 1;
            }
        }
        sources.len()
    }

    /// Copies all pairs.
    pub fn copy(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        while let Some(batch) = input.next_batch()? {
            self.check()?;
            for record in batch {
                output.push(*record)?;
            }
        }
        Ok(())
    }
}

/// Writes one partition of a run.
pub fn write_partition(
    run: RunWriter<'_>,
    pairs: &dyn SortedPairs,
    partition: u32,
) -> Result<PartitionIndex, FailureCause> {
    let mut writer = run.partition(partition);
    let mut records = Vec::with_capacity(READ_PAIRS);
    let len = pairs.len(partition);
    for start in (0..len).step_by(READ_PAIRS) {
        records.clear();
        pairs.read(partition, start..len.min(start + READ_PAIRS), &mut records);
        for record in &records {
            writer.push(*record)?;
        }
    }
    writer.finish(pairs.audit(partition))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use windrow_jobs::JobId;
    use windrow_jobs::collect::RecordBuffer;
    use windrow_jobs::fan_in::merge_bytes;

    use super::*;
    use crate::shuffle::block::Block;
    use crate::shuffle::merge::tests::{Pair, drain, pairs};
    use crate::shuffle::pairs::{MemorySource, SortedBuffer};
    use crate::shuffle::segment::Segment;
    use crate::shuffle::source::BLOCK_BYTES;
    use crate::shuffle::store::SegmentStore;
    use crate::testing::{IDENTITY, owner};

    fn buffer(pairs: &[(u32, Pair)]) -> RecordBuffer {
        let mut buffer = RecordBuffer::new(4);
        for (partition, (key, value)) in pairs {
            crate::testing::push(&mut buffer, *partition, key, value);
        }
        buffer
    }

    /// Writes pairs to a file of their own.
    fn spilled(scratch: &Scratch, buffer: RecordBuffer) -> Segment {
        let segment = scratch.create().unwrap();
        let index = scratch.append(&segment, &SortedBuffer::new(buffer)).unwrap();
        segment.into_temporary(index)
    }

    fn of(pairs: &[Vec<(u32, Pair)>], partition: u32) -> Vec<Pair> {
        let mut expected: Vec<Pair> = pairs
            .concat()
            .into_iter()
            .filter(|(of, _)| *of == partition)
            .map(|(_, pair)| pair)
            .collect();
        expected.sort();
        expected
    }

    /// A source of this size.
    struct OfSize(u64);

    impl BlockSource for OfSize {
        fn next_block(&mut self, _: &mut Block) -> Result<bool, FailureCause> {
            Ok(false)
        }

        fn memory_bytes(&self) -> u64 {
            self.0
        }

        fn promised(&self) -> Audit {
            Audit::default()
        }

        fn blame(&self, message: String) -> FailureCause {
            FailureCause::Corrupt { file: String::new(), offset: 0, message }
        }
    }

    fn scratch(directory: &Path, merge_bytes: u64) -> Scratch {
        Scratch {
            folder: SegmentStore::new(directory.into(), 0).folder(JobId(1), IDENTITY).unwrap(),
            owner: owner(0, 1),
            cancel: CancellationToken::new(),
            progress: Arc::default(),
            merge_bytes,
            files_max: usize::MAX,
            codec: Codec::None,
        }
    }

    #[test]
    fn no_more_sources_are_merged_first_than_necessary() {
        const MIB: u64 = 1 << 20;
        let directory = tempfile::tempdir().unwrap();
        let scratch = scratch(directory.path(), 100 * SOURCE_BYTES);
        for (sizes, group) in [
            (&[(SOURCE_BYTES, 101)][..], 2),
            (&[(SOURCE_BYTES, 150)], 51),
            (&[(SOURCE_BYTES, 500)], 100),
            // The small ones are too many.
            (&[(4 << 10, 1000), (SOURCE_BYTES, 90)], 640),
            // One fits only by itself: all others at once.
            (&[(4 << 10, 1000), (60 * MIB, 1)], 1000),
            (&[(10 * MIB, 9)], 2),
        ] {
            let sources = sizes.iter().flat_map(|&(bytes, count)| (0..count).map(move |_| bytes));
            let sources: Vec<_> = sources.map(|bytes| Box::new(OfSize(bytes)) as _).collect();
            assert_eq!(scratch.group_of(&sources, 2), group, "{sizes:?}");
        }
    }

    #[test]
    fn a_few_large_sources_among_many_small_ones_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = scratch(directory.path(), 100 * SOURCE_BYTES);
        let has_large = |small: usize, large: usize| {
            let small = (0..small).map(|_| OfSize(4 << 10));
            let all = small.chain((0..large).map(|_| OfSize(60 << 20)));
            scratch.has_large(&all.map(|source| Box::new(source) as _).collect::<Vec<_>>())
        };
        assert!(has_large(0, 1) && has_large(2_000, 4));
        assert!(!has_large(2_000, 0) && !has_large(10_000, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_merge_of_runs_and_buffers_equals_a_sort_at_any_fan_in(
            runs in vec(vec((0u32..4, pairs(1..2)), 0..40), 0..12),
            fan_in in 2u32..6,
            in_memory in 0usize..3,
            are_small: bool,
        ) {
            let mut runs: Vec<Vec<(u32, Pair)>> = runs
                .into_iter()
                .map(|run| run.into_iter().map(|(p, mut pair)| (p, pair.remove(0))).collect())
                .collect();
            // All small ones would be merged at once.
            let fill_blocks = |run: &mut Vec<(u32, Pair)>| {
                run.extend((0..4).map(|partition| (partition, (vec![1], vec![1; BLOCK_BYTES]))));
            };
            runs.iter_mut().filter(|_| !are_small).for_each(fill_blocks);
            let directory = tempfile::tempdir().unwrap();
            let scratch = scratch(directory.path(), merge_bytes(fan_in));
            let mut buffers: Vec<_> = runs.iter().map(|run| buffer(run)).collect();
            let spilled = buffers.split_off(in_memory.min(buffers.len()));
            let spilled: Vec<_> =
                spilled.into_iter().map(|buffer| self::spilled(&scratch, buffer)).collect();
            let in_memory: Vec<Arc<dyn SortedPairs>> =
                buffers.into_iter().map(|buffer| Arc::new(SortedBuffer::new(buffer)) as _).collect();
            let files = || std::fs::read_dir(directory.path().join("job-1")).unwrap().count();
            for partition in 0..4 {
                let mut sources: Vec<Box<dyn BlockSource + '_>> = Vec::new();
                let lent = in_memory.iter().filter_map(|p| MemorySource::new(Arc::clone(p), partition));
                sources.extend(lent.map(|source| Box::new(source) as _));
                let read = spilled.iter().flat_map(|run| run.sources(partition).unwrap());
                sources.extend(read.map(|source| Box::new(source) as _));
                let count = sources.len();
                let mut merge = scratch.merge(sources).unwrap();
                let more = files() > spilled.len();
                if in_memory.is_empty() {
                    prop_assert_eq!(more, !are_small && count > fan_in as usize, "files for {} runs", count);
                }
                prop_assert_eq!(drain(&mut merge).unwrap(), of(&runs, partition));
            }
            drop(spilled);
            prop_assert_eq!(files(), 0, "runs are removed");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// A merge that is abandoned anywhere, and resumed by other sources of the same pairs,
        /// gives the rest.
        #[test]
        fn an_abandoned_merge_can_be_resumed(
            runs in vec(vec((0u32..4, pairs(1..2)), 0..40), 1..6),
            large in 0usize..4,
            in_memory in 0usize..3,
            cuts in vec(0usize..4, 0..12),
            are_evicted: bool,
        ) {
            let mut runs: Vec<Vec<(u32, Pair)>> = runs
                .into_iter()
                .map(|run| run.into_iter().map(|(p, mut pair)| (p, pair.remove(0))).collect())
                .collect();
            // Of several blocks and extents.
            for (at, run) in runs.iter_mut().enumerate().take(large) {
                run.extend((0..60u8).map(|n| (0, (vec![n, at as u8], vec![n; BLOCK_BYTES / 2]))));
            }
            let directory = tempfile::tempdir().unwrap();
            let scratch = scratch(directory.path(), u64::MAX);
            let files: Vec<_> = runs.iter().map(|run| spilled(&scratch, buffer(run))).collect();
            let lent: Vec<Arc<dyn SortedPairs>> = runs
                .iter()
                .take(in_memory)
                .map(|run| Arc::new(SortedBuffer::new(buffer(run))) as _)
                .collect();
            // An output that is in memory at first may be in a file later.
            let sources = |is_first: bool| -> Vec<Box<dyn BlockSource>> {
                let mut sources: Vec<Box<dyn BlockSource>> = Vec::new();
                for (at, file) in files.iter().enumerate() {
                    match lent.get(at) {
                        Some(pairs) if is_first || !are_evicted => sources.extend(
                            MemorySource::new(Arc::clone(pairs), 0).map(|one| Box::new(one) as _),
                        ),
                        _ => sources.extend(
                            file.sources(0).unwrap().into_iter().map(|one| Box::new(one) as _),
                        ),
                    }
                }
                sources
            };
            let mut merge = Merge::new(sources(true));
            let mut merged: Vec<Pair> = Vec::new();
            for batches in cuts {
                for _ in 0..batches {
                    if let Some(batch) = merge.next_batch().unwrap() {
                        merged.extend(batch.iter().map(|r| (r.key.to_vec(), r.value.to_vec())));
                    }
                }
                let positions = merge.positions().unwrap();
                let mut again = sources(false);
                prop_assert_eq!(again.len(), positions.len());
                for (source, position) in again.iter_mut().zip(&positions) {
                    source.seek(position);
                }
                let left: u64 = again.iter().map(|source| source.promised().records).sum();
                prop_assert_eq!(merged.len() + left as usize, of(&runs, 0).len());
                merge = Merge::new(again);
            }
            merged.extend(drain(&mut merge).unwrap());
            prop_assert_eq!(merged, of(&runs, 0));
        }
    }
}
