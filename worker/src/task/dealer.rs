//! Deals the chunks of a map task to its threads.

use std::ops::Range;
use std::sync::Mutex;

use crate::sync::lock;

/// The order in which threads take chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All threads together take them in input order: no thread waits long for an earlier chunk.
    Input,
    /// Each thread takes a run of neighbours: often they have keys and values in common, such as
    /// those of one day or file, which one thread combines better than several.
    Runs,
}

/// The chunks that no thread has taken.
pub struct Dealer {
    /// One share for each thread, or one for all.
    shares: Mutex<Vec<Range<usize>>>,
}

impl Dealer {
    /// Deals the chunks numbered `0..chunks` to threads numbered `0..threads`.
    pub fn new(chunks: usize, threads: usize, order: Order) -> Self {
        let count = if order == Order::Input { 1 } else { threads.max(1) };
        let border = |number: usize| chunks * number / count;
        let shares = (0..count).map(|number| border(number)..border(number + 1)).collect();
        Self { shares: Mutex::new(shares) }
    }

    /// The next chunk for this thread: of its share or, once that is used up, of the second half of
    /// the largest other one, which it takes over.
    pub fn take(&self, thread: usize) -> Option<usize> {
        let mut shares = lock(&self.shares);
        let mine = thread % shares.len();
        if shares[mine].is_empty() {
            let largest = shares.iter_mut().max_by_key(|share| share.len())?;
            let middle = largest.start + largest.len() / 2;
            let taken_over = middle..largest.end;
            largest.end = middle;
            shares[mine] = taken_over;
        }
        shares[mine].next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_dealt_once_however_fast_the_threads_are() {
        for order in [Order::Input, Order::Runs] {
            for (chunks, threads) in [(0, 1), (1, 4), (7, 3), (100, 1), (100, 7)] {
                for slow in 1..5 {
                    let dealer = Dealer::new(chunks, threads, order);
                    let mut dealt: Vec<usize> = Vec::new();
                    for turn in 0.. {
                        // The first thread works at each turn, the others less often.
                        let working = (0..threads).filter(|thread| turn % (thread * slow + 1) == 0);
                        let taken: Vec<_> = working.map(|thread| dealer.take(thread)).collect();
                        dealt.extend(taken.iter().flatten().copied());
                        if taken[0].is_none() {
                            break;
                        }
                    }
                    dealt.sort_unstable();
                    assert!(dealt.into_iter().eq(0..chunks), "{order:?} {chunks} {threads}");
                }
            }
        }
    }

    #[test]
    fn a_thread_takes_neighbours_and_then_half_of_what_another_has_left() {
        let dealer = Dealer::new(8, 2, Order::Runs);
        let of = |thread: usize, count: usize| -> Vec<_> {
            (0..count).map_while(|_| dealer.take(thread)).collect()
        };
        assert_eq!(of(1, 4), [4, 5, 6, 7]);
        assert_eq!(of(1, 1), [2]);
        assert_eq!(of(0, 9), [0, 1, 3]);
        assert_eq!(of(1, 1), [0; 0]);
    }

    #[test]
    fn chunks_are_dealt_in_input_order_where_that_is_asked_for() {
        let dealer = Dealer::new(5, 2, Order::Input);
        let dealt: Vec<_> = (0..5).map(|turn| dealer.take(turn % 2)).collect();
        assert_eq!(dealt, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    }
}
