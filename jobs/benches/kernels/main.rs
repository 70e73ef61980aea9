//! Benchmarks the innermost kernels, each next to a program written by hand for its job only: ns
//! per record, median of some rounds, on one thread. The time is the process's CPU time, so that
//! other load on the machine hardly matters.
//!
//!     cargo bench -p windrow-jobs --bench kernels -- [sort|words|sets] [TEXT FILES]
//!
//! Without files, the text has 200,000 distinct words of two to nine letters, distributed by Zipf's
//! law.

#![allow(clippy::print_stdout)]

mod sets;
mod sort;
mod words;

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Number of rounds of which the median is reported.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |kernel: &str| arguments.first().is_none_or(|first| first == kernel);
    if wanted("sort") {
        sort::run();
    }
    if wanted("sets") {
        sets::run();
    }
    if wanted("words") {
        match arguments.get(1..) {
            None | Some([]) => words::run(&zipf_text()),
            Some(files) => files.iter().for_each(|file| match std::fs::read_to_string(file) {
                Ok(text) => words::run(&text),
                Err(error) => println!("{file}: {error}"),
            }),
        }
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Words whose rank is exponential in a random number, so distributed about by Zipf's law; ten per
/// line.
fn zipf_text() -> String {
    let mut text = String::new();
    for (index, n) in random(10_000_000).enumerate() {
        let rank = 200_000_f64.powf((n >> 11) as f64 / (1_u64 << 53) as f64) as u64;
        let mut letters = scrambled(rank);
        for _ in 0..2 + letters % 8 {
            letters /= 26;
            text.push((b'a' + (letters % 26) as u8) as char);
        }
        text.push(if index % 10 == 9 { '\n' } else { ' ' });
    }
    text
}

/// Prints the median time per record of `round`, which returns its number of records. `prepare`,
/// and dropping what it made, is not measured.
fn measure<T>(what: &str, mut prepare: impl FnMut() -> T, mut round: impl FnMut(&mut T) -> usize) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut input = prepare();
            let started = cpu_time();
            let records = black_box(round(&mut input));
            (cpu_time() - started).as_secs_f64() * 1e9 / records as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<44} {:>8.2} ns", times[ROUNDS / 2]);
}

/// Pseudo-random numbers, the same each time.
fn random(count: usize) -> impl Iterator<Item = u64> {
    (1..=count as u64).map(scrambled)
}

fn scrambled(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 29).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 32
}
