//! Long lists that are written to the journal in pieces: a state names those that have not changed
//! since they were written, and copies of it share them.
//!
//! ```text
//!  state ──> [ part 7 | part 12 | part 9 | the rest ]     only full pieces lie in parts
//!                 │        │        │
//!               tasks    tasks    tasks                   each written when it has changed
//! ```
//!
//! So the state of a million tasks costs its writer what has changed since the last one, and the
//! scheduler, which copies it between two events, little at all: a piece is copied when it changes
//! while its former content is still being written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::SplitPlan;
use crate::job::stage::Task;
use crate::journal::PartId;

/// Some tasks, or splits, that lie side by side: what is written beside a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece(Content);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Content {
    Splits(Arc<Vec<SplitPlan>>),
    Tasks(Arc<Vec<Task>>),
}

/// What lists in pieces are made of.
pub(crate) trait InPieces: Clone {
    /// So many as a piece.
    fn to_piece(items: Arc<Vec<Self>>) -> Piece;

    /// Those of a piece, if it is one of these.
    fn of_piece(piece: &Piece) -> Option<&Arc<Vec<Self>>>;
}

impl InPieces for SplitPlan {
    fn to_piece(items: Arc<Vec<Self>>) -> Piece {
        Piece(Content::Splits(items))
    }

    fn of_piece(Piece(content): &Piece) -> Option<&Arc<Vec<Self>>> {
        match content {
            Content::Splits(items) => Some(items),
            Content::Tasks(_) => None,
        }
    }
}

impl InPieces for Task {
    fn to_piece(items: Arc<Vec<Self>>) -> Piece {
        Piece(Content::Tasks(items))
    }

    fn of_piece(Piece(content): &Piece) -> Option<&Arc<Vec<Self>>> {
        match content {
            Content::Tasks(items) => Some(items),
            Content::Splits(_) => None,
        }
    }
}

/// A list whose length does not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pieces<T> {
    len: u32,
    /// Of each piece but the last, which may be shorter.
    piece_len: NonZeroU32,
    pieces: Vec<Stored<T>>,
}

/// One piece, and where its present content lies in the journal.
#[derive(Clone, Debug)]
struct Stored<T> {
    /// Empty in what was read from the journal, until it is [taken](Pieces::take).
    items: Arc<Vec<T>>,
    part: Option<PartId>,
}

impl<T: Clone> Stored<T> {
    /// Its items, of which some are going to change. Copies them if somebody else still needs them
    /// as they are.
    fn changing(&mut self) -> &mut Vec<T> {
        self.part = None;
        Arc::make_mut(&mut self.items)
    }
}

impl<T: InPieces> Pieces<T> {
    /// These, of which `piece_len` make a piece.
    pub(crate) fn new(items: impl ExactSizeIterator<Item = T>, piece_len: NonZeroU32) -> Self {
        let len = items.len() as u32;
        let mut pieces = Vec::with_capacity(len.div_ceil(piece_len.get()) as usize);
        let mut items = items.peekable();
        while items.peek().is_some() {
            let items = Arc::new(items.by_ref().take(piece_len.get() as usize).collect());
            pieces.push(Stored { items, part: None });
        }
        Self { len, piece_len, pieces }
    }

    /// Number of items.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// All in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.items.iter())
    }

    /// The one of this number, if there is one.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (piece, within) = self.place(index);
        self.pieces.get(piece)?.items.get(within)
    }

    /// The one of this number, if there is one, to be changed.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (piece, within) = self.place(index);
        let piece = self.pieces.get_mut(piece)?;
        (within < piece.items.len()).then(|| &mut piece.changing()[within])
    }

    fn place(&self, index: u32) -> (usize, usize) {
        ((index / self.piece_len) as usize, (index % self.piece_len) as usize)
    }

    /// Has each full piece written that has changed since it was written last: `write` gives it a
    /// name.
    pub(crate) fn write(&mut self, write: &mut dyn FnMut(Piece) -> PartId) {
        let piece_len = self.piece_len.get() as usize;
        let full = self.pieces.iter_mut().filter(|piece| piece.items.len() == piece_len);
        for piece in full.filter(|piece| piece.part.is_none()) {
            piece.part = Some(write(T::to_piece(Arc::clone(&piece.items))));
        }
    }

    /// Calls `name` with each part in which some of the items lie.
    pub(crate) fn name_parts(&self, name: &mut dyn FnMut(PartId)) {
        self.pieces.iter().filter_map(|piece| piece.part).for_each(name);
    }

    /// Takes from `parts` what the state that was read has only named, and forgets the names: the
    /// coordinator that gave them may still delete parts that its last state does not name.
    ///
    /// # Panics
    /// When a part is missing, or is none of these. Whoever read the state has read its parts.
    pub(crate) fn take(&mut self, parts: &BTreeMap<PartId, Piece>) {
        for piece in &mut self.pieces {
            let Some(part) = piece.part.take() else { continue };
            if piece.items.is_empty() {
                let there = parts.get(&part).and_then(T::of_piece);
                piece.items = there.cloned().unwrap_or_default();
            }
        }
        let taken: usize = self.pieces.iter().map(|piece| piece.items.len()).sum();
        assert_eq!(taken, self.len as usize, "a state is read together with its parts");
    }
}

