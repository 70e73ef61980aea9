//! An answer to `List` shows the latest jobs, as many as a message may hold.

use prost::Message;
use windrow_proto::v1;

/// Most jobs in one answer.
const JOBS_MAX: usize = 1_000;
/// Most bytes of one answer, not counting its first job. Far below a client's limit.
const BYTES_MAX: usize = 4 << 20;

/// An answer, to which jobs are added from the latest on.
pub(super) struct Page {
    request: v1::ListRequest,
    limit: usize,
    bytes: usize,
    /// The latest first.
    jobs: Vec<v1::JobStatus>,
    more: bool,
}

impl Page {
    pub(super) fn of(request: v1::ListRequest) -> Self {
        let limit = match request.limit as usize {
            0 => JOBS_MAX,
            limit => limit.min(JOBS_MAX),
        };
        Self { request, limit, bytes: 0, jobs: Vec::new(), more: false }
    }

    /// Adds a job if it fits; returns false once the page is full.
    pub(super) fn add(&mut self, job: v1::JobStatus) -> bool {
        if !fits(&self.request, &job) {
            return true;
        }
        self.bytes += job.encoded_len();
        self.more =
            self.jobs.len() == self.limit || (self.bytes > BYTES_MAX && !self.jobs.is_empty());
        if !self.more {
            self.jobs.push(job);
        }
        !self.more
    }

    pub(super) fn reply(mut self) -> v1::ListReply {
        self.jobs.reverse();
        v1::ListReply { jobs: self.jobs, more: self.more }
    }
}

fn fits(request: &v1::ListRequest, job: &v1::JobStatus) -> bool {
    let v1::ListRequest { states, submitter, before, .. } = request;
    (states.is_empty() || states.contains(&job.state))
        && (submitter.is_empty() || *submitter == job.submitter)
        && before.is_none_or(|before| job.id < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64) -> v1::JobStatus {
        let state = if id.is_multiple_of(2) { v1::JobState::Running } else { v1::JobState::Failed };
        let submitter = if id < 50 { "ann" } else { "bob" };
        v1::JobStatus { id, state: state.into(), submitter: submitter.into(), ..Default::default() }
    }

    fn page_of(
        request: &v1::ListRequest,
        jobs: impl DoubleEndedIterator<Item = v1::JobStatus>,
    ) -> v1::ListReply {
        let mut page = Page::of(request.clone());
        let _is_full = jobs.rev().any(|job| !page.add(job));
        page.reply()
    }

    fn ids(request: &v1::ListRequest) -> (Vec<u64>, bool) {
        let reply = page_of(request, (1..=99).map(job));
        (reply.jobs.iter().map(|job| job.id).collect(), reply.more)
    }

    #[test]
    fn the_latest_jobs_come_first_and_the_next_page_continues() {
        let states = vec![v1::JobState::Running.into()];
        let request = v1::ListRequest { states, submitter: "ann".into(), limit: 3, before: None };
        assert_eq!(ids(&request), (vec![44, 46, 48], true));
        let rest = v1::ListRequest { before: Some(6), ..request };
        assert_eq!(ids(&rest), (vec![2, 4], false));
        let (all, more) = ids(&v1::ListRequest::default());
        assert_eq!((all.len(), more), (99, false));
    }

    #[test]
    fn an_answer_is_bounded_and_holds_at_least_one_job() {
        let failure = |id| v1::JobStatus { failure_message: "f".repeat(3 << 20), ..job(id) };
        let reply = page_of(&v1::ListRequest::default(), (1..=9).map(failure));
        assert_eq!((reply.jobs.len(), reply.more), (1, true));
        assert_eq!(reply.jobs[0].id, 9);
    }
}
