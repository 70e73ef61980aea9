//! Long lists that are copied on write and journaled in blocks: a state names the blocks that have
//! not changed since they were written, and copies of the list share them.
//!
//! ```text
//!  state ──> [ attachment 7 | attachment 12 | attachment 9 | the rest ]   only full blocks are
//!                  |               |              |                       attachments, each
//!                tasks           tasks          tasks                     written when it changed
//! ```
//!
//! So a state of a million tasks costs its writer only the blocks that have changed. Copying it
//! between two events is cheap, too: a block is copied only if it changes while its former content
//! is still being written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::SplitPlan;
use crate::job::stage::Task;
use crate::journal::AttachmentId;

/// A block of consecutive tasks or splits, written as an attachment of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CowBlock(Content);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Content {
    Splits(Arc<Vec<SplitPlan>>),
    Tasks(Arc<Vec<Task>>),
}

/// An item of a list in blocks.
pub(crate) trait InBlocks: Clone {
    /// Makes a block of items.
    fn to_block(items: Arc<Vec<Self>>) -> CowBlock;

    /// The items of a block, if it has this type of item.
    fn of_block(block: &CowBlock) -> Option<&Arc<Vec<Self>>>;
}

impl InBlocks for SplitPlan {
    fn to_block(items: Arc<Vec<Self>>) -> CowBlock {
        CowBlock(Content::Splits(items))
    }

    fn of_block(CowBlock(content): &CowBlock) -> Option<&Arc<Vec<Self>>> {
        match content {
            Content::Splits(items) => Some(items),
            Content::Tasks(_) => None,
        }
    }
}

impl InBlocks for Task {
    fn to_block(items: Arc<Vec<Self>>) -> CowBlock {
        CowBlock(Content::Tasks(items))
    }

    fn of_block(CowBlock(content): &CowBlock) -> Option<&Arc<Vec<Self>>> {
        match content {
            Content::Tasks(items) => Some(items),
            Content::Splits(_) => None,
        }
    }
}

/// A list of fixed length in blocks that are copied on write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CowList<T> {
    len: u32,
    /// Length of each block but the last, which may be shorter.
    block_len: NonZeroU32,
    blocks: Vec<Stored<T>>,
}

/// One block, and the journal attachment that has its current content.
#[derive(Clone, Debug)]
struct Stored<T> {
    /// Empty after it was read from the journal, until it is [taken](CowList::take).
    items: Arc<Vec<T>>,
    attachment: Option<AttachmentId>,
}

impl<T: Clone> Stored<T> {
    /// Its items, to be changed. Copies them if they are shared.
    fn changing(&mut self) -> &mut Vec<T> {
        self.attachment = None;
        Arc::make_mut(&mut self.items)
    }
}

impl<T: InBlocks> CowList<T> {
    /// A list of these items, in blocks of `block_len`.
    pub(crate) fn new(items: impl ExactSizeIterator<Item = T>, block_len: NonZeroU32) -> Self {
        let len = items.len() as u32;
        let mut blocks = Vec::with_capacity(len.div_ceil(block_len.get()) as usize);
        let mut items = items.peekable();
        while items.peek().is_some() {
            let items = Arc::new(items.by_ref().take(block_len.get() as usize).collect());
            blocks.push(Stored { items, attachment: None });
        }
        Self { len, block_len, blocks }
    }

    /// Number of items.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// All items in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.items.iter())
    }

    /// The item at this index, if there is one.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (block, within) = self.place(index);
        self.blocks.get(block)?.items.get(within)
    }

    /// The item at this index, if there is one, to be changed.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (block, within) = self.place(index);
        let block = self.blocks.get_mut(block)?;
        (within < block.items.len()).then(|| &mut block.changing()[within])
    }

    fn place(&self, index: u32) -> (usize, usize) {
        ((index / self.block_len) as usize, (index % self.block_len) as usize)
    }

    /// Writes each full block that has changed since it was last written: `write` gives it a name.
    pub(crate) fn write(&mut self, write: &mut dyn FnMut(CowBlock) -> AttachmentId) {
        let block_len = self.block_len.get() as usize;
        let full = self.blocks.iter_mut().filter(|block| block.items.len() == block_len);
        for block in full.filter(|block| block.attachment.is_none()) {
            block.attachment = Some(write(T::to_block(Arc::clone(&block.items))));
        }
    }

    /// Calls `name` with each attachment that holds items of the list.
    pub(crate) fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.blocks.iter().filter_map(|block| block.attachment).for_each(name);
    }

    /// Takes the items that the state only names from `attachments`, and drops the names: the
    /// coordinator that gave them may still delete attachments that its latest state does not name.
    ///
    /// # Panics
    /// If an attachment is missing or has other items. A state is read together with its
    /// attachments.
    pub(crate) fn take(&mut self, attachments: &BTreeMap<AttachmentId, CowBlock>) {
        for block in &mut self.blocks {
            let Some(attachment) = block.attachment.take() else { continue };
            if block.items.is_empty() {
                let there = attachments.get(&attachment).and_then(T::of_block);
                block.items = there.cloned().unwrap_or_default();
            }
        }
        let taken: usize = self.blocks.iter().map(|block| block.items.len()).sum();
        assert_eq!(taken, self.len as usize, "a state is read together with its attachments");
    }
}

