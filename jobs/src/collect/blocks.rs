//! Items in blocks that never move, so that growing copies nothing and allocates no more than a
//! block.

/// Size of a block, unless a single item is larger.
const BLOCK_BYTES: usize = 64 << 10;

/// An append-only list. An item's number is its index.
pub(super) struct Blocks<T> {
    blocks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }
}

impl<T> Blocks<T> {
    /// Items in a block: a power of two, so that an item is found by a shift and a mask.
    const BLOCK_ITEMS: usize = {
        let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let items = if size > BLOCK_BYTES { 1 } else { BLOCK_BYTES / size };
        1 << items.ilog2()
    };

    /// Appends an item and returns its number.
    #[inline]
    pub(super) fn push(&mut self, item: T) -> usize {
        let number = self.len;
        if number.is_multiple_of(Self::BLOCK_ITEMS) {
            self.blocks.push(Vec::with_capacity(Self::BLOCK_ITEMS));
        }
        self.blocks[number / Self::BLOCK_ITEMS].push(item);
        self.len += 1;
        number
    }

    /// The item with this number.
    #[inline]
    pub(super) fn get(&self, number: usize) -> &T {
        &self.blocks[number / Self::BLOCK_ITEMS][number % Self::BLOCK_ITEMS]
    }

    /// The item with this number.
    #[inline]
    pub(super) fn get_mut(&mut self, number: usize) -> &mut T {
        &mut self.blocks[number / Self::BLOCK_ITEMS][number % Self::BLOCK_ITEMS]
    }

    /// The address of the item with this number, to prefetch it; any address if there is none.
    #[inline]
    pub(super) fn address(&self, number: usize) -> *const T {
        let block = self.blocks.get(number / Self::BLOCK_ITEMS);
        block.map_or(std::ptr::null(), Vec::as_ptr).wrapping_add(number % Self::BLOCK_ITEMS)
    }

    /// Number of items.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory of all blocks. O(1).
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.len() * Self::BLOCK_ITEMS * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items_are_found<T: Clone + PartialEq + std::fmt::Debug>(item: impl Fn(usize) -> T) {
        let mut blocks = Blocks::default();
        for number in 0..10_000 {
            assert_eq!(blocks.push(item(number)), number);
        }
        *blocks.get_mut(9_999) = item(0);
        assert_eq!((blocks.get(9_998), blocks.get(9_999)), (&item(9_998), &item(0)));
        assert_eq!(blocks.address(9_998), std::ptr::from_ref(blocks.get(9_998)));
        let memory_bytes = blocks.memory_bytes();
        let used_bytes = 10_000 * size_of::<T>();
        assert!((used_bytes..=used_bytes + BLOCK_BYTES).contains(&memory_bytes));
    }

    #[test]
    fn items_of_any_size_are_found() {
        items_are_found(|number| number as u8);
        items_are_found(|number| [number; 3]);
        items_are_found(|number| vec![number]);
        items_are_found(|_| ());
    }
}
