//! A tournament tree of losers: finds the smallest of k heads with log2(k) comparisons for each
//! step. See Knuth, The Art of Computer Programming, volume 3, section 5.4.1.

use std::hint::select_unpredictable;

/// The tree over players `0..players`. It holds a prefix of each player's head, which decides most
/// matches; the heads belong to the caller, who decides the ties.
pub struct LoserTree {
    /// At `node` in `1..players`, the loser of the match there; at 0, the overall winner.
    nodes: Vec<Player>,
}

#[derive(Clone, Copy, Default)]
struct Player {
    prefix: u64,
    number: u32,
}

impl LoserTree {
    /// Plays all matches. `wins_tie(a, b)` tells whether `a` goes before `b` if their prefixes are
    /// equal. There is at least one player.
    pub fn new(
        prefixes: impl ExactSizeIterator<Item = u64>,
        wins_tie: impl Fn(usize, usize) -> bool,
    ) -> Self {
        // Leaves are at `players..2 * players`, and node n has the children 2n and 2n + 1.
        let players = prefixes.len();
        let mut winners = vec![Player::default(); players];
        winners.extend((0..).zip(prefixes).map(|(number, prefix)| Player { prefix, number }));
        let mut nodes = vec![Player::default(); players];
        for node in (1..players).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            (winners[node], nodes[node]) =
                if right.beats(left, &wins_tie) { (right, left) } else { (left, right) };
        }
        nodes[0] = winners[1];
        Self { nodes }
    }

    /// The player that goes first.
    #[inline]
    pub fn winner(&self) -> usize {
        self.nodes[0].number as usize
    }

    /// The prefix of its head.
    #[inline]
    pub fn winner_prefix(&self) -> u64 {
        self.nodes[0].prefix
    }

    /// Plays the winner's matches again, after its head has changed to one with this prefix.
    #[inline]
    pub fn replay(&mut self, prefix: u64, wins_tie: impl Fn(usize, usize) -> bool) {
        let mut winner = Player { prefix, ..self.nodes[0] };
        let mut node = (self.nodes.len() + winner.number as usize) / 2;
        while node > 0 {
            let other = self.nodes[node];
            // Ties have a branch of their own: if their outcome met that of the others in one
            // variable, the compiler would branch on it.
            if other.prefix == winner.prefix {
                if wins_tie(other.number as usize, winner.number as usize) {
                    self.nodes[node] = std::mem::replace(&mut winner, other);
                }
            } else {
                // The winner is unpredictable, so both are moved without a branch.
                let wins = other.prefix < winner.prefix;
                self.nodes[node] = Player::either(wins, winner, other);
                winner = Player::either(wins, other, winner);
            }
            node /= 2;
        }
        self.nodes[0] = winner;
    }
}

impl Player {
    /// One of two, without a branch.
    #[inline]
    fn either(first: bool, a: Self, b: Self) -> Self {
        Self {
            prefix: select_unpredictable(first, a.prefix, b.prefix),
            number: select_unpredictable(first, a.number, b.number),
        }
    }

    #[inline]
    fn beats(self, other: Self, wins_tie: &impl Fn(usize, usize) -> bool) -> bool {
        self.prefix < other.prefix
            || self.prefix == other.prefix && wins_tie(self.number as usize, other.number as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_tree_sorts(runs in vec(vec(any::<u8>(), 0..20), 1..20)) {
            let mut runs: Vec<Vec<u8>> = runs;
            let mut expected = runs.concat();
            expected.sort_unstable();
            for run in &mut runs {
                run.sort_unstable_by(|a, b| b.cmp(a));
            }
            // The prefix decides only in part, and a finished run has the largest prefix.
            let head = |runs: &[Vec<u8>], at: usize| runs[at].last().map_or(256, |n| u16::from(*n));
            let prefix = |runs: &[Vec<u8>], at: usize| u64::from(head(runs, at).min(255) / 3);
            let prefixes: Vec<u64> = (0..runs.len()).map(|at| prefix(&runs, at)).collect();
            let mut tree =
                LoserTree::new(prefixes.into_iter(), |a, b| head(&runs, a) < head(&runs, b));
            let mut sorted = Vec::new();
            while let Some(smallest) = runs[tree.winner()].pop() {
                sorted.push(smallest);
                let next = prefix(&runs, tree.winner());
                tree.replay(next, |a, b| head(&runs, a) < head(&runs, b));
            }
            prop_assert_eq!(sorted, expected);
        }
    }
}
