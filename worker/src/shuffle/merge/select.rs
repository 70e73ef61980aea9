//! Takes pairs from the current blocks in order, until there are enough of them or a block must be replaced.
//!
//! What is known of the order outlives a batch: the tree knows each source's next pair by its prefix, and only the
//! source whose pair goes first can be at the end of its block.

use windrow_jobs::FailureCause;
use windrow_jobs::collect::prefix;
use windrow_jobs::program::RecordRef;

use super::super::block::Block;
use super::super::source::BlockSource;
use super::super::tree::LoserTree;

/// So many pairs of a source are fetched into the cache at once, while the merge takes the same number before them: their
/// memory arrives side by side, and the merge is held up once for all.
const PREFETCH_PAIRS: usize = 16;

/// A batch ends with the pair that makes it this large: whoever reads it may copy it.
const BATCH_BYTES: usize = 1 << 20;

/// Cuts a batch where it gets too large.
fn truncate(records: &mut Vec<RecordRef<'_>>) {
    let mut bytes = 0;
    let mut within = |record: &RecordRef<'_>| {
        let fits = bytes < BATCH_BYTES;
        bytes += record.key.len() + record.value.len();
        fits
    };
    let len = records.iter().take_while(|record| within(record)).count();
    records.truncate(len);
}

/// The state of a merge between batches.
pub struct Selector {
    cursors: Vec<Cursor>,
    /// Of two sources or more, once their first blocks are there.
    tree: Option<LoserTree>,
    /// The winner's block has been used up, so its next pair is not in the tree yet.
    is_stale: bool,
}

/// How far a source's current block has been read.
#[derive(Clone, Copy, Default)]
struct Cursor {
    next: usize,
    /// No block follows the current one.
    last: bool,
}

/// The first pair of a source that has not been taken.
struct Head<'b> {
    record: RecordRef<'b>,
    /// There is none.
    is_done: bool,
}

impl<'b> Head<'b> {
    fn of(block: &'b Block, cursor: &Cursor) -> Self {
        if cursor.next < block.len() {
            Self { record: block.record(cursor.next), is_done: false }
        } else {
            Self { record: RecordRef { key: &[], value: &[] }, is_done: true }
        }
    }

    /// Decides most comparisons: the first eight bytes of the key, big endian.
    #[inline]
    fn prefix(&self) -> u64 {
        if self.is_done { u64::MAX } else { prefix(self.record.key) }
    }
}

/// Whether the pair of `a` is taken before that of `b`, whose prefix is the same.
#[inline]
fn wins_tie(heads: &[Head<'_>], a: usize, b: usize) -> bool {
    let (a, b) = (&heads[a], &heads[b]);
    !a.is_done && (b.is_done || a.record < b.record)
}

impl Selector {
    /// For so many sources, none of which has a block yet.
    pub fn new(sources: usize) -> Self {
        Self { cursors: vec![Cursor::default(); sources], tree: None, is_stale: false }
    }

    /// Replaces the blocks that have been read to their end.
    pub fn refill(
        &mut self,
        sources: &mut [Box<dyn BlockSource + '_>],
        blocks: &mut [Block],
    ) -> Result<(), FailureCause> {
        let range = match &self.tree {
            Some(_) if !self.is_stale => 0..0,
            Some(tree) => tree.winner()..tree.winner() + 1,
            None => 0..sources.len(),
        };
        for at in range {
            let (block, cursor) = (&mut blocks[at], &mut self.cursors[at]);
            while cursor.next == block.len() && !cursor.last {
                let found = sources[at].next_block(block)?;
                *cursor = Cursor { next: 0, last: !found || sources[at].is_last() };
            }
        }
        Ok(())
    }

    /// Appends up to `records_max` pairs, and at least one unless there is none.
    pub fn select<'b>(
        &mut self,
        blocks: &'b [Block],
        records: &mut Vec<RecordRef<'b>>,
        records_max: usize,
    ) {
        match blocks {
            [] => {}
            [block] => {
                let next = self.cursors[0].next;
                let end = block.len().min(next + records_max);
                block.read(next..end, records);
                truncate(records);
                self.cursors[0].next = next + records.len();
            }
            _ => self.merge(blocks, records, records_max),
        }
    }

    fn merge<'b>(
        &mut self,
        blocks: &'b [Block],
        records: &mut Vec<RecordRef<'b>>,
        records_max: usize,
    ) {
        let heads = blocks.iter().zip(&self.cursors).map(|(block, cursor)| Head::of(block, cursor));
        let mut heads: Vec<Head<'b>> = heads.collect();
        let cursors = &mut self.cursors[..heads.len()];
        let tree = match &mut self.tree {
            Some(tree) => {
                if std::mem::take(&mut self.is_stale) {
                    tree.replay(heads[tree.winner()].prefix(), |a, b| wins_tie(&heads, a, b));
                }
                tree
            }
            none => {
                let prefixes = heads.iter().map(Head::prefix);
                none.insert(LoserTree::new(prefixes, |a, b| wins_tie(&heads, a, b)))
            }
        };
        records.reserve(records_max);
        let mut bytes = 0;
        while records.len() < records_max && bytes < BATCH_BYTES {
            let winner = tree.winner();
            let (head, cursor, block) = (&mut heads[winner], &mut cursors[winner], &blocks[winner]);
            if head.is_done {
                break;
            }
            records.push(head.record);
            bytes += head.record.key.len() + head.record.value.len();
            cursor.next += 1;
            if cursor.next < block.len() {
                let taken = std::mem::replace(&mut head.record, block.record(cursor.next));
                if cursor.next.is_multiple_of(PREFETCH_PAIRS) {
                    let ahead = cursor.next + PREFETCH_PAIRS;
                    block.prefetch(ahead..ahead + PREFETCH_PAIRS);
                }
                // What won against all others wins again: many equal pairs cost one comparison each.
                if head.prefix() == tree.winner_prefix() && head.record == taken {
                    continue;
                }
            } else if cursor.last {
                head.is_done = true;
            } else {
                self.is_stale = true;
                break;
            }
            tree.replay(heads[winner].prefix(), |a, b| wins_tie(&heads, a, b));
        }
    }
}
