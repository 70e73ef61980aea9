//! The k-way merge: sorted sources in, batches of borrowed pairs in (key, value) order out.
//!
//! Pairs are never copied. A batch borrows from the sources' current blocks, and ends before one of these has to
//! be replaced:
//!
//! ```text
//!  source 0  [ block | block | ...     \
//!  source 1  [ block | ...              > loser tree --> batch of RecordRefs --> Program::combine / reduce
//!  source 2  [ block | block | ...     /
//! ```

use windrow_jobs::FailureCause;
use windrow_jobs::program::{RecordBatches, RecordRef};

use super::block::Block;
use super::source::BlockSource;
use super::tree::LoserTree;

/// Most pairs in a batch; also how often cancellation is looked for.
const BATCH_RECORDS_MAX: usize = 4096;

type Records<'a> = Vec<RecordRef<'a>>;

self_cell::self_cell!(
    /// The sources' current blocks, and a batch that borrows from them.
    struct Batch {
        owner: Vec<Block>,
        #[covariant]
        dependent: Records,
    }
);

/// Merges sources, each sorted. Equal pairs are alike, so their order does not matter.
pub struct Merge<'a> {
    sources: Vec<Box<dyn BlockSource + 'a>>,
    cursors: Vec<Cursor>,
    batch: Result<Batch, FailureCause>,
}

/// How far a source's current block has been read.
#[derive(Clone, Copy, Default)]
struct Cursor {
    next: usize,
    /// No block follows the current one.
    last: bool,
}

impl<'a> Merge<'a> {
    /// Merges all of `sources` at once, with a block in memory for each.
    pub fn new(mut sources: Vec<Box<dyn BlockSource + 'a>>) -> Self {
        for source in &mut sources {
            source.start();
        }
        let blocks = sources.iter().map(|_| Block::default()).collect();
        Self {
            cursors: vec![Cursor::default(); sources.len()],
            sources,
            batch: Ok(Batch::new(blocks, |_| Records::new())),
        }
    }

    /// Replaces the blocks that have been read to their end.
    fn refill(&mut self, blocks: &mut [Block]) -> Result<(), FailureCause> {
        for ((source, cursor), block) in self.sources.iter_mut().zip(&mut self.cursors).zip(blocks)
        {
            while cursor.next == block.len() && !cursor.last {
                let found = source.next_block(block)?;
                *cursor = Cursor { next: 0, last: !found || source.is_last() };
            }
        }
        Ok(())
    }

    fn advance(&mut self, batch: Batch) -> Result<Batch, FailureCause> {
        let mut blocks = batch.into_owner();
        self.refill(&mut blocks)?;
        Ok(Batch::new(blocks, |blocks| select(blocks, &mut self.cursors)))
    }
}

impl RecordBatches for Merge<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        // While a batch is being made, and for ever after an error, an error takes its place.
        let batch = std::mem::replace(&mut self.batch, Err(FailureCause::Cancelled));
        self.batch = batch.and_then(|batch| self.advance(batch));
        let batch = self.batch.as_ref().map_err(FailureCause::clone)?;
        let records = batch.borrow_dependent().as_slice();
        Ok(if records.is_empty() { None } else { Some(records) })
    }
}

/// The first pair of a block that has not been taken. `prefix` decides most comparisons: the first eight bytes
/// of the key, big endian.
struct Head<'a> {
    prefix: u64,
    record: RecordRef<'a>,
}

/// Takes pairs in order, until there are enough of them or a block must be replaced first.
fn select<'b>(blocks: &'b [Block], cursors: &mut [Cursor]) -> Records<'b> {
    let head = |cursor: &Cursor, block: &'b Block| {
        (cursor.next < block.len()).then(|| Head::of(block.record(cursor.next)))
    };
    let mut heads: Vec<Option<Head<'b>>> =
        cursors.iter().zip(blocks).map(|(cursor, block)| head(cursor, block)).collect();
    let mut records = Records::new();
    if heads.is_empty() {
        return records;
    }
    let mut tree = LoserTree::new(heads.len(), |a, b| is_before(&heads[a], &heads[b]));
    while records.len() < BATCH_RECORDS_MAX {
        let winner = tree.winner();
        let Some(Head { record, .. }) = &heads[winner] else { break };
        records.push(*record);
        let cursor = &mut cursors[winner];
        cursor.next += 1;
        heads[winner] = head(cursor, &blocks[winner]);
        if heads[winner].is_none() && !cursor.last {
            break;
        }
        tree.replay(|a, b| is_before(&heads[a], &heads[b]));
    }
    records
}

