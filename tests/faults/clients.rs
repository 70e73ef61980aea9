//! Submitters: simultaneous, killed while they wait, and during quick restarts.

use libtest_mimic::Trial;

use super::small_job::{MAPS, SmallJob, all_at_once, assert_none_failed};
use crate::conformance::{path, wait_until_succeeded};
use crate::support::{Cluster, Output, Process, case, eventually, windrow};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::clients::same_instant_same_output", same_output),
        case("faults::clients::same_instant_other_clusters", same_output_of_other_clusters),
        case("faults::clients::same_instant_other_outputs", other_outputs),
        case("faults::clients::submitter_killed", submitter_killed),
        case("faults::clients::coordinator_restarted_twice", coordinator_restarted_twice),
    ]
}

/// One of several gets the folder; the others are told which job has it.
fn same_output() {
    let job = SmallJob::new();
    let cluster = Cluster::with_options(2, all_at_once());
    let submits: Vec<_> = (0..4).map(|_| cluster.start_submit(job.arguments(&[]))).collect();
    exactly_one(&job, submits);
    assert_eq!(job_count(&cluster), 1);
}

/// The same across clusters, which share nothing but the folder.
fn same_output_of_other_clusters() {
    let job = SmallJob::new();
    let clusters =
        [Cluster::with_options(1, all_at_once()), Cluster::with_options(1, all_at_once())];
    let mut embedded = windrow(["run"]);
    embedded.args(job.arguments(&[]));
    let mut submits: Vec<_> =
        clusters.iter().map(|cluster| cluster.start_submit(job.arguments(&[]))).collect();
    submits.push(Process::start(embedded));
    exactly_one(&job, submits);
}

/// All but one are refused while that job still runs; it succeeds.
fn exactly_one(job: &SmallJob, mut submits: Vec<Process>) {
    eventually("all but one to be refused", || {
        submits.iter_mut().map(Process::is_running).filter(|runs| *runs).count() == 1
    });
    job.open_all();
    let outputs: Vec<_> = submits.into_iter().map(Process::finish).collect();
    let (won, refused): (Vec<Output>, Vec<Output>) =
        outputs.into_iter().partition(|output| output.code() == Some(0));
    assert_eq!(won.len(), 1, "{refused:?}");
    for output in refused {
        output.expect_code(1).expect_said(&path(&job.output()));
    }
    job.assert_output();
}

fn other_outputs() {
    let jobs: Vec<_> = (0..4).map(|_| SmallJob::new()).collect();
    let cluster = Cluster::with_options(2, all_at_once());
    let submits: Vec<_> = jobs.iter().map(|job| cluster.start_submit(job.arguments(&[]))).collect();
    jobs.iter().for_each(SmallJob::open_all);
    submits.into_iter().for_each(|submit| drop(submit.finish().expect_code(0)));
    for (job, id) in jobs.iter().zip(1..) {
        job.assert_output();
        assert_none_failed(&cluster, id);
    }
    assert_eq!(job_count(&cluster), jobs.len());
}

/// Its job continues.
fn submitter_killed() {
    let job = SmallJob::new();
    let cluster = Cluster::with_options(2, all_at_once());
    let mut submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    submit.kill();
    job.open_all();
    wait_until_succeeded(&cluster, 1);
    job.assert_output();
    assert_none_failed(&cluster, 1);
}

/// The second restart comes when the coordinator has hardly begun.
fn coordinator_restarted_twice() {
    let job = SmallJob::new();
    let mut cluster = Cluster::with_options(2, all_at_once());
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    for _ in 0..4 {
        cluster.restart_coordinator();
    }
    job.open_all();
    submit.finish().expect_code(0).expect_said("is back");
    job.assert_output();
    assert_none_failed(&cluster, 1);
    assert_eq!(cluster.status(1)["map"]["attempts"], MAPS);
}

fn job_count(cluster: &Cluster) -> usize {
    cluster.command(["jobs", "--json"]).finish().expect_code(0).stdout.lines().count()
}
