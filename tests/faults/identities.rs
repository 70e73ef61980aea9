//! A coordinator that has lost its journal gives job numbers again: whoever waits for or stops a
//! job must never get another job with the same number.

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

/// The submitter of the lost job learns that it is gone, not about the other job.
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

/// The submit is stopped while the coordinator is replaced, so that the interrupt comes before it
/// can notice.
fn an_interrupted_submit() {
    let mut lost = Lost::new();
    lost.ours.signal(Signal::STOP);
    lost.replace();
    let Lost { cluster, jobs: _jobs, ours } = lost;
    ours.signal(Signal::INT);
    ours.signal(Signal::CONT);
    let output = ours.finish();
    // It may notice either first.
    assert!(matches!(output.code(), Some(130 | NO_SUCH_JOB)), "{output:?}");
    assert_eq!(cluster.status(1)["state"], "running");
}

/// Scripts that keep a job's identity are as safe as a waiting submit.
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

/// Both clusters have a job 1. When one cluster dies, the other is not taken for it; when it
/// returns, its job continues.
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
    /// Its inputs, and those of the job after it.
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

    /// Kills the coordinator, and starts another at its address, without its journal; somebody
    /// else's job is its first.
    fn replace(&mut self) {
        self.cluster.coordinator.kill();
        fs::remove_dir_all(self.cluster.state()).unwrap();
        self.cluster.restart_coordinator();
        let theirs = SmallJob::new();
        assert_eq!(self.cluster.submit_detached(theirs.ungated(&[])), 1);
        self.jobs.push(theirs);
    }
}
