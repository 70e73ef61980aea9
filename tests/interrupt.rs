//! Ctrl-C and cancelling stop promptly and leave no partial output.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::conformance::{gated, gates, processes};
use crate::support::{
    Cluster, Dir, Process, case, count_words, eventually, generated_words, sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("interrupt::embedded_run", embedded_run),
        case("interrupt::waiting_submit_cancels_its_job", waiting_submit_cancels_its_job),
        case("interrupt::submit_that_gets_no_answer", submit_that_gets_no_answer),
        case("interrupt::cancel_command", cancel_command),
        case("interrupt::waiting_for_a_job_does_not_cancel_it", waiting_does_not_cancel),
        case("interrupt::signals_that_a_shell_ignores", signals_that_a_shell_ignores),
        case("interrupt::coordinator_leaves_its_jobs", coordinator_leaves_its_jobs),
    ]
}

fn embedded_run() {
    for stage in ["map", "reduce"] {
        let dir = Dir::new();
        generated_words(&dir, 2, 1_000);
        let gates = gates(&dir);
        if stage == "reduce" {
            fs::write(gates.join("map-go"), "").unwrap();
        }
        let mut command = windrow(["run"]);
        command.args(gated(&dir, &[]));
        let run = Process::start(command);
        eventually("a running task", || !processes(&gates, &format!("{stage}-")).is_empty());
        run.signal(Signal::INT);
        run.finish().expect_code(130).expect_said("interrupted");
        assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
    }
}

fn waiting_submit_cancels_its_job() {
    let dir = Dir::new();
    generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    let cluster = Cluster::start(1);
    let submit = cluster.start_submit(gated(&dir, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    submit.signal(Signal::INT);
    submit.finish().expect_code(130).expect_said("interrupted");
    eventually("the job's end", || cluster.status(1)["state"] == "cancelled");
    eventually("the output to be gone", || !dir.join("out").exists());
    fs::write(gates.join("map-go"), "").unwrap();
}

/// The coordinator hangs before it has accepted the job.
fn submit_that_gets_no_answer() {
    let dir = Dir::new();
    generated_words(&dir, 1, 1_000);
    let cluster = Cluster::start(0);
    cluster.coordinator.signal(Signal::STOP);
    let submit = cluster.start_submit(crate::conformance::arguments("word-count", &dir, &[]));
    eventually("the command to listen for signals", || submit.catches(Signal::INT));
    submit.signal(Signal::INT);
    // The command cannot know whether the job was accepted, and must not claim either.
    submit.finish().expect_code(130).expect_said("interrupted: ");
}

/// A shell without job control starts `&` commands with SIGINT and SIGQUIT ignored, and `nohup`
/// ignores SIGHUP for good.
fn signals_that_a_shell_ignores() {
    let dir = Dir::new();
    let state = dir.join("state");
    let coordinator = windrow(["coordinator", "--listen", "127.0.0.1:0", "--state"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT QUIT HUP; exec \"$@\"", "sh"]).arg(coordinator.get_program());
    shell.args(coordinator.get_args()).arg(&state);
    let mut coordinator = Process::start(shell);
    eventually("the coordinator", || state.join("address").exists());
    assert!(coordinator.catches(Signal::INT) && !coordinator.catches(Signal::HUP));
    coordinator.signal(Signal::HUP);
    assert!(coordinator.is_running());
    coordinator.signal(Signal::QUIT);
    coordinator.finish().expect_code(130);
}

/// The jobs are in the journal: they continue on the next coordinator, and nothing runs twice.
fn coordinator_leaves_its_jobs() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    let mut cluster = Cluster::start(1);
    let submit = cluster.start_submit(gated(&dir, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    cluster.coordinator.signal(Signal::TERM);
    eventually("the coordinator's end", || !cluster.coordinator.is_running());
    cluster.restart_coordinator();
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    submit.finish().expect_code(0);
    assert_eq!(cluster.status(1)["map"]["attempts"], cluster.status(1)["map"]["tasks"]);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// A job with a map that waits at its gate.
fn held_job() -> (Dir, PathBuf, Cluster, u64) {
    let dir = Dir::new();
    generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(gated(&dir, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    (dir, gates, cluster, job)
}

fn waiting_does_not_cancel() {
    let (_dir, gates, cluster, job) = held_job();
    let waiting = cluster.command(["wait", &job.to_string()]);
    eventually("the command to listen for signals", || waiting.catches(Signal::INT));
    waiting.signal(Signal::INT);
    waiting.finish().expect_code(130);
    let waiting = cluster.command(["wait", &job.to_string()]);
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    waiting.finish().expect_code(0).expect_said("gated-word-count succeeded");
}

fn cancel_command() {
    let (dir, gates, cluster, job) = held_job();
    let waiting = cluster.command(["wait", &job.to_string()]);
    let cancel = || cluster.command(["cancel", &job.to_string()]).finish().expect_code(0);
    cancel().expect_said("job 1 was cancelled");
    cancel().expect_said("job 1 had been cancelled before");
    waiting.finish().expect_code(1).expect_said("gated-word-count cancelled");
    eventually("the output to be gone", || !dir.join("out").exists());
    fs::write(gates.join("map-go"), "").unwrap();
    // The worker's slots are free again, although the user code ignored the cancellation.
    let other = Dir::new();
    other.write("in/a", "x\n");
    cluster.submit(crate::conformance::arguments("word-count", &other, &[])).expect_code(0);
}
