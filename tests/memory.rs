//! The memory budget, where the program counts its heap.

use libtest_mimic::Trial;

use crate::jobs::hoard::{LOOK, SPILLED};
use crate::support::{Dir, Mode, case};

pub fn tests() -> Vec<Trial> {
    vec![case("memory::what_user_code_holds_makes_the_engine_spill", what_user_code_holds_counts)]
}

/// Needs about a quarter of the budget.
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
