//! The memory budget in a program that counts its heap.

use libtest_mimic::Trial;

use crate::jobs::hoard::{LOOK, SPILLED};
use crate::jobs::swell;
use crate::support::{Dir, Mode, both, case, read_parts};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![case(
        "memory::memory_of_user_code_makes_the_engine_spill",
        what_user_code_holds_counts,
    )];
    tests.extend(both(
        "memory::a_line_that_grows_without_a_reducer_stays_within_memory",
        a_line_that_swells,
    ));
    tests
}

/// They need about a quarter of the budget.
const LINES: usize = 500_000;

fn what_user_code_holds_counts() {
    let dir = Dir::new();
    let mut text: String = (0..LINES).map(|line| format!("{line}\n")).collect();
    text.push_str(LOOK);
    let input = dir.write("input", text).display().to_string();
    let spilled = |mib: &str, output: &str| {
        let output = dir.join(output);
        let folder = output.join("_temporary/worker/jobs").display().to_string();
        let output = output.display().to_string();
        let flags = ["hoard", "--json", "--threads", "1", "--memory", "128MiB", "--mib", mib];
        let paths = ["--folder", &folder, "--input", &input, "--output", &output];
        let ran = Mode::Embedded.run(flags.iter().chain(&paths)).expect_code(0);
        ran.last_json()["counters"][SPILLED].as_u64().unwrap()
    };
    assert_eq!(spilled("1", "modest"), 0);
    assert_eq!(spilled("200", "greedy"), 1, "all runs of a map task are in one file");
}

/// Two lines grow to 150 MB each: one in the first chunk, which is written to the part directly,
/// and one in the last, which waits for its turn. Memory is enough for a tenth of that.
fn a_line_that_swells(mode: &Mode) {
    const LINES: usize = 150_000;
    const BETWEEN: usize = 2_000_000;
    let dir = Dir::new();
    let between = "0\n".repeat(BETWEEN);
    let text = format!("{LINES}\n{between}{LINES}\n{}\n", swell::LOOK);
    let input = dir.write("input", text).display().to_string();
    let output = dir.join("out");
    let flags = ["swell", "--json", "--threads", "2", "--memory", "32MiB"];
    let paths = ["--input", &input, "--output", &output.display().to_string()];
    let ran = mode.run(flags.iter().chain(&paths)).expect_code(0);
    let peak_kib = ran.last_json()["counters"][swell::PEAK_KIB].as_u64().unwrap();
    assert!(peak_kib < 150 << 10, "{peak_kib} KiB");
    let parts = read_parts(&output);
    let numbers = parts.values().flat_map(|part| part.chunks(swell::LINE_BYTES));
    let numbers = numbers.map(|line| {
        line.trim_ascii().iter().fold(0, |n, digit| n * 10 + usize::from(digit - b'0'))
    });
    assert!(numbers.eq((0..LINES).chain(0..LINES)), "another output, or another order");
}
