//! Work on disk: sorted runs of pairs that did not fit into memory, and merges of more sources than may be open
//! at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windrow_jobs::FailureCause;
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::program::{RecordBatches, RecordSink};

use super::merge::Merge;
use super::segment::{PartitionIndex, SegmentSource, SegmentWriter};
use super::source::BlockSource;
use super::store::JobFolder;
use crate::executor::Progress;
use crate::files::TemporaryFile;

/// Where an attempt puts what it needs for a while, and how much of it at once.
#[derive(Clone)]
pub struct Scratch {
    /// Of its job.
    pub folder: Arc<JobFolder>,
    /// Ends every loop over pairs.
    pub cancel: CancellationToken,
    /// Hears of every step of these loops, so that long sorts and merges do not look like a standstill.
    pub progress: Arc<Progress>,
    /// Most sources that are merged at once, at least 2.
    pub fan_in: usize,
}

impl Scratch {
    /// An error once the attempt has been told to stop.
    pub fn check(&self) -> Result<(), FailureCause> {
        self.progress.step();
        if self.cancel.is_cancelled() { Err(FailureCause::Cancelled) } else { Ok(()) }
    }

    /// Sorts a buffer and writes it as a run, which frees the buffer.
    pub fn spill(&self, mut buffer: RecordBuffer) -> Result<Run, FailureCause> {
        buffer.sort();
        let segment = SegmentWriter::create(self.folder.scratch_path())?;
        let mut partitions = Vec::new();
        for partition in 0..buffer.partitions() {
            self.check()?;
            let mut writer = segment.partition(partition);
            for index in 0..buffer.partition_len(partition) {
                writer.push(buffer.get(partition, index))?;
            }
            partitions.push(writer.finish()?);
        }
        Run::seal(segment, partitions)
    }

    /// Merges any number of sources. Where these are more than the fan-in allows, some are merged to runs first.
    pub fn merge<'a>(
        &self,
        mut sources: Vec<Box<dyn BlockSource + 'a>>,
    ) -> Result<Merge<'a>, FailureCause> {
        while sources.len() > self.fan_in {
            // No more than needed for the rest to fit; what is merged goes to the back of the queue.
            let group = self.fan_in.min(sources.len() - self.fan_in + 1);
            let mut merge = Merge::new(sources.drain(..group).collect());
            let segment = SegmentWriter::create(self.folder.scratch_path())?;
            let mut writer = segment.partition(0);
            self.copy(&mut merge, &mut writer)?;
            let index = writer.finish()?;
            sources
                .extend(Run::seal(segment, vec![index])?.source(0).map(|run| Box::new(run) as _));
        }
        Ok(Merge::new(sources))
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

/// A sorted run on disk; removed when it and its sources are dropped.
pub struct Run {
    file: Arc<TemporaryFile>,
    /// Those that have pairs, ascending.
    partitions: Vec<u32>,
}

impl Run {
    fn seal(segment: SegmentWriter, partitions: Vec<PartitionIndex>) -> Result<Self, FailureCause> {
        let numbers = partitions.iter().filter(|index| index.records > 0);
        let numbers = numbers.map(|index| index.partition).collect();
        let (file, _) = segment.finish(partitions)?;
        Ok(Self { file: Arc::new(file), partitions: numbers })
    }

    /// The pairs of `partition`, if there are any.
    pub fn source(&self, partition: u32) -> Option<SegmentSource> {
        self.partitions
            .binary_search(&partition)
            .ok()
            .map(|_| SegmentSource::temporary(&self.file, partition))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use windrow_jobs::JobId;

    use super::*;
    use crate::shuffle::merge::tests::{Pair, drain, pairs};
    use crate::shuffle::source::BufferSource;
    use crate::shuffle::store::SegmentStore;

    fn buffer(pairs: &[(u32, Pair)]) -> RecordBuffer {
        let mut buffer = RecordBuffer::new(4);
        for (partition, (key, value)) in pairs {
            crate::testing::push(&mut buffer, *partition, key, value);
        }
        buffer
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn runs_and_buffers_merge_to_what_a_sort_gives_whatever_the_fan_in(
            runs in vec(vec((0u32..4, pairs(1..2)), 0..40), 0..12),
            fan_in in 2usize..6,
            in_memory in 0usize..3,
        ) {
            let runs: Vec<Vec<(u32, Pair)>> = runs
                .into_iter()
                .map(|run| run.into_iter().map(|(p, mut pair)| (p, pair.remove(0))).collect())
                .collect();
            let directory = tempfile::tempdir().unwrap();
            let store = SegmentStore::new(directory.path().into());
            let folder = store.folder(JobId(1)).unwrap();
            let scratch = Scratch { folder, cancel: CancellationToken::new(), progress: Arc::default(), fan_in };
            let mut buffers: Vec<_> = runs.iter().map(|run| buffer(run)).collect();
            let spilled = buffers.split_off(in_memory.min(buffers.len()));
            let spilled: Vec<_> =
                spilled.into_iter().map(|buffer| scratch.spill(buffer).unwrap()).collect();
            buffers.iter_mut().for_each(RecordBuffer::sort);
            for partition in 0..4 {
                let mut sources: Vec<Box<dyn BlockSource + '_>> = Vec::new();
                sources.extend(buffers.iter().map(|b| Box::new(BufferSource::new(b, partition)) as _));
                sources.extend(spilled.iter().filter_map(|run| run.source(partition)).map(|s| Box::new(s) as _));
                let merged = drain(&mut scratch.merge(sources).unwrap()).unwrap();
                prop_assert_eq!(merged, of(&runs, partition));
            }
            drop(spilled);
            let left = std::fs::read_dir(directory.path().join("job-1")).unwrap().count();
            prop_assert_eq!(left, 0, "runs are removed");
        }
    }
}
