//! What submitters name: paths that they may not reach, and names that would forge log lines.

use std::path::Path;

use libtest_mimic::Trial;

use super::text;
use crate::support::{Cluster, Dir, Process, case, windrow};

pub fn tests() -> Vec<Trial> {
    vec![
        case("security::jobs_stay_in_allowed_folders", jobs_stay_in_allowed_folders),
        case("security::control_bytes_are_escaped", control_bytes_are_escaped),
    ]
}

fn jobs_stay_in_allowed_folders() {
    let dir = Dir::new();
    let inside = dir.write("data/in", "a\n");
    let outside = dir.write("secret/in", "b\n");
    std::os::unix::fs::symlink(&outside, dir.join("data/link")).unwrap();
    let mut command = windrow(["coordinator", "--listen", "127.0.0.1:0", "--allow-path"]);
    command.arg(dir.join("data"));
    let coordinator = Process::start(command);
    let url = coordinator.url();
    let submit = |input: &Path, output: &Path| {
        let mut command = windrow(["submit", "word-count", "--detach", "--coordinator", &url]);
        command.arg("--input").arg(input).arg("--output").arg(output);
        Process::start(command).finish()
    };
    let output = dir.join("data/out");
    for input in [&outside, &dir.join("data/link"), &dir.join("data/*"), &dir.join("*/in")] {
        submit(input, &output).expect_code(1).expect_said("lies outside");
    }
    submit(&inside, &dir.join("out")).expect_code(1).expect_said("lies outside");
    submit(&inside, &output).expect_code(0);
}

/// Whatever a user names, logs of the coordinator and output of commands have no raw control byte
/// except line ends.
fn control_bytes_are_escaped() {
    const EVIL: &str =
        "evil\x1b[2J\x07\u{9b}31m\r\x08\nforged\u{202e}\u{2066}\u{200b}\u{2028}\u{85}ad\u{200d}min";
    let mut cluster = Cluster::start(0);
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--name", EVIL, "--dir"]);
    command.arg(cluster.worker_dir(0));
    cluster.workers.push(Process::start(command));
    cluster.wait_for_workers(1);
    let dir = Dir::new();
    let input = dir.write(EVIL, format!("{EVIL}\n").repeat(3));
    let missing = dir.join(format!("missing{EVIL}"));
    let output = dir.join(format!("out{EVIL}"));
    let count = ["word-count", "--input", text(&input), "--output"];
    let mut said = Vec::new();
    let mut run = |arguments: &[&str]| {
        let output = cluster.command(arguments.iter().copied()).finish();
        said.push(output.stdout);
        said.push(output.stderr);
    };
    run(&[&["submit"], &count[..], &[text(&output)]].concat());
    run(&[&["submit"], &count[..], &[text(&output)]].concat());
    run(&[&["submit"], &count[..], &[text(&output), "--json", "--overwrite"]].concat());
    run(&["submit", "word-count", "--input", text(&missing), "--output", text(&output)]);
    run(&[
        "submit",
        "grep",
        EVIL,
        "--input",
        text(&input),
        "--output",
        &format!("{}2", text(&output)),
    ]);
    run(&[
        "submit",
        "sum",
        "--by",
        EVIL,
        "--column",
        EVIL,
        "--input",
        text(&input),
        "--output",
        &format!("{}3", text(&output)),
    ]);
    run(&[
        "submit",
        "sum",
        "--by",
        "0",
        "--column",
        "0",
        "--input",
        text(&input),
        "--output",
        &format!("{}4", text(&output)),
    ]);
    run(&["jobs"]);
    run(&["jobs", "--json"]);
    run(&["workers"]);
    run(&["workers", "--json"]);
    run(&["status", "1"]);
    run(&["status", "2", "--json"]);
    run(&["jobs", "--coordinator", &format!("http://{EVIL}:1")]);
    run(&["jobs", "--coordinator", &format!("https://{EVIL}:1")]);
    said.push(cluster.coordinator.stderr());
    said.push(cluster.workers[0].stderr());
    assert!(said.iter().any(|text| text.contains("succeeded")), "{said:?}");
    said.iter().for_each(|text| refuse_raw(text));
}

/// A preview of a result may have tabs, as the result has.
fn refuse_raw(text: &str) {
    let is_raw = |c: char| {
        let is_unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        (c.is_control() || is_unseen) && c != '\n' && c != '\t'
    };
    assert!(!text.contains(is_raw), "{text:?}");
    let forged = text.lines().find(|line| line.starts_with("forged"));
    assert_eq!(forged, None, "{text}");
}
