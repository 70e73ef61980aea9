//! The contract that scripts may rely on: commands, flags, streams and exit statuses.

use libtest_mimic::Trial;

use crate::conformance::{arguments, path};
use crate::support::{Cluster, Dir, Process, both, case, windrow};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("cli::json_events", |mode| {
        let dir = Dir::new();
        dir.write("in/a", "x y x\n");
        let output = mode.run(arguments("trouble", &dir, &["--json"])).expect_code(0);
        for line in output.stdout.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(event["event"].is_string(), "{event}");
        }
        let last = output.last_json();
        assert_eq!(last["event"], "finished");
        assert_eq!(last["state"], "succeeded");
        assert_eq!(last["counters"]["words"], 3);
        assert_eq!(last["map"]["records"], 1);
        assert_eq!(last["output_records"], 2);
    });
    tests.push(case("cli::help_names_jobs_and_flags", help_names_jobs_and_flags));
    tests.push(case("cli::usage_errors_end_with_2", usage_errors_end_with_2));
    tests.push(case("cli::summary_and_preview", summary_and_preview));
    tests.push(case("cli::observing_a_cluster", observing_a_cluster));
    tests
}

fn help_names_jobs_and_flags() {
    let help =
        |arguments: &[&str]| Process::start(windrow(arguments)).finish().expect_code(0).stdout;
    let run = help(&["run", "--help"]);
    for (job, about) in [
        ("word-count", "Count how often each word occurs"),
        ("grep", "Find the lines that match a regular expression"),
        ("inverted-index", "List the files that each word occurs in"),
    ] {
        let line = run.lines().find(|line| line.trim_start().starts_with(job)).unwrap();
        assert!(line.ends_with(about), "{line}");
    }
    let grep = help(&["run", "grep", "--help"]);
    for flag in
        ["PATTERN", "--count", "--ignore-case", "--input", "--output", "--reducers", "--memory"]
    {
        assert!(grep.contains(flag), "{flag} is not in {grep}");
    }
    assert!(help(&["submit", "grep", "--help"]).contains("--detach"));
    assert!(help(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

fn usage_errors_end_with_2() {
    for wrong in [
        &["run"][..],
        &["run", "word-count"],
        &["run", "word-count", "--input", "x"],
        &["run", "word-count", "--input", "x", "--output", "y", "--reducers", "0"],
        &["run", "word-count", "--input", "x", "--output", "y", "--memory", "lots"],
        &["run", "word-count", "--input", "x", "--output", "y", "--split-size", "0"],
        &["run", "word-count", "--input", "x", "--output", "y", "--task-timeout", "soon"],
        &["run", "grep", "--input", "x", "--output", "y"],
        &["frobnicate"],
        &["jobs", "--coordinator", "not a url"],
        &["status", "seven"],
    ] {
        let output = Process::start(windrow(wrong)).finish();
        assert_eq!(output.code(), Some(2), "{wrong:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}

fn summary_and_preview() {
    let dir = Dir::new();
    dir.write("in/a", "to be or not to be\n");
    let mut command = windrow(["run"]);
    command.args(arguments("word-count", &dir, &["--reducers", "1"]));
    let output = Process::start(command).finish().expect_code(0);
    for line in ["word-count succeeded", "19 B in 1 file, 1 record,", "4 records", "be\t2", "to\t2"]
    {
        assert!(output.stdout.contains(line), "{line:?} is not in {}", output.stdout);
    }
}

fn observing_a_cluster() {
    let dir = Dir::new();
    dir.write("in/a", "x\n");
    let cluster = Cluster::start(2);
    let id = cluster.submit_detached(arguments("word-count", &dir, &[]));
    crate::conformance::wait_until_succeeded(&cluster, id);
    let jobs = cluster.command(["jobs"]).finish().expect_code(0).stdout;
    assert!(jobs.contains("word-count") && jobs.contains("succeeded"), "{jobs}");
    assert!(jobs.contains(&path(&dir.join("out"))), "{jobs}");
    let workers = cluster.command(["workers"]).finish().expect_code(0).stdout;
    assert!(workers.contains("w0") && workers.contains("w1"), "{workers}");
    let id = id.to_string();
    cluster.command(["status", &id]).finish().expect_code(0).expect_said("word-count succeeded");
    cluster.command(["cancel", &id]).finish().expect_code(1);
    cluster.command(["status", "4711"]).finish().expect_code(1).expect_said("4711");
}
