//! The innermost kernels, each beside what one would write by hand for that job alone: ns per record, median of some
//! rounds, on one thread.
//!
//!     cargo bench -p windrow-jobs --bench kernels -- [sort|words|count] [TEXT FILE]
//!
//! Without a file, words are drawn from a Zipf distribution.

#![allow(clippy::print_stdout)]

mod sort;

use std::hint::black_box;
use std::time::Instant;

/// Rounds of which the median counts.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |kernel: &str| arguments.first().is_none_or(|first| first == kernel);
    if wanted("sort") {
        sort::run();
    }
}

/// Prints the median time of `round`, which handles as many records as it returns. `prepare` is not counted.
fn measure<T>(what: &str, mut prepare: impl FnMut() -> T, mut round: impl FnMut(T) -> usize) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let input = prepare();
            let started = Instant::now();
            let records = black_box(round(input));
            started.elapsed().as_secs_f64() * 1e9 / records as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<44} {:>8.2} ns", times[ROUNDS / 2]);
}

/// Numbers that look random, the same each time.
fn random(count: usize) -> impl Iterator<Item = u64> + Clone {
    (1..=count as u64).map(|n| {
        let n = (n ^ n >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (n ^ n >> 29).wrapping_mul(0x94d0_49bb_1331_11eb)
    })
}
