//! A coordinator that has lost its journal gives the numbers of its jobs again: whoever waits for a
//! job, or stops one, means that job, and never the one that has its number now.

use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::small_job::SmallJob;
use crate::support::{Cluster, Process, case, eventually};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::identities::a_waiting_submit", a_waiting_submit),
        case("faults::identities::an_interrupted_submit", an_interrupted_submit),
        case("faults::identities::wait_and_cancel", wait_and_cancel),
        case("faults::identities::two_clusters_in_one_list", two_clusters_in_one_list),
    ]
}

/// Exit status where the cluster does not know the job.
const NO_SUCH_JOB: i32 = 5;

/// The submitter of the lost job is told that it is gone; the other job is not told to be theirs.
fn a_waiting_submit() {
    let mut lost = Lost::new();
    lost.replace();
    let Lost { cluster, jobs: _jobs, ours } = lost;
    ours.finish()
        .expect_code(NO_SUCH_JOB)
        .expect_said("job 1 is gone")
        .expect_said("another cluster")
        .expect_said("--state");
    assert_eq!(cluster.status(1)["state"], "running");
}

/// It is stopped while the coordinator is replaced, so that the interrupt comes before it can
/// notice.
fn an_interrupted_submit() {
    let mut lost = Lost::new();
    lost.ours.signal(Signal::STOP);
    lost.replace();
    let Lost { cluster, jobs: _jobs, ours } = lost;
    ours.signal(Signal::INT);
    ours.signal(Signal::CONT);
    let output = ours.finish();
    // It may notice the one thing first, or the other.
    assert!(matches!(output.code(), Some(130 | NO_SUCH_JOB)), "{output:?}");
    assert_eq!(cluster.status(1)["state"], "running");
}

/// Scripts that keep a job's identity are as safe as a submit that waits.
fn wait_and_cancel() {
    let mut lost = Lost::new();
    let identity = lost.cluster.status(1)["identity"].as_str().unwrap().to_string();
    lost.replace();
    let cluster = &lost.cluster;
    for command in ["wait", "cancel", "status", "logs"] {
        let output = cluster.command([command, &identity]).finish().expect_code(NO_SUCH_JOB);
        output.expect_said(&format!("there is no job {identity}"));
    }
    let status = cluster.status(1);
    assert_eq!(status["state"], "running");
    assert_ne!(status["identity"], identity.as_str());
}

/// Each has a job 1. When the one dies, the other one is not taken for it; when it is back, its job
/// goes on.
fn two_clusters_in_one_list() {
    let (mut first, second) = (Cluster::start(0), Cluster::start(1));
    let (ours, theirs) = (SmallJob::new(), SmallJob::new());
    second.submit(theirs.ungated(&[])).expect_code(0);
    first.url = format!("{},{}", first.url, second.url);
    let submit = first.start_submit(ours.ungated(&[]));
    first.wait_for_job(1);
    first.coordinator.kill();
    eventually("the submit to notice", || submit.stderr().contains("belongs to another cluster"));
    first.url = first.url.split(',').next().unwrap().to_string();
    first.restart_coordinator();
    first.add_worker();
    submit.finish().expect_code(0).expect_said("is back");
    ours.assert_output();
}

/// A job that waits for a worker, and the submit that waits for the job.
struct Lost {
    cluster: Cluster,
    /// Their inputs, and those of the job that comes after them.
    jobs: Vec<SmallJob>,
    ours: Process,
}

impl Lost {
    fn new() -> Self {
        let (cluster, job) = (Cluster::start(0), SmallJob::new());
        let ours = cluster.start_submit(job.ungated(&[]));
        cluster.wait_for_job(1);
        Self { cluster, jobs: vec![job], ours }
    }

    /// The coordinator dies, and another one is started at its address, without its journal.
    /// Somebody else's job is its first.
    fn replace(&mut self) {
        self.cluster.coordinator.kill();
        fs::remove_dir_all(self.cluster.state()).unwrap();
        self.cluster.restart_coordinator();
        let theirs = SmallJob::new();
        assert_eq!(self.cluster.submit_detached(theirs.ungated(&[])), 1);
        self.jobs.push(theirs);
    }
}
