//! How a running job shows: bars on a terminal, plain lines elsewhere, or JSON.

mod bars;
mod embedded;
mod json;
mod lines;

use std::io::{IsTerminal, stderr};

use windrow_proto::v1;

use crate::client::Accepted;

/// A job that waits for less is only starting.
const WAITING_MS_MIN: u64 = 500;

/// Hears what becomes of a job.
pub(crate) trait Reporter: Send {
    /// So many bytes of the job's program and side files had to be sent.
    fn shipped(&mut self, bytes: u64);
    /// The cluster has taken the job; with `detached`, this is the last that is heard of it.
    fn accepted(&mut self, job: &Accepted, detached: bool);
    /// The job goes on.
    fn update(&mut self, status: &v1::JobStatus);
    /// Something for the user to know.
    fn note(&mut self, text: &str);
    /// The job has ended.
    fn finished(&mut self, status: &v1::JobStatus);
}

/// The reporter that fits where the output goes.
pub(crate) fn reporter(json: bool) -> Box<dyn Reporter> {
    if json {
        Box::new(json::Json)
    } else if stderr().is_terminal() {
        Box::new(bars::Bars::new())
    } else {
        Box::new(lines::Lines::default())
    }
}

/// The same for a job that runs in this process.
pub(crate) fn of_embedded(json: bool) -> Box<dyn Reporter> {
    Box::new(embedded::Embedded(reporter(json)))
}

/// What a job waits for, unless it is only starting.
fn waiting(status: &v1::JobStatus) -> &str {
    if status.elapsed_ms < WAITING_MS_MIN { "" } else { &status.waiting }
}

/// Done, running and all tasks of a stage.
fn tasks_text(stage: &v1::StageStatus) -> String {
    format!("{}/{} tasks, {} running", stage.done, stage.tasks, stage.running)
}
