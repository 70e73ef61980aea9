//! A tournament tree of losers: finds the smallest of k heads with log2(k) comparisons for each step.
//! See Knuth, The Art of Computer Programming, volume 3, section 5.4.1.

/// The tree over players `0..players`. Heads are the caller's; the tree asks which of two players goes first.
pub struct LoserTree {
    players: usize,
    /// At `node` in `1..players`, the loser of the match there; at 0, the winner of all.
    nodes: Vec<usize>,
}

impl LoserTree {
    /// Plays all matches. `less(a, b)` tells whether `a` goes before `b`; there is at least one player.
    pub fn new(players: usize, less: impl Fn(usize, usize) -> bool) -> Self {
        // Leaves are at `players..2 * players`, and node n has the children 2n and 2n + 1.
        let mut winners = vec![0; players];
        winners.extend(0..players);
        let mut nodes = vec![0; players];
        for node in (1..players).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            (winners[node], nodes[node]) =
                if less(right, left) { (right, left) } else { (left, right) };
        }
        nodes[0] = winners[1];
        Self { players, nodes }
    }

    /// The player that goes first.
    #[inline]
    pub fn winner(&self) -> usize {
        self.nodes[0]
    }

    /// Plays the winner's matches again, after its head has changed.
    #[inline]
    pub fn replay(&mut self, less: impl Fn(usize, usize) -> bool) {
        let mut winner = self.nodes[0];
        let mut node = (self.players + winner) / 2;
        while node > 0 {
            if less(self.nodes[node], winner) {
                std::mem::swap(&mut self.nodes[node], &mut winner);
            }
            node /= 2;
        }
        self.nodes[0] = winner;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_sorts(runs in vec(vec(any::<u8>(), 0..20), 1..20)) {
            let mut runs: Vec<Vec<u8>> = runs;
            let mut expected = runs.concat();
            expected.sort_unstable();
            for run in &mut runs {
                run.sort_unstable_by(|a, b| b.cmp(a));
            }
            let head = |runs: &[Vec<u8>], at: usize| runs[at].last().map_or(256, |n| u16::from(*n));
            let mut tree = LoserTree::new(runs.len(), |a, b| head(&runs, a) < head(&runs, b));
            let mut sorted = Vec::new();
            while let Some(smallest) = runs[tree.winner()].pop() {
                sorted.push(smallest);
                tree.replay(|a, b| head(&runs, a) < head(&runs, b));
            }
            prop_assert_eq!(sorted, expected);
        }
    }
}