impl<'a> Head<'a> {
    #[inline]
    fn of(record: RecordRef<'a>) -> Self {
        let mut prefix = [0; 8];
        let len = record.key.len().min(8);
        prefix[..len].copy_from_slice(&record.key[..len]);
        Self { prefix: u64::from_be_bytes(prefix), record }
    }
}

/// Whether `a` is taken before `b`. A source that is at its end goes last.
#[inline]
fn is_before(a: &Option<Head<'_>>, b: &Option<Head<'_>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if a.prefix != b.prefix => a.prefix < b.prefix,
        (Some(a), Some(b)) => a.record < b.record,
        (a, _) => a.is_some(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    pub(crate) type Pair = (Vec<u8>, Vec<u8>);

    pub(crate) fn pairs(records: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Pair>> {
        // Few different bytes, and lengths on both sides of the prefix's, so that ties are common.
        vec((vec(0u8..3, 0..12), vec(0u8..3, 0..3)), records)
    }

    /// All pairs that a merge gives.
    pub(crate) fn drain(batches: &mut dyn RecordBatches) -> Result<Vec<Pair>, FailureCause> {
        let mut pairs = Vec::new();
        while let Some(batch) = batches.next_batch()? {
            assert!(!batch.is_empty());
            pairs.extend(batch.iter().map(|r| (r.key.to_vec(), r.value.to_vec())));
        }
        Ok(pairs)
    }

    /// Sorted pairs in blocks of a few, perhaps with empty blocks between, and perhaps with an error at the end.
    struct Blocks {
        pairs: std::vec::IntoIter<Pair>,
        block_records: usize,
        knows_last: bool,
        error: Option<FailureCause>,
        empty: bool,
    }

    impl BlockSource for Blocks {
        fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
            block.clear();
            self.empty = !self.empty;
            if self.empty && !self.knows_last {
                return Ok(true);
            }
            for (key, value) in self.pairs.by_ref().take(self.block_records) {
                block.push(RecordRef { key: &key, value: &value });
            }
            match self.error.take() {
                Some(error) if block.is_empty() => Err(error),
                error => {
                    self.error = error;
                    Ok(!block.is_empty())
                }
            }
        }

        fn is_last(&self) -> bool {
            self.knows_last && self.pairs.len() == 0 && self.error.is_none()
        }
    }

    fn source(mut pairs: Vec<Pair>, block_records: usize, knows_last: bool) -> Blocks {
        pairs.sort();
        Blocks { pairs: pairs.into_iter(), block_records, knows_last, error: None, empty: false }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_merge_equals_a_sort_in_memory(
            runs in vec((pairs(0..60), 1usize..20, any::<bool>()), 0..9)
        ) {
            let mut expected: Vec<_> = runs.iter().flat_map(|run| run.0.clone()).collect();
            expected.sort();
            let sources = runs
                .into_iter()
                .map(|(pairs, records, last)| Box::new(source(pairs, records, last)) as _)
                .collect();
            prop_assert_eq!(drain(&mut Merge::new(sources)).unwrap(), expected);
        }
    }

    #[test]
    fn batches_are_bounded() {
        let many = (0..20_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![])).collect();
        let mut merge = Merge::new(vec![Box::new(source(many, 20_000, true))]);
        let mut sizes = Vec::new();
        while let Some(batch) = merge.next_batch().unwrap() {
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [4096, 4096, 4096, 4096, 3616]);
    }

    #[test]
    fn an_error_of_a_source_is_never_an_end() {
        let pair = |n: u8| (vec![n], vec![]);
        let broken = FailureCause::Unsupported { message: "broken".into() };
        let bad = Blocks { error: Some(broken.clone()), ..source(vec![pair(1)], 4, false) };
        let good = source(vec![pair(0), pair(2)], 4, false);
        let mut merge = Merge::new(vec![Box::new(bad), Box::new(good)]);
        let first: Vec<u8> =
            merge.next_batch().unwrap().unwrap().iter().map(|record| record.key[0]).collect();
        assert_eq!(first, [0, 1]);
        for _ in 0..3 {
            assert_eq!(merge.next_batch().unwrap_err(), broken);
        }
    }
}