impl<T: InPieces> Index<u32> for Pieces<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        let (piece, within) = self.place(index);
        &self.pieces[piece].items[within]
    }
}

impl<T: InPieces> IndexMut<u32> for Pieces<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (piece, within) = self.place(index);
        &mut self.pieces[piece].changing()[within]
    }
}

/// Where it lies does not matter.
impl<T: PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

/// What is written of a piece.
#[derive(Serialize, Deserialize)]
enum Written<Items> {
    Here(Items),
    There(PartId),
}

impl<T: Serialize> Serialize for Stored<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.part {
            Some(part) => Written::There(part),
            None => Written::Here(&*self.items),
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Stored<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::<Vec<T>>::deserialize(deserializer)? {
            Written::Here(items) => Self { items: Arc::new(items), part: None },
            Written::There(part) => Self { items: Arc::default(), part: Some(part) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Epoch;

    fn splits(count: u64) -> Pieces<SplitPlan> {
        let split = |bytes| SplitPlan { bytes, affinity: 0 };
        let splits: Vec<_> = (0..count).map(split).collect();
        Pieces::new(splits.into_iter(), NonZeroU32::new(4).unwrap())
    }

    /// What was written, by the names under which it was.
    #[derive(Default)]
    struct Journal(BTreeMap<PartId, Piece>);

    impl Journal {
        fn write(&mut self, pieces: &mut Pieces<SplitPlan>) -> usize {
            let before = self.0.len();
            pieces.write(&mut |piece| {
                let id = PartId { epoch: Epoch(1), number: self.0.len() as u64 };
                self.0.insert(id, piece);
                id
            });
            self.0.len() - before
        }
    }

    #[test]
    fn only_full_pieces_that_have_changed_are_written() {
        let (mut list, mut journal) = (splits(11), Journal::default());
        assert_eq!(journal.write(&mut list), 2, "the rest of 3 is no piece");
        assert_eq!(journal.write(&mut list), 0);
        for index in [5, 6, 10] {
            list.get_mut(index).unwrap().bytes += 100;
        }
        assert_eq!(journal.write(&mut list), 1);
        assert_eq!(list.get_mut(11), None);
    }

    #[test]
    fn what_was_written_is_read_as_it_was() {
        let (mut list, mut journal) = (splits(11), Journal::default());
        journal.write(&mut list);
        list.get_mut(2).unwrap().bytes = 77;
        journal.write(&mut list);
        let whole = postcard::to_allocvec(&splits(11)).unwrap();
        let bytes = postcard::to_allocvec(&list).unwrap();
        assert!(bytes.len() < whole.len(), "what lies in parts is not written again");
        let mut read: Pieces<SplitPlan> = postcard::from_bytes(&bytes).unwrap();
        assert_ne!(read, list);
        read.take(&journal.0);
        assert_eq!(read, list);
        assert_eq!(read.iter().map(|split| split.bytes).sum::<u64>(), 55 - 2 + 77);
        assert_eq!(journal.write(&mut read), 2, "names of another coordinator are not kept");
    }

    #[test]
    #[should_panic = "a state is read together with its parts"]
    fn a_missing_part_is_not_passed_over() {
        let (mut list, mut journal) = (splits(8), Journal::default());
        journal.write(&mut list);
        let bytes = postcard::to_allocvec(&list).unwrap();
        let mut read: Pieces<SplitPlan> = postcard::from_bytes(&bytes).unwrap();
        read.take(&BTreeMap::new());
    }
}
