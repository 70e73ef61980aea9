//! A job of `windrow run`: there is one worker, which no job can avoid or look for.

use windrow_proto::v1;

use super::Reporter;
use crate::client::Accepted;

/// Says it through another reporter.
pub(super) struct Embedded(pub(super) Box<dyn Reporter>);

impl Reporter for Embedded {
    fn shipped(&mut self, bytes: u64) {
        self.0.shipped(bytes);
    }

    fn accepted(&mut self, job: &Accepted, detached: bool) {
        self.0.accepted(job, detached);
    }

    fn update(&mut self, status: &v1::JobStatus) {
        self.0.update(&of_one_worker(status));
    }

    fn note(&mut self, text: &str) {
        self.0.note(text);
    }

    fn finished(&mut self, status: &v1::JobStatus) {
        self.0.finished(&of_one_worker(status));
    }
}

fn of_one_worker(status: &v1::JobStatus) -> v1::JobStatus {
    v1::JobStatus { avoided_workers: Vec::new(), ..status.clone() }
}
