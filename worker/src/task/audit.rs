//! Finds the damaged map output after the audit of a reduce task has failed.
//!
//! Pairs are hashed where they are collected and where they are reduced, and nowhere between: so a
//! difference only shows at the end, and then everything is read again, output by output.

use windrow_jobs::{Audit, FailureCause};

use crate::shuffle::block::Block;
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::Scratch;

/// Reads sources, of one output each, until one breaks its promise, and returns its failure. If
/// none does, the fault was transient, or in the merge.
pub fn find_damaged_output(
    scratch: &Scratch,
    sources: Vec<Box<dyn BlockSource>>,
    partition: u32,
) -> FailureCause {
    let failed = sources.into_iter().find_map(|source| judge(scratch, source).err());
    failed.unwrap_or_else(|| FailureCause::Corrupt {
        file: format!("partition {partition}"),
        offset: 0,
        message: "the reduced pairs differ from the map outputs, each of which is sound".into(),
    })
}

/// An error if the pairs are not the promised ones.
fn judge(scratch: &Scratch, mut source: Box<dyn BlockSource>) -> Result<(), FailureCause> {
    let mut read = Audit::default();
    let mut block = Block::default();
    source.start();
    while source.next_block(&mut block)? {
        scratch.check()?;
        for index in 0..block.len() {
            let record = block.record(index);
            read.add(record.key, record.value);
        }
    }
    let promised = source.promised();
    if read == promised { Ok(()) } else { Err(source.blame(difference(read, promised))) }
}

fn difference(read: Audit, promised: Audit) -> String {
    if read.records == promised.records {
        format!("its {} pairs are not the collected ones", read.records)
    } else {
        format!("it has {} of the {} collected pairs", read.records, promised.records)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windrow_jobs::pairs::{RecordRef, RecordSink};
    use windrow_jobs::{JobId, StageId, WorkerId};

    use super::*;
    use crate::shuffle::block::Codec;
    use crate::shuffle::origin::{MapOutputSource, Origin};
    use crate::shuffle::segment::SegmentWriter;
    use crate::shuffle::store::SegmentStore;
    use crate::task::{Attempt, reduce};
    use crate::testing::{IDENTITY, Words, attempt, attempt_id, audit, leave_output, owner};

    fn pair(key: &str) -> (Vec<u8>, Vec<u8>) {
        (key.into(), b"1".to_vec())
    }

    /// Writes an output whose pairs have changed between their collection and their first checksum.
    fn leave_changed(store: &SegmentStore, task: u32) {
        let folder = store.folder(JobId(1), IDENTITY).unwrap();
        let segment =
            SegmentWriter::create(folder.scratch_path(), Codec::None, &owner(task, 1)).unwrap();
        let mut writer = segment.begin_run().partition(0);
        writer.push(RecordRef { key: b"c", value: b"1" }).unwrap();
        let index = writer.finish(audit(&[pair("b")])).unwrap();
        let (file, _) = segment.finish(vec![index]).unwrap();
        folder.publish(file, task, 1).unwrap().keep();
    }

    fn run(tasks: u32, leave: impl Fn(&SegmentStore, u32)) -> Result<Audit, FailureCause> {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
        (0..tasks).for_each(|task| leave(&store, task));
        let id = attempt_id(StageId::REDUCE, 0, 1);
        let attempt = Attempt { id, ..attempt(Words::default(), &store, folder.path(), 1) };
        let outcome = reduce(&attempt, |_| {
            let mut all = Vec::new();
            for task in 0..tasks {
                let origin = Origin { map_task: task, map_attempt: 1, worker: WorkerId(5) };
                let sources = store.sources(JobId(1), (task, 1), 0);
                all.extend(MapOutputSource::all(sources, &origin)?);
            }
            Ok(all)
        })?;
        Ok(outcome.finished.stats.audit)
    }

    #[test]
    fn an_output_with_a_changed_pair_and_a_valid_checksum_is_named() {
        let leave = |store: &SegmentStore, task| leave_output(store, task, 0, &[pair("a")]);
        let expected = audit(&[pair("a"), pair("a"), pair("a")]).of_partition(0);
        assert_eq!(run(3, leave), Ok(expected));
        let failure =
            run(
                3,
                |store, task| {
                    if task == 1 { leave_changed(store, task) } else { leave(store, task) }
                },
            );
        match failure.unwrap_err() {
            FailureCause::FetchFailed {
                map_task: 1,
                map_attempt: 1,
                worker: WorkerId(5),
                message,
            } => {
                assert!(message.contains("its 1 pairs are not the collected ones"), "{message}");
            }
            other => panic!("{other}"),
        }
    }
}
