//! Jobs of several inputs.

use libtest_mimic::Trial;

use crate::conformance::path;
use crate::support::{Dir, Mode, Process, both, case, sorted_lines, windrow};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("join::values_come_input_by_input", values_come_input_by_input);
    tests.extend(both("join::a_file_may_be_in_two_inputs", a_file_may_be_in_two_inputs));
    tests.push(case("join::wrong_inputs_are_errors_of_usage", wrong_inputs_are_errors_of_usage));
    tests.push(case("join::a_path_may_hold_an_equals_sign", a_path_may_hold_an_equals_sign));
    tests
}

/// The job, its output in `dir`, and inputs as `NAME=PATH` with paths in `dir`.
fn paired(dir: &Dir, inputs: &[&str], flags: &[&str]) -> Vec<String> {
    let mut all = vec!["paired".to_string(), "--output".into(), path(&dir.join("out"))];
    for input in inputs {
        let (name, file) = input.split_once('=').unwrap();
        all.extend(["--input".into(), format!("{name}={}", path(&dir.join(file)))]);
    }
    all.extend(flags.iter().map(ToString::to_string));
    all
}

fn values_come_input_by_input(mode: &Mode) {
    let dir = Dir::new();
    dir.write("people/1", "ann\tsmith\nbob\tjones\n");
    dir.write("people/2", "ann\tbaker\n");
    dir.write("ages", "bob\t40\nann\t30\ncat\t20\n");
    // The order of the flags does not matter; small splits must not mix inputs.
    let inputs = ["right=ages", "left=people"];
    let flags = ["--split-size", "7B", "--reducers", "2", "--json"];
    let summary = mode.run(paired(&dir, &inputs, &flags)).expect_code(0).last_json();
    let expected = ["ann\t0:baker 0:smith 1:30", "bob\t0:jones 1:40", "cat\t1:20"];
    assert_eq!(sorted_lines(&dir.join("out")), expected);
    assert_eq!(summary["inputs"][0]["name"], "left", "{summary}");
    assert_eq!(summary["inputs"][0]["files"], 2);
    assert_eq!(summary["inputs"][1]["bytes"], 21);
    assert_eq!(summary["input_files"], 3);
}

fn a_file_may_be_in_two_inputs(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in", "k\tv\n");
    mode.run(paired(&dir, &["left=in", "right=in"], &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["k\t0:v 1:v"]);
}

fn wrong_inputs_are_errors_of_usage() {
    let dir = Dir::new();
    dir.write("in", "k\tv\n");
    let wanted = "this job takes --input left=PATH and --input right=PATH";
    let refused = |inputs: &[&str], message: &str| {
        // Checked without a coordinator, so that nothing waits for one.
        for how in [&["run"][..], &["submit"][..]] {
            let mut command = windrow(how);
            command.args(["paired", "--output", &path(&dir.join("out"))]);
            command.args(inputs.iter().flat_map(|input| ["--input", input]));
            let output = Process::start(command).finish().expect_code(2);
            output.expect_said(message).expect_said(wanted);
        }
    };
    refused(&["left=in"], "the input 'right' is missing");
    refused(&["left=in", "rigth=in"], "the job has no input 'rigth'");
    refused(&["in"], "'in' does not say which input it is");
    assert!(!dir.join("out").exists());
}

fn a_path_may_hold_an_equals_sign() {
    let dir = Dir::new();
    let input = dir.write("year=2024/a", "x\n");
    let flags = ["word-count", "--output", &path(&dir.join("out")), "--input", &path(&input)];
    Mode::Embedded.run(flags).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["x\t1"]);
}
