//! Merges against sorts in memory, and helpers for pairs that other tests use.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(crate) type Pair = (Vec<u8>, Vec<u8>);

pub(crate) fn pairs(records: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Pair>> {
    // Few different bytes, and lengths on both sides of the prefix's, so that ties are common.
    vec((vec(0u8..3, 0..12), vec(0u8..3, 0..3)), records)
}

/// All pairs of a merge.
pub(crate) fn drain(batches: &mut dyn RecordBatches) -> Result<Vec<Pair>, FailureCause> {
    drain_and(batches, |_| ())
}

/// Likewise, with an action after each batch.
fn drain_and(
    batches: &mut dyn RecordBatches,
    after_batch: impl Fn(&mut dyn RecordBatches),
) -> Result<Vec<Pair>, FailureCause> {
    let mut pairs = Vec::new();
    while let Some(batch) = batches.next_batch()? {
        assert!(!batch.is_empty());
        pairs.extend(batch.iter().map(|r| (r.key.to_vec(), r.value.to_vec())));
        after_batch(batches);
    }
    Ok(pairs)
}

/// Sorted pairs in blocks of a few, perhaps with empty blocks between, and perhaps with an error at
/// the end.
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
            Some(error) if block.len() == 0 => Err(error),
            error => {
                self.error = error;
                Ok(block.len() > 0)
            }
        }
    }

    fn promised(&self) -> Audit {
        Audit::default()
    }

    fn blame(&self, message: String) -> FailureCause {
        FailureCause::Unsupported { message }
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
        runs in vec((pairs(0..60), 1usize..20, any::<bool>()), 0..9),
        releases: bool,
    ) {
        let mut expected: Vec<_> = runs.iter().flat_map(|run| run.0.clone()).collect();
        expected.sort();
        let sources = runs
            .into_iter()
            .map(|(pairs, records, last)| Box::new(source(pairs, records, last)) as _)
            .collect();
        let after_batch = |merge: &mut dyn RecordBatches| if releases { merge.batch_copied() };
        prop_assert_eq!(drain_and(&mut Merge::new(sources), after_batch).unwrap(), expected);
    }
}

#[test]
fn used_blocks_are_freed_once_their_pairs_have_been_copied() {
    let large = |first: u8| vec![(vec![first; 2 << 20], vec![])];
    let sources = [0, 1].map(|first| Box::new(source(large(first), 1, false)) as _);
    let mut merge = Merge::new(Vec::from(sources));
    let held = |merge: &Merge<'_>| -> Vec<usize> {
        merge.batch.as_ref().unwrap().borrow_owner().iter().map(Block::len).collect()
    };
    assert_eq!(merge.next_batch().unwrap().unwrap().len(), 1);
    assert_eq!(held(&merge), [1, 1]);
    merge.batch_copied();
    assert_eq!(held(&merge), [0, 1]);
    assert_eq!(merge.next_batch().unwrap().unwrap()[0].key[0], 1);
    merge.batch_copied();
    assert_eq!(held(&merge), [0, 0]);
    assert!(merge.next_batch().unwrap().is_none());
}

#[test]
fn batches_are_bounded() {
    let many = (0..1_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![])).collect();
    let mut merge = Merge::new(vec![Box::new(source(many, 1_000, true))]);
    let mut sizes = Vec::new();
    while let Some(batch) = merge.next_batch().unwrap() {
        sizes.push(batch.len());
    }
    assert_eq!(sizes, [256, 256, 256, 232]);
}

#[test]
fn an_error_of_a_source_is_never_taken_for_its_end() {
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
