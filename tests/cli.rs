//! The contract that scripts rely on: commands, flags, streams and exit statuses.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::Signal;

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
    tests.push(case("cli::refusals_are_json_if_asked", refusals_are_json_if_asked));
    tests.push(case("cli::help_names_jobs_and_flags", help_names_jobs_and_flags));
    tests.push(case("cli::usage_errors_end_with_2", usage_errors_end_with_2));
    tests.push(case("cli::empty_variables_are_not_set", empty_variables_are_not_set));
    tests.push(case(
        "cli::a_removed_current_folder_is_an_error",
        a_removed_current_folder_is_an_error,
    ));
    tests.push(case(
        "cli::a_repeated_submission_is_the_same_job",
        a_repeated_submission_is_the_same_job,
    ));
    tests.push(case("cli::impossible_values_are_refused", impossible_values_are_refused));
    tests.push(case("cli::unusable_paths_are_named", unusable_paths_are_named));
    tests.push(case("cli::unwritable_results_are_errors", unwritable_results_are_errors));
    tests.push(case("cli::coordinator_wait_is_kept", coordinator_wait_is_kept));
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
        &["run", "word-count", "--input", "", "--output", "out"],
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

/// Whatever refuses: the parser, the job, the coordinator, or no coordinator at all.
fn refusals_are_json_if_asked() {
    let paths = ["--input", "/no/such/input", "--output", "/no/such/output"];
    for (command, status, says) in [
        (&[&["run", "word-count"], &paths[..]].concat()[..], 1, "no input matches"),
        (&[&["run", "word-count", "--memory", "x"], &paths[..]].concat(), 2, "such as 512MiB"),
        (&[&["run", "sort", "--delimiter", ";;"], &paths[..]].concat(), 2, "delimiter"),
        (&["jobs", "--coordinator", "http://127.0.0.1:1"], 6, "no windrow coordinator"),
    ] {
        let refused = Process::start(windrow([command, &["--json"]].concat())).finish();
        let refused = refused.expect_code(status);
        let event = refused.last_json();
        assert_eq!((&event["event"], &event["status"]), (&"error".into(), &status.into()));
        assert!(event["message"].as_str().unwrap().contains(says), "{event}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
    // A bad parameter of a job shows that job's usage.
    let wrong = [&["run", "sort", "--delimiter", ";;"], &paths[..]].concat();
    let wrong = Process::start(windrow(wrong)).finish().expect_code(2);
    wrong.expect_said("run sort [OPTIONS]");
}

/// Refused at once; the message names the flag and the accepted values.
fn impossible_values_are_refused() {
    let long = "x".repeat(5_000);
    let job = ["word-count", "--input", "x", "--output", "y"];
    for (flags, says) in [
        (&["coordinator", "--lease", "0s"][..], "at least 1s"),
        (&["coordinator", "--lease", "1ms"], "at least 1s"),
        (&["coordinator", "--lease", "99999999999y"], "at most 100 years"),
        (&["coordinator", "--security", "x", "--certificate-lifetime", "0s"], "at least 1s"),
        (&["worker", "--fetch-timeout", "0s"], "at least 100ms"),
        (&["worker", "--memory", "64KiB"], "at least 512.0 KiB"),
        (&["worker", "--job-memory", "1KB"], "at least 16.0 MiB"),
        (&["worker", "--job-file-size", "1KB"], "at least 1.0 MiB"),
        (&["worker", "--name", &long], "has 5000"),
        (&[&["run"], &job[..], &["--memory", "4"]].concat(), "at least 512.0 KiB"),
        (&[&["run"], &job[..], &["--memory", "1e9"]].concat(), "a size, such as 512MiB"),
        (&[&["run"], &job[..], &["--memory", "9999999TB"]].concat(), "at most 64.0 TiB"),
        (&[&["run"], &job[..], &["--reducers", "0"]].concat(), "from 1 to 100000"),
        (&[&["run", "n-grams"], &job[1..], &["--size", "0"]].concat(), "number from 1 on"),
        (&[&["run"], &job[..], &["--task-timeout", "0s"]].concat(), "at least 100ms"),
        (&[&["submit"], &job[..], &["--submission", &long]].concat(), "has 5000"),
        (&["jobs", "--coordinator", "http://127.0.0.1:99999"], "'99999' is no port"),
    ] {
        let refused = Process::start(windrow(flags)).finish().expect_code(2).expect_said(says);
        let flag = flags[flags.len() - 2];
        assert!(flag == "--coordinator" || refused.stderr.contains(flag), "{refused:?}");
    }
}

/// The message names the flag or variable that gave the path.
fn unusable_paths_are_named() {
    let dir = Dir::new();
    dir.write("file", "x");
    let file = path(&dir.join("file"));
    let gone = path(&dir.join("gone"));
    let side_file = format!("x={gone}");
    let input = ["run", "word-count", "--input", &file, "--output", "y"];
    let coordinator = ["coordinator", "--listen", "127.0.0.1:0"];
    for (flags, says) in [
        ([&input[..], &["--file", &side_file]].concat(), format!("--file x={gone}: No such file")),
        ([&coordinator[..], &["--state", &file]].concat(), format!("--state {file}: it is not a")),
        ([&coordinator[..], &["--allow-path", &gone]].concat(), format!("--allow-path: {gone}")),
        (vec!["worker", "--dir", &file], format!("--dir {file}: it is not a folder")),
        (coordinator.to_vec(), format!("TMPDIR {gone}: No such file")),
    ] {
        let mut command = windrow(flags);
        command.env("TMPDIR", &gone);
        let refused = Process::start(command).finish().expect_said(&says);
        assert!(matches!(refused.code(), Some(1 | 2)), "{refused:?}");
    }
}

/// A result on a full disk is an error; a closed pipe is not.
fn unwritable_results_are_errors() {
    let dir = Dir::new();
    dir.write("in/a", "b a\n");
    let cluster = Cluster::start(1);
    let output = path(&dir.join("out"));
    let says_to = |mut command: Command, stdout: Stdio| {
        command.env("WINDROW_COORDINATOR", &cluster.url);
        Process::start_saying_to(command, Some(stdout), None).finish()
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    let mut detached = windrow(["submit"]);
    detached.args(arguments("word-count", &dir, &["--detach"]));
    let detached = says_to(detached, full()).expect_code(1).expect_said("No space left on device");
    // Otherwise the user would submit the job again.
    detached.expect_said("job 1 was accepted");
    crate::conformance::wait_until_succeeded(&cluster, 1);
    for command in [
        &["--help"][..],
        &["jobs"],
        &["jobs", "--json"],
        &["status", "1"],
        &["wait", "1"],
        &["workers"],
        &["verify", &output],
        &["verify", &output, "--json"],
    ] {
        let lost = says_to(windrow(command), full());
        lost.expect_code(1).expect_said("cannot write to standard output");
        let unwanted = says_to(windrow(command), closed()).expect_code(0);
        assert!(!unwanted.stderr.contains("cannot write"), "{unwanted:?}");
    }
    says_to(windrow(["cancel", "1"]), full()).expect_code(4).expect_said("cannot write");
    for command in ["run", "submit"] {
        // The job has succeeded nevertheless.
        let dir = Dir::new();
        dir.write("in/a", "b a\n");
        let mut job = windrow([command]);
        job.args(arguments("word-count", &dir, &["--json"]));
        says_to(job, full()).expect_code(1).expect_said("No space left on device");
        assert!(dir.join("out/_SUCCESS").exists());
    }
}

fn coordinator_wait_is_kept() {
    let dir = Dir::new();
    dir.write("in/a", "b a\n");
    let mut cluster = Cluster::start(0);
    let waited = |cluster: &Cluster| {
        let start = Instant::now();
        let flags = arguments("word-count", &dir, &["--coordinator-wait", "1s"]);
        cluster.submit(flags).expect_code(6).expect_said("no windrow coordinator answers");
        start.elapsed()
    };
    // Measured: 5 s if nothing answers, 9 s if nothing listens.
    let least_and_most = Duration::from_secs(1)..Duration::from_secs(4);
    cluster.coordinator.signal(Signal::STOP);
    let of_hanging = waited(&cluster);
    assert!(least_and_most.contains(&of_hanging), "{of_hanging:?}");
    cluster.coordinator.kill();
    let of_none = waited(&cluster);
    assert!(least_and_most.contains(&of_none), "{of_none:?}");
}

/// As service managers and containers set them.
fn empty_variables_are_not_set() {
    let cluster = Cluster::start(0);
    let empty =
        ["WINDROW_COORDINATOR", "WINDROW_CREDENTIALS", "WINDROW_TOKEN", "WINDROW_FAILPOINT"];
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--dir"]);
    command.arg(cluster.dir().join("w")).envs(empty.map(|name| (name, "")));
    let _worker = Process::start(command);
    cluster.wait_for_workers(1);
    let mut command = windrow(["jobs"]);
    command.envs(empty.map(|name| (name, "")));
    // The default address, whatever listens there.
    assert_ne!(Process::start(command).finish().code(), Some(2));
}

fn a_removed_current_folder_is_an_error() {
    let dir = Dir::new();
    dir.write("in", "a b\n");
    let gone = dir.join("gone");
    std::fs::create_dir(&gone).unwrap();
    let job = |output: &str| {
        let windrow =
            windrow(["run", "word-count", "--input", &path(&dir.join("in")), "--output", output]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "mkdir -p \"$0\" && cd \"$0\" && rmdir \"$0\" && exec \"$@\""])
            .arg(&gone);
        shell.arg(windrow.get_program()).args(windrow.get_args());
        Process::start(shell).finish()
    };
    job("out").expect_code(1).expect_said("is gone").expect_said("absolute paths");
    job(&path(&dir.join("out"))).expect_code(0);
}

/// A script that does not know whether its submission arrived repeats it, in another process.
fn a_repeated_submission_is_the_same_job() {
    let dir = Dir::new();
    dir.write("in/a", "b a\n");
    let cluster = Cluster::start(1);
    // An ordered job asks for a plan first.
    let job = |key: &str| {
        cluster.submit(arguments("sort", &dir, &["--key", "1", "--reducers", "2", key]))
    };
    job("--submission=nightly").expect_code(0);
    let again = job("--submission=nightly").expect_code(0);
    again.expect_said("job 1 was submitted as 'nightly' before").expect_said("sort succeeded");
    job("--submission=weekly").expect_code(1).expect_said("exists and is not empty");
    let jobs = |flags: &[&str]| {
        let jobs = cluster.command([&["jobs", "--json"], flags].concat()).finish().expect_code(0);
        jobs.stdout.lines().count()
    };
    assert_eq!(jobs(&[]), 1);
    assert_eq!(jobs(&["--state", "succeeded"]), 1);
    assert_eq!(jobs(&["--state", "failed"]), 0);
    assert_eq!(jobs(&["--user", "ann"]), 0);
}

fn summary_and_preview() {
    let dir = Dir::new();
    dir.write("in/a", "to be or not to be\n");
    let mut command = windrow(["run"]);
    command.args(arguments("word-count", &dir, &["--reducers", "1"]));
    let output = Process::start(command).finish().expect_code(0);
    for line in [
        "word-count succeeded",
        "19 B in 1 file, 1 record,",
        "4 records",
        "  preview   all of ",
        "be\t2",
        "or\t1",
        "to\t2",
    ] {
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
    cluster.command(["wait", &id]).finish().expect_code(0).expect_said("word-count succeeded");
    let late = cluster.command(["cancel", &id]).finish().expect_code(4);
    late.expect_said("nothing was cancelled: job 1 has succeeded");
    for command in ["status", "wait", "cancel", "logs"] {
        cluster.command([command, "4711"]).finish().expect_code(5).expect_said("4711");
    }
    let nowhere = ["jobs", "--coordinator", "http://127.0.0.1:1"];
    Process::start(windrow(nowhere)).finish().expect_code(6).expect_said("http://127.0.0.1:1");
}