impl<T: InBlocks> Index<u32> for CowList<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        let (block, within) = self.place(index);
        &self.blocks[block].items[within]
    }
}

impl<T: InBlocks> IndexMut<u32> for CowList<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (block, within) = self.place(index);
        &mut self.blocks[block].changing()[within]
    }
}

/// The attachment in which it lies does not matter.
impl<T: PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

/// The journaled form of a block.
#[derive(Serialize, Deserialize)]
enum Written<Items> {
    Here(Items),
    There(AttachmentId),
}

impl<T: Serialize> Serialize for Stored<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.attachment {
            Some(attachment) => Written::There(attachment),
            None => Written::Here(&*self.items),
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Stored<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::<Vec<T>>::deserialize(deserializer)? {
            Written::Here(items) => Self { items: Arc::new(items), attachment: None },
            Written::There(attachment) => {
                Self { items: Arc::default(), attachment: Some(attachment) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Epoch;

    fn splits(count: u64) -> CowList<SplitPlan> {
        let split = |bytes| SplitPlan { bytes, affinity: 0 };
        let splits: Vec<_> = (0..count).map(split).collect();
        CowList::new(splits.into_iter(), NonZeroU32::new(4).unwrap())
    }

    /// The written blocks by name.
    #[derive(Default)]
    struct Journal(BTreeMap<AttachmentId, CowBlock>);

    impl Journal {
        fn write(&mut self, blocks: &mut CowList<SplitPlan>) -> usize {
            let before = self.0.len();
            blocks.write(&mut |block| {
                let id = AttachmentId { epoch: Epoch(1), number: self.0.len() as u64 };
                self.0.insert(id, block);
                id
            });
            self.0.len() - before
        }
    }

    #[test]
    fn only_changed_full_blocks_are_written() {
        let (mut list, mut journal) = (splits(11), Journal::default());
        assert_eq!(journal.write(&mut list), 2, "the last 3 items are no full block");
        assert_eq!(journal.write(&mut list), 0);
        for index in [5, 6, 10] {
            list.get_mut(index).unwrap().bytes += 100;
        }
        assert_eq!(journal.write(&mut list), 1);
        assert_eq!(list.get_mut(11), None);
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let (mut list, mut journal) = (splits(11), Journal::default());
        journal.write(&mut list);
        list.get_mut(2).unwrap().bytes = 77;
        journal.write(&mut list);
        let whole = postcard::to_allocvec(&splits(11)).unwrap();
        let bytes = postcard::to_allocvec(&list).unwrap();
        assert!(bytes.len() < whole.len(), "items in attachments are not written again");
        let mut read: CowList<SplitPlan> = postcard::from_bytes(&bytes).unwrap();
        assert_ne!(read, list);
        read.take(&journal.0);
        assert_eq!(read, list);
        assert_eq!(read.iter().map(|split| split.bytes).sum::<u64>(), 55 - 2 + 77);
        assert_eq!(journal.write(&mut read), 2, "names that another coordinator gave are dropped");
    }

    #[test]
    #[should_panic = "a state is read together with its attachments"]
    fn a_missing_part_panics() {
        let (mut list, mut journal) = (splits(8), Journal::default());
        journal.write(&mut list);
        let bytes = postcard::to_allocvec(&list).unwrap();
        let mut read: CowList<SplitPlan> = postcard::from_bytes(&bytes).unwrap();
        read.take(&BTreeMap::new());
    }
}
