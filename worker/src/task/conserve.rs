//! Who is to blame when a reduce task has not read what map tasks have written.
//!
//! Pairs are hashed where they are collected and where they are reduced, and nowhere between: so it shows only at the end that
//! something is wrong, and then all is read again, output by output.

use windrow_jobs::{Audit, FailureCause};

use crate::shuffle::block::Block;
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::Scratch;

/// Reads sources, of one output each, until one does not keep its promise, and returns its failure. If all do, the fault
/// has passed, or was in the merge.
pub fn culprit(
    scratch: &Scratch,
    sources: Vec<Box<dyn BlockSource>>,
    partition: u32,
) -> FailureCause {
    let failed = sources.into_iter().find_map(|source| judge(scratch, source).err());
    failed.unwrap_or_else(|| FailureCause::Corrupt {
        file: format!("partition {partition}"),
        offset: 0,
        message: "the pairs that were reduced are not those of the map outputs, though each of these is whole".into(),
    })
}

/// An error if the pairs are not what was promised.
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
        format!("its {} pairs are not those that were collected", read.records)
    } else {
        format!("it has {} pairs, of {} that were collected", read.records, promised.records)
    }
}
