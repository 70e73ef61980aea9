//! The coordinator is killed at each step of its journal, or cannot write it: jobs only take
//! longer.
//!
//! What was durable is not redone, the rest is; the simulation tests that for every order of
//! events. Here, the journal is a folder, and death is a signal.

use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::coordinator_deaths::{Deaths, survive, trials};
use super::small_job::{MAPS, REDUCES, SmallJob, all_at_once, assert_none_failed};
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, Proxy, SmallDisk, case, eventually, root_case, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = trials("journal", DEATHS, |deaths| survive(deaths, &[]));
    tests.extend(trials("journal::begun_anew", DEATHS_WHEN_BEGUN_ANEW, |deaths| {
        survive(deaths, &[("WINDROW_SNAPSHOT_AFTER", "3")]);
    }));
    tests.push(case("faults::journal::killed_in_map", || killed_in("map")));
    tests.push(case("faults::journal::killed_in_reduce", || killed_in("reduce")));
    tests.push(case("faults::journal::submission_not_durable", || {
        submission_is_told_again("journal-before-create:2");
    }));
    tests.push(case("faults::journal::submission_durable_but_not_answered", || {
        submission_is_told_again("journal-after-create:2");
    }));
    tests.push(case("faults::journal::state_folder_removed", || state_folder_goes(false)));
    tests.push(case("faults::journal::state_folder_replaced", || state_folder_goes(true)));
    tests.push(root_case("faults::journal::disk_full", disk_full));
    tests.push(root_case("faults::journal::started_on_a_full_disk", started_on_a_full_disk));
    tests
}

/// While tasks run and end. A takeover seals the old log, appends a record of the takeover, and
/// then writes its initial state.
const DEATHS: &[Deaths] = &[
    &["journal-before-create:1", "journal-before-create:2", "journal-before-create:3"],
    &["journal-before-create:4", "journal-before-create:1", "journal-before-create:2"],
    &["journal-before-create:5", "journal-before-create:1"],
    &["journal-before-create:6"],
    &["journal-after-create:1", "journal-after-create:2", "journal-after-create:3"],
    &["journal-after-create:4", "journal-after-create:1", "journal-after-create:2"],
    &["journal-after-create:5", "journal-after-create:1"],
    &["journal-after-create:6"],
    &["journal-after-seal:1", "journal-before-snapshot:1", "journal-after-snapshot:1"],
    &["journal-after-snapshot:1", "journal-after-seal:1", "journal-before-snapshot:1"],
];

/// During an epoch that has served for a while.
const DEATHS_WHEN_BEGUN_ANEW: &[Deaths] = &[
    &["journal-before-snapshot:2", "journal-after-snapshot:2"],
    // The first failpoint is in the log before.
    &["journal-after-seal:2", "journal-before-create:2"],
];

/// Killed between two steps while tasks run: workers and the waiting submitter return to the next
/// coordinator, and nothing runs twice.
fn killed_in(stage: &str) {
    let job = SmallJob::new();
    let mut cluster = Cluster::with_options(2, all_at_once());
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    if stage == "reduce" {
        job.open("map");
        job.wait_for("reduce", REDUCES);
    }
    cluster.restart_coordinator();
    job.open_all();
    submit.finish().expect_code(0).expect_said("lost the coordinator").expect_said("is back");
    job.assert_output();
    assert_none_failed(&cluster, 1);
    let status = cluster.status(1);
    assert_eq!(status["map"]["attempts"], MAPS, "{status}");
    assert_eq!(status["reduce"]["attempts"], REDUCES, "{status}");
}

/// The coordinator dies as it accepts a job, which is its second append: the repeated submission is
/// one job.
fn submission_is_told_again(death: &'static str) {
    let job = SmallJob::new();
    job.open_all();
    let environment: &[(&str, &str)] = match death {
        "journal-before-create:2" => &[("WINDROW_FAILPOINT", "journal-before-create:2")],
        _ => &[("WINDROW_FAILPOINT", "journal-after-create:2")],
    };
    let options = ClusterOptions { coordinator_env: environment, ..all_at_once() };
    let mut cluster = Cluster::with_options(0, options);
    let submit = cluster.start_submit(job.ungated(&[]));
    eventually("the coordinator's death", || !cluster.coordinator.is_running());
    cluster.restart_coordinator();
    cluster.add_worker();
    submit.finish().expect_code(0).expect_said("lost the coordinator").expect_said("is back");
    let jobs = cluster.command(["jobs", "--json"]).finish().expect_code(0).stdout;
    assert_eq!(jobs.lines().count(), 1, "{jobs}");
    assert_none_failed(&cluster, 1);
    job.assert_output();
}

