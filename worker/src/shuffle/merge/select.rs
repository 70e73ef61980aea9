//! Takes pairs from the current blocks in order, until there are enough of them or a block must
//! be replaced.
//!
//! The order found so far outlives a batch: the tree holds the prefix of each source's next pair,
//! and only the source whose pair goes first can be at the end of its block.

use windrow_jobs::FailureCause;
use windrow_jobs::pairs::{RecordRef, prefix};

use super::super::block::Block;
use super::super::source::BlockSource;
use super::super::tree::LoserTree;
use super::recycle;

/// So many pairs of a source are read at once, ahead of the merge: their cache misses overlap, and
/// the merge finds them in the cache. Fewer where many sources share a batch, since pairs that a
/// batch leaves over are read again.
const WINDOW_RECORDS: std::ops::RangeInclusive<usize> = 8..=64;

/// A batch ends with the pair that makes it this large: its reader may copy it.
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
    /// The memory of windows, which are empty between batches.
    windows: Vec<Window<'static>>,
    /// For two sources or more, once their first blocks are there.
    tree: Option<LoserTree>,
    /// The winner's block has been used up, so its next pair is not in the tree yet.
    is_stale: bool,
    /// Blocks have been freed, and with them the positions of their sources.
    has_released: bool,
}

/// How far a source's current block has been merged.
#[derive(Clone, Copy, Default)]
struct Cursor {
    next: usize,
    /// No block follows the current one.
    last: bool,
}

/// The next pairs of a source's current block.
#[derive(Default)]
struct Window<'b> {
    records: Vec<RecordRef<'b>>,
    /// `prefix(key)` of each of the records, and `u64::MAX` as a sentinel after them. Whole keys
    /// are compared only where prefixes are equal.
    prefixes: Vec<u64>,
    at: usize,
}

impl<'b> Window<'b> {
    /// Reads up to `records_max` pairs of `block` from number `next` on.
    fn fill(&mut self, block: &'b Block, next: usize, records_max: usize) {
        self.records.clear();
        self.prefixes.clear();
        self.at = 0;
        block.read(next..block.len().min(next + records_max), &mut self.records);
        self.prefixes.extend(self.records.iter().map(|record| prefix(record.key)));
        self.prefixes.push(u64::MAX);
    }

    /// The source's first pair that has not been taken. `None` at the end of the block.
    #[inline]
    fn head(&self) -> Option<&RecordRef<'b>> {
        self.records.get(self.at)
    }

    /// Its prefix: the first eight bytes of the key, big endian.
    #[inline]
    fn prefix(&self) -> u64 {
        self.prefixes[self.at]
    }

    /// Keeps the memory for pairs that may live longer.
    fn recycle(self) -> Window<'static> {
        Window { records: recycle(self.records), prefixes: self.prefixes, at: 0 }
    }
}

/// Whether the head of `a` is taken before that of `b`, whose prefix is the same.
#[inline]
fn wins_tie(windows: &[Window<'_>], a: usize, b: usize) -> bool {
    match (windows[a].head(), windows[b].head()) {
        (Some(a), Some(b)) => a < b,
        (a, _) => a.is_some(),
    }
}

impl Selector {
    /// For so many sources, none of which has a block yet.
    pub fn new(sources: usize) -> Self {
        Self {
            cursors: vec![Cursor::default(); sources],
            windows: (0..sources).map(|_| Window::default()).collect(),
            tree: None,
            is_stale: false,
            has_released: false,
        }
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

    /// For each source, how many pairs of its current block have been taken.
    pub fn used(&self) -> impl Iterator<Item = usize> {
        debug_assert!(!self.has_released, "a freed block would count as not begun");
        self.cursors.iter().map(|cursor| cursor.next)
    }

    /// Frees the blocks that have been read to their end.
    pub fn release(&mut self, blocks: &mut [Block]) {
        for (block, cursor) in blocks.iter_mut().zip(&mut self.cursors) {
            if cursor.next == block.len() {
                self.has_released = true;
                block.clear();
                cursor.next = 0;
            }
        }
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
        let share = records_max / blocks.len();
        let window_records = share.clamp(*WINDOW_RECORDS.start(), *WINDOW_RECORDS.end());
        // Short windows at first: a batch of large pairs may end before it reaches most of them.
        let mut windows = self.open_windows(blocks, share.clamp(1, *WINDOW_RECORDS.end()));
        let mut tree = self.enter_heads(&windows);
        records.reserve(records_max);
        let mut bytes = 0;
        while records.len() < records_max && bytes < BATCH_BYTES {
            let winner = tree.winner();
            let (window, cursor) = (&mut windows[winner], &mut self.cursors[winner]);
            let Some(&taken) = window.head() else { break };
            records.push(taken);
            bytes += taken.key.len() + taken.value.len();
            window.at += 1;
            cursor.next += 1;
            if window.at == window.records.len() {
                window.fill(&blocks[winner], cursor.next, window_records);
                if window.records.is_empty() && !cursor.last {
                    self.is_stale = true;
                    break;
                }
            }
            let prefix = window.prefix();
            // The winner over all others wins again: many equal pairs cost one comparison each.
            if prefix != tree.winner_prefix() || window.head() != Some(&taken) {
                tree.replay(prefix, |a, b| wins_tie(&windows, a, b));
            }
        }
        self.tree = Some(tree);
        self.windows = windows.into_iter().map(Window::recycle).collect();
    }

    /// A window on each of these blocks, from the merge's position on.
    fn open_windows<'b>(&mut self, blocks: &'b [Block], records_max: usize) -> Vec<Window<'b>> {
        let mut windows: Vec<Window<'b>> = std::mem::take(&mut self.windows);
        for ((window, block), cursor) in windows.iter_mut().zip(blocks).zip(&self.cursors) {
            window.fill(block, cursor.next, records_max);
        }
        windows
    }

    /// Takes the tree, with the head of each window in it.
    fn enter_heads(&mut self, windows: &[Window<'_>]) -> LoserTree {
        let wins_tie = |a, b| wins_tie(windows, a, b);
        match self.tree.take() {
            Some(mut tree) if std::mem::take(&mut self.is_stale) => {
                tree.replay(windows[tree.winner()].prefix(), wins_tie);
                tree
            }
            Some(tree) => tree,
            None => LoserTree::new(windows.iter().map(Window::prefix), wins_tie),
        }
    }
}
