//! Received bytes: they arrive in pieces and are read as one sequence.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Received pieces, none of which is empty. Bytes within one piece are taken without a copy.
#[derive(Default)]
pub(super) struct ByteQueue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl ByteQueue {
    /// Appends a received piece.
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }
}

impl Buf for ByteQueue {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes, "only received bytes can be taken");
        self.bytes -= count;
        let mut rest = count;
        while let Some(piece) = self.pieces.front_mut()
            && rest > 0
        {
            let taken = rest.min(piece.len());
            piece.advance(taken);
            rest -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.pieces.front() {
            Some(piece) if count <= piece.len() => {
                let taken = piece.slice(..count);
                self.advance(count);
                taken
            }
            _ => {
                assert!(count <= self.bytes, "only received bytes can be taken");
                let mut copy = BytesMut::with_capacity(count);
                copy.put(self.take(count));
                copy.freeze()
            }
        }
    }
}
