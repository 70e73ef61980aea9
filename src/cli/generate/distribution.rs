//! Zipf's law by an alias table, in integers, so that every platform draws the same ranks.

use super::rng::Rng;

/// The weight of rank 1; rank r weighs one r-th of it, rounded down.
const TOP_WEIGHT: u64 = 1 << 40;

/// Most ranks that a table may have. Weights times ranks stay below 2^64, and the least weight
/// above 2^16.
pub(super) const RANKS_MAX: u32 = 10_000_000;

/// Ranks from 0, of which rank r is drawn with a probability proportional to 1 / (r + 1).
///
/// Walker's method as Vose builds it: a draw looks at one slot, which stays with its own rank or
/// gives way to another.
pub(super) struct Zipf {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The slot's own rank is drawn for this many of 2^32 numbers.
    own_below: u32,
    /// The rank that is drawn otherwise.
    other: u32,
}

impl Zipf {
    /// A table of `ranks`, from 1 to [`RANKS_MAX`]. O(ranks).
    pub(super) fn new(ranks: u32) -> Self {
        debug_assert!((1..=RANKS_MAX).contains(&ranks));
        let weight = |rank: u32| TOP_WEIGHT / (u64::from(rank) + 1);
        // What a slot holds. A rank's share is scaled so that the mean share just fills a slot.
        let full: u64 = (0..ranks).map(weight).sum();
        let mut shares: Vec<u64> = (0..ranks).map(|rank| weight(rank) * u64::from(ranks)).collect();
        let mut slots: Vec<Slot> =
            (0..ranks).map(|rank| Slot { own_below: u32::MAX, other: rank }).collect();
        let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
            (0..ranks).partition(|&rank| shares[rank as usize] < full);
        while let (Some(short), Some(giver)) = (poor.pop(), rich.pop()) {
            let share = shares[short as usize];
            let own_below = ((u128::from(share) << 32) / u128::from(full)) as u32;
            slots[short as usize] = Slot { own_below, other: giver };
            shares[giver as usize] -= full - share;
            if shares[giver as usize] < full { poor.push(giver) } else { rich.push(giver) }
        }
        Self { slots }
    }

    /// Draws a rank: one random number, one slot.
    pub(super) fn sample(&self, rng: &mut Rng) -> u32 {
        let random = rng.next();
        // The upper half chooses the slot, the lower half the rank in it.
        let index = ((random >> 32) * self.slots.len() as u64) >> 32;
        let slot = self.slots[index as usize];
        if (random as u32) < slot.own_below { index as u32 } else { slot.other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequency_falls_as_one_over_rank() {
        let zipf = Zipf::new(1000);
        let mut rng = Rng::new(1, 0);
        let mut seen = vec![0u32; 1000];
        let draws = 500_000;
        for _ in 0..draws {
            seen[zipf.sample(&mut rng) as usize] += 1;
        }
        let harmonic: f64 = (1..=1000).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1u32, 2, 3, 10, 50] {
            let expected = f64::from(draws) / harmonic / f64::from(rank);
            let found = f64::from(seen[rank as usize - 1]);
            assert!((found / expected - 1.0).abs() < 0.1, "rank {rank}: {found}, not {expected}");
        }
        assert!(seen.iter().all(|&n| n > 0), "every rank occurs");
    }

    #[test]
    fn one_rank_is_always_drawn() {
        let zipf = Zipf::new(1);
        let mut rng = Rng::new(1, 0);
        assert!((0..100).all(|_| zipf.sample(&mut rng) == 0));
    }
}
