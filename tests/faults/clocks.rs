//! Clocks that differ by hours, between processes and from the files that they read.

use std::fs::File;
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;

use super::small_job::{MAPS, REDUCES, SmallJob, all_at_once, assert_none_failed};
use crate::conformance::arguments;
use crate::support::{
    Cluster, Dir, Mode, Process, both, count_words, generated_words, root_case, sorted_lines,
    with_clock_ahead,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("faults::clocks::input_from_the_future", input_from_the_future);
    tests.push(root_case("faults::clocks::hours_apart", hours_apart));
    tests
}

/// Processes use only differences of their own clock: leases last, and no task seems slow.
fn hours_apart() {
    let job = SmallJob::new();
    let mut cluster = Cluster::with_options(1, all_at_once());
    let ahead = with_clock_ahead(&cluster.worker_command(1), 7_200);
    cluster.workers.push(Process::start(ahead));
    cluster.wait_for_workers(2);
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    cluster.restart_coordinator_as(|command| with_clock_ahead(&command, 3_600));
    job.open("map");
    job.wait_for("reduce", REDUCES);
    job.open("reduce");
    submit.finish().expect_code(0).expect_said("is back");
    job.assert_output();
    assert_none_failed(&cluster, 1);
    let status = cluster.status(1);
    assert_eq!(status["map"]["attempts"], MAPS, "{status}");
    assert_eq!(status["reduce"]["attempts"], REDUCES, "{status}");
    // Neither the hour that the clock jumped ahead, nor the hour that it jumped back.
    assert!(status["elapsed_ms"].as_u64().unwrap() < 3_600_000, "{status}");
    assert_eq!(cluster.worker_list().len(), 2);
}

/// The input was written on a machine whose clock is an hour ahead.
fn input_from_the_future(mode: &Mode) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let ahead = SystemTime::now() + Duration::from_secs(3_600);
    for input in &inputs {
        File::options().write(true).open(input).unwrap().set_modified(ahead).unwrap();
    }
    mode.run(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}
