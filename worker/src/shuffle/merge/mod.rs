//! The k-way merge: sorted sources in, batches of borrowed pairs in (key, value) order out.
//!
//! Pairs are never copied. A batch borrows from the sources' current blocks, and ends before one of
//! the blocks has to be replaced:
//!
//! ```text
//!  source 0  [ block | block | ...     \
//!  source 1  [ block | ...              > loser tree --> batch of RecordRefs --> Program::combine
//!  source 2  [ block | block | ...     /                                         or reduce
//! ```

mod select;
#[cfg(test)]
pub(crate) mod tests;

use windrow_jobs::pairs::{RecordBatches, RecordRef};
use windrow_jobs::{Audit, FailureCause};

use self::select::Selector;
use super::block::Block;
use super::source::{BlockSource, Position};

/// Most pairs in a batch, unless there are many sources: few enough that they are still in the
/// cache when they are used. Cancellation is checked once a batch.
const BATCH_RECORDS_MAX: usize = 256;

type Records<'a> = Vec<RecordRef<'a>>;

self_cell::self_cell!(
    /// The sources' current blocks, and a batch that borrows from them.
    struct Batch {
        owner: Vec<Block>,
        #[covariant]
        dependent: Records,
    }
);

/// Merges sorted sources. Equal pairs are indistinguishable, so their order does not matter.
pub struct Merge<'a> {
    sources: Vec<Box<dyn BlockSource + 'a>>,
    selector: Selector,
    batch: Result<Batch, FailureCause>,
}

impl<'a> Merge<'a> {
    /// Merges all of `sources` at once, with a block in memory for each.
    pub fn new(mut sources: Vec<Box<dyn BlockSource + 'a>>) -> Self {
        for source in &mut sources {
            source.start();
        }
        let blocks = sources.iter().map(|_| Block::default()).collect();
        Self {
            selector: Selector::new(sources.len()),
            sources,
            batch: Ok(Batch::new(blocks, |_| Records::new())),
        }
    }

    /// Number of its sources.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// The audit of all pairs, as the sources promise. Known at the end.
    pub fn promised(&self) -> Audit {
        let mut promised = Audit::default();
        self.sources.iter().for_each(|source| promised.merge(source.promised()));
        promised
    }

    /// For each source, the position after its pairs of the last batch, all of which must have been
    /// used. `None` if a source cannot be opened a second time.
    pub fn positions(&self) -> Option<Vec<Position>> {
        let used = self.selector.used();
        self.sources.iter().zip(used).map(|(source, used)| source.position(used)).collect()
    }

    fn advance(&mut self, batch: Batch) -> Result<Batch, FailureCause> {
        let (mut blocks, records) = taken_apart(batch);
        self.selector.refill(&mut self.sources, &mut blocks)?;
        Ok(Batch::new(blocks, |blocks| {
            let mut records: Records<'_> = records;
            // Each batch begins with a look at every source.
            let records_max = BATCH_RECORDS_MAX.max(2 * blocks.len());
            self.selector.select(blocks, &mut records, records_max);
            records
        }))
    }
}

/// The blocks of a batch, and the memory of its dropped records.
fn taken_apart(mut batch: Batch) -> (Vec<Block>, Records<'static>) {
    let records = batch.with_dependent_mut(|_, records| recycle(std::mem::take(records)));
    (batch.into_owner(), records)
}

/// Empties a vector and keeps its memory for records that may live longer.
fn recycle(mut records: Records<'_>) -> Records<'static> {
    const NOTHING: RecordRef<'static> = RecordRef { key: &[], value: &[] };
    records.clear();
    // Collected in place: the standard library reuses the allocation of a vector of the same type.
    records.into_iter().map(|_| NOTHING).collect()
}

impl RecordBatches for Merge<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        // An error stands in while a batch is being made, and for ever after an error.
        let batch = std::mem::replace(&mut self.batch, Err(FailureCause::Cancelled));
        self.batch = batch.and_then(|batch| self.advance(batch));
        let batch = self.batch.as_ref().map_err(FailureCause::clone)?;
        let records = batch.borrow_dependent().as_slice();
        Ok(if records.is_empty() { None } else { Some(records) })
    }

    fn batch_copied(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Err(FailureCause::Cancelled));
        self.batch = batch.map(|batch| {
            let (mut blocks, records) = taken_apart(batch);
            self.selector.release(&mut blocks);
            Batch::new(blocks, |_| records)
        });
    }
}
