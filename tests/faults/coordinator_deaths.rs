//! A coordinator that dies at given failpoints, one death after the other, while a job runs.

use std::os::unix::process::ExitStatusExt;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::small_job::{SmallJob, all_at_once, assert_none_failed};
use crate::conformance::arguments;
use crate::support::{Cluster, Environment, Mode, case, eventually};

/// Failpoints, as in `WINDROW_FAILPOINT`. Each coordinator but the last dies at one.
pub type Deaths = &'static [&'static str];

/// One trial for each row.
pub fn trials(name: &str, rows: &[Deaths], test: fn(Deaths)) -> Vec<Trial> {
    let trial = |deaths: &Deaths| {
        let deaths = *deaths;
        case(&format!("faults::{name}::killed_at_{}", deaths.join("_then_")), move || test(deaths))
    };
    rows.iter().map(trial).collect()
}

/// A job survives all these deaths, and its waiting submitter sees it succeed.
pub fn survive(deaths: Deaths, environment: Environment) {
    let job = SmallJob::new();
    run(&job, deaths, environment, &[]);
}

/// The same for a job that replaces an output of three parts.
pub fn survive_overwriting(deaths: Deaths) {
    let job = SmallJob::new();
    let old = arguments("word-count", &job.dir, &["--reducers", "3"]);
    Mode::Embedded.run(old).expect_code(0);
    run(&job, deaths, &[], &["--overwrite"]);
}

fn run(job: &SmallJob, deaths: Deaths, environment: Environment, flags: &[&str]) {
    let mut cluster = Cluster::with_options(2, all_at_once());
    let submit = cluster.start_submit(job.arguments(flags));
    job.wait_for("map", super::small_job::MAPS);
    for death in deaths {
        cluster.restart_coordinator_with(&[environment, &[("WINDROW_FAILPOINT", death)]].concat());
        job.open_all();
        wait_for_death(&mut cluster, death);
    }
    cluster.restart_coordinator_with(environment);
    submit.finish().expect_code(0).expect_said("is back");
    assert_none_failed(&cluster, 1);
    job.assert_output();
    let jobs = cluster.command(["jobs", "--json"]).finish().expect_code(0).stdout;
    assert_eq!(jobs.lines().count(), 1, "{jobs}");
}

fn wait_for_death(cluster: &mut Cluster, death: &str) {
    eventually(&format!("death at {death}"), || !cluster.coordinator.is_running());
    let status = cluster.coordinator.status().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{}", cluster.coordinator.stderr());
}
