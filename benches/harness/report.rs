//! The printed table.

#![allow(clippy::print_stdout)] // the table is its result

use std::time::Duration;

use super::measure::Cost;
use super::rivals::Rival;

/// The results of one rival.
pub struct Outcome {
    pub rival: Rival,
    /// One for each counted run.
    pub costs: Vec<Cost>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// `first` is the rival that the others are compared with.
pub fn title(row: &str, first: Rival, input_bytes: u64, lines: u64, runs: usize) {
    println!("\n{row}: {} of input, {lines} lines of output, medians of {runs}", size(input_bytes));
    println!(
        "  {:<16}{:>12}{:>12}{:>12}{:>12}{:>10}",
        "",
        "wall",
        "rate",
        "CPU",
        "peak RSS",
        format!("x {}", first.name())
    );
}

/// One line for each rival, compared with the first.
pub fn lines(outcomes: &[Outcome], input_bytes: u64) {
    let first = outcomes.first().and_then(|outcome| median(&outcome.costs, |cost| cost.wall));
    for outcome in outcomes {
        let name = outcome.rival.name();
        let (Some(wall), Some(cpu), Some(rss_bytes)) = (
            median(&outcome.costs, |cost| cost.wall),
            median(&outcome.costs, |cost| cost.cpu),
            outcome.costs.iter().map(|cost| cost.peak_rss_bytes).max(),
        ) else {
            println!("  {name:<16}{}", outcome.failure.as_deref().unwrap_or("did not run"));
            continue;
        };
        let rate = format!("{}/s", size((input_bytes as f64 / wall.as_secs_f64()) as u64));
        let ratio = first.map_or(String::new(), |first| {
            format!("{:.2}", wall.as_secs_f64() / first.as_secs_f64())
        });
        println!(
            "  {name:<16}{:>12}{rate:>12}{:>12}{:>12}{ratio:>10}",
            time(wall),
            time(cpu),
            size(rss_bytes)
        );
    }
}

fn median<T: Ord + Copy>(costs: &[Cost], of: impl Fn(&Cost) -> T) -> Option<T> {
    let mut values: Vec<T> = costs.iter().map(of).collect();
    values.sort();
    values.get(values.len() / 2).copied()
}

fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.1 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.3} s"),
    }
}

fn size(bytes: u64) -> String {
    match bytes as f64 / 1024.0 {
        kib if kib < 1024.0 => format!("{kib:.0} KiB"),
        kib if kib < 1024.0 * 1024.0 * 8.0 => format!("{:.0} MiB", kib / 1024.0),
        kib => format!("{:.1} GiB", kib / 1024.0 / 1024.0),
    }
}
