//! The coordinator is stopped, and another takes over: the job ends there, and the sleeper, when it
//! wakes, is fenced: it changes nothing and ends.

use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::small_job::{MAPS, SmallJob, all_at_once, assert_none_failed};
use crate::conformance::{path, wait_until_succeeded};
use crate::support::{
    Cluster, ClusterOptions, Process, case, eventually, generic_windrow, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        case("faults::takeover::stopped_in_map", stopped_in_map),
        case("faults::takeover::replaced_while_it_runs", replaced_while_it_runs),
        case("faults::takeover::copied_state", copied_state),
        case("faults::takeover::by_another_build", by_another_build),
    ];
    for step in STEPS {
        tests.push(case(&format!("faults::takeover::stopped_at_{step}"), || stopped_at(step)));
    }
    for (step, other) in PAIRS {
        let name = format!("faults::takeover::at_{step}_while_the_other_is_at_{other}");
        tests.push(case(&name, || both_publish(step, other)));
    }
    tests
}

/// The failpoints where the sleeper stops, with an output to replace.
const STEPS: [&str; 6] = [
    "journal-before-create:3",
    "journal-after-create:3",
    "publish-moved-aside:1",
    "publish-all-aside:1",
    "publish-part-renamed:1",
    "publish-before-manifest:1",
];

/// The sleeper's failpoint in a publication, and the other coordinator's in the same publication
/// when the sleeper wakes.
const PAIRS: [(&str, &str); 5] = [
    ("publish-moved-aside:1", "publish-all-aside:1"),
    ("publish-moved-aside:1", "publish-before-manifest:1"),
    ("publish-all-aside:1", "publish-part-renamed:1"),
    ("publish-part-renamed:1", "publish-before-manifest:1"),
    ("publish-before-manifest:1", "publish-part-renamed:1"),
];

/// The exit status of a fenced coordinator.
const REPLACED: i32 = 3;

/// Workers and the waiting submitter find the other coordinator by themselves.
fn stopped_in_map() {
    let job = SmallJob::new();
    let mut cluster = cluster("1s");
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    cluster.coordinator.signal(Signal::STOP);
    let sleeper = cluster.take_over();
    job.open_all();
    submit.finish().expect_code(0).expect_said("lost the coordinator").expect_said("is back");
    judge(&cluster, &job, 1);
    wake(sleeper);
    judge(&cluster, &job, 1);
}

/// A healthy coordinator is replaced: its next record is refused, early enough that nothing is
/// redone.
fn replaced_while_it_runs() {
    let job = SmallJob::new();
    let mut cluster = cluster("4s");
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    let replaced = cluster.take_over();
    replaced.finish().expect_code(REPLACED).expect_said("another coordinator has taken over");
    job.open_all();
    submit.finish().expect_code(0).expect_said("is back");
    judge(&cluster, &job, 1);
    let status = cluster.status(1);
    assert_eq!(status["map"]["attempts"], MAPS, "{status}");
}

/// The sleeper wakes when the job is over.
fn stopped_at(step: &str) {
    let (mut cluster, job) = asleep_at(step);
    let sleeper = cluster.take_over();
    wait_until_succeeded(&cluster, 2);
    judge(&cluster, &job, 2);
    wake(sleeper);
    judge(&cluster, &job, 2);
}

/// The sleeper wakes in the middle of the other's publication: it can neither add to it nor undo
/// it.
fn both_publish(step: &str, other: &str) {
    let (mut cluster, job) = asleep_at(step);
    let failpoint = format!("stop:{other}");
    let sleeper = cluster.take_over_with(&[("WINDROW_FAILPOINT", &failpoint)]);
    eventually("another sleeping coordinator", || cluster.coordinator.is_stopped());
    let before = job.dir.tree();
    wake(sleeper);
    assert_eq!(job.dir.tree(), before);
    cluster.coordinator.signal(Signal::CONT);
    wait_until_succeeded(&cluster, 2);
    judge(&cluster, &job, 2);
}

/// A state folder that was copied while in use is refused beside its original, and does not affect
/// it.
fn copied_state() {
    let job = SmallJob::new();
    let cluster = Cluster::with_options(2, all_at_once());
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    let copy = cluster.dir().join("copy");
    let copied = Command::new("cp").arg("-r").arg(cluster.state()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let mut second = windrow(["coordinator", "--listen", "127.0.0.1:0", "--state"]);
    second.arg(&copy);
    Process::start(second)
        .finish()
        .expect_code(1)
        .expect_said("is a copy of")
        .expect_said(&path(&cluster.state()));
    job.open_all();
    submit.finish().expect_code(0);
    job.assert_output();
    assert_none_failed(&cluster, 1);
}

/// Another build cannot read the journal: it says so and ends, while the coordinator in charge goes
/// through several epochs.
fn by_another_build() {
    let job = SmallJob::new();
    let often = &[("WINDROW_SNAPSHOT_AFTER", "2")];
    let cluster =
        Cluster::with_options(2, ClusterOptions { coordinator_env: often, ..all_at_once() });
    // Old objects are deleted.
    let epoch = || {
        let names = std::fs::read_dir(cluster.state().join("journal/epochs")).unwrap();
        let numbers = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        numbers.max().unwrap().parse::<u64>().unwrap()
    };
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    let mut other = generic_windrow(["coordinator", "--listen", "127.0.0.1:0", "--take-over"]);
    other.arg("--state").arg(cluster.state());
    Process::start(other).finish().expect_code(1).expect_said("was written by");
    let before = epoch();
    job.open_all();
    submit.finish().expect_code(0);
    judge(&cluster, &job, 1);
    assert!(epoch() > before + 2, "epoch {before}, then {}", epoch());
}

fn cluster(lease: &'static str) -> Cluster {
    Cluster::with_options(2, ClusterOptions { lease, standby: true, ..all_at_once() })
}

/// A coordinator that is stopped at a failpoint in a job that replaces an output.
fn asleep_at(step: &str) -> (Cluster, SmallJob) {
    let job = SmallJob::new();
    let mut cluster = cluster("1s");
    cluster.submit(job.ungated(&[])).expect_code(0);
    let failpoint = format!("stop:{step}");
    let id = cluster.submit_detached(job.arguments(&["--overwrite"]));
    assert_eq!(id, 2);
    job.wait_for("map", MAPS);
    cluster.restart_coordinator_with(&[("WINDROW_FAILPOINT", &failpoint)]);
    job.open_all();
    eventually("a sleeping coordinator", || cluster.coordinator.is_stopped());
    (cluster, job)
}

/// The sleeper is fenced, says so and ends.
fn wake(sleeper: Process) {
    sleeper.signal(Signal::CONT);
    sleeper.finish().expect_code(REPLACED).expect_said("another coordinator has taken over");
}

#[track_caller]
fn judge(cluster: &Cluster, job: &SmallJob, id: u64) {
    job.assert_output();
    assert_none_failed(cluster, id);
}