/// An idle coordinator notices that its folder is gone or replaced, and ends. It writes nothing
/// there.
fn state_folder_goes(replaced: bool) {
    let mut cluster = Cluster::with_options(0, ClusterOptions { lease: "2s", ..all_at_once() });
    let state = cluster.state();
    let aside = cluster.dir().join("aside");
    fs::rename(&state, &aside).unwrap();
    if replaced {
        fs::create_dir_all(state.join("journal")).unwrap();
    }
    eventually("the coordinator to end", || !cluster.coordinator.is_running());
    let said = cluster.coordinator.stderr();
    assert!(said.contains("was removed or replaced while this coordinator ran on it"), "{said}");
    let made = || fs::read_dir(state.join("journal")).map(Iterator::count);
    assert_eq!(made().ok(), replaced.then_some(0), "it has written there");
    if replaced {
        fs::remove_dir_all(&state).unwrap();
    }
    fs::rename(&aside, &state).unwrap();
    cluster.restart_coordinator();
}

/// Nothing is acknowledged while the journal's disk is full; with space again, everything
/// continues, and a submission from meanwhile is one job.
fn disk_full() {
    let disk = Dir::new();
    let small = SmallDisk::mount(&disk, "state");
    let options = ClusterOptions { state: Some(small.path().to_path_buf()), ..all_at_once() };
    let cluster = Cluster::with_options(2, options);
    let first = SmallJob::new();
    let running = cluster.start_submit(first.arguments(&[]));
    first.wait_for("map", MAPS);
    let ballast = small.fill();
    first.open_all();
    let said = "the journal cannot be written; nothing is acknowledged until it can";
    eventually("the coordinator to say so", || cluster.coordinator.stderr().contains(said));
    let second = SmallJob::new();
    let proxy = Proxy::to_url(&cluster.url);
    let mut submit = windrow(["submit"]);
    submit.args(second.ungated(&["--coordinator", &proxy.url()]));
    let mut waiting = Process::start(submit);
    eventually("a submission on its way", || proxy.accepted() > 0);
    let is_done = |job: u64| cluster.status(job)["state"] == "succeeded";
    assert!(!is_done(1) && waiting.is_running());
    assert_eq!(fs::read_dir(first.output()).unwrap().count(), 1, "{:?}", first.dir.tree());
    fs::remove_file(ballast).unwrap();
    running.finish().expect_code(0);
    waiting.finish().expect_code(0);
    // Logged once each, however many retries there were.
    let says = cluster.coordinator.stderr();
    assert_eq!(says.matches(said).count(), 1, "{says}");
    assert!(says.contains(&no_room(&cluster)), "{says}");
    assert_eq!(says.matches("runner: the journal can be written again").count(), 1, "{says}");
    for (job, id) in [(&first, 1), (&second, 2)] {
        job.assert_output();
        assert_none_failed(&cluster, id);
    }
    let jobs = cluster.command(["jobs", "--json"]).finish().expect_code(0).stdout;
    assert_eq!(jobs.lines().count(), 2, "{jobs}");
    drop(cluster);
    drop(small);
}

/// A coordinator that starts on a full disk waits for space, says so once, and can be stopped.
fn started_on_a_full_disk() {
    let disk = Dir::new();
    let small = SmallDisk::mount(&disk, "state");
    let options = ClusterOptions { state: Some(small.path().to_path_buf()), ..all_at_once() };
    let mut cluster = Cluster::with_options(0, options);
    let ballast = small.fill();
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        cluster.restart_coordinator();
        let says = no_room(&cluster);
        eventually("the coordinator to say so", || cluster.coordinator.stderr().contains(&says));
        if cluster.coordinator.catches(signal) {
            cluster.coordinator.signal(signal);
            eventually("its end", || !cluster.coordinator.is_running());
        }
    }
    cluster.restart_coordinator();
    let says = no_room(&cluster);
    eventually("the coordinator to say so", || cluster.coordinator.stderr().contains(&says));
    // Callers are told why, and waiting callers are served once there is space.
    eventually("callers to be told", || {
        let asked = cluster.command(["jobs"]).finish();
        asked.stderr.contains("its journal does not answer")
    });
    cluster.add_worker();
    let job = SmallJob::new();
    let submitted = cluster.start_submit(job.ungated(&[]));
    fs::remove_file(ballast).unwrap();
    submitted.finish().expect_code(0);
    job.assert_output();
    eventually("the coordinator to be ready", || {
        cluster.coordinator.stderr().contains("coordinator ready")
    });
    let log = cluster.coordinator.stderr();
    assert_eq!(log.matches(&says).count(), 1, "{log}");
    assert_eq!(log.matches("runner: the journal can be written again").count(), 1, "{log}");
    drop(cluster);
    drop(small);
}

/// The coordinator's message about a full disk, up to the system's words.
fn no_room(cluster: &Cluster) -> String {
    format!("no room for the journal in {}: ", cluster.state().join("journal").display())
}
