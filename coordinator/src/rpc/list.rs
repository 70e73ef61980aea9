//! Which jobs an answer to `List` shows: the latest ones that fit, as many as a message may hold.

use prost::Message;
use windrow_proto::v1;

/// Most jobs of one answer.
const JOBS_MAX: usize = 1_000;
/// Most bytes of one answer, but for its first job. Far below what a client takes.
const BYTES_MAX: usize = 4 << 20;

/// The answer, out of all jobs, which come in the order of their numbers.
pub(super) fn page_of(
    request: &v1::ListRequest,
    jobs: impl DoubleEndedIterator<Item = v1::JobStatus>,
) -> v1::ListReply {
    let limit = match request.limit as usize {
        0 => JOBS_MAX,
        limit => limit.min(JOBS_MAX),
    };
    let mut reply = v1::ListReply::default();
    let mut bytes = 0;
    for job in jobs.rev().filter(|job| fits(request, job)).map(shortened) {
        bytes += job.encoded_len();
        if reply.jobs.len() == limit || (bytes > BYTES_MAX && !reply.jobs.is_empty()) {
            reply.more = true;
            break;
        }
        reply.jobs.push(job);
    }
    reply.jobs.reverse();
    reply
}

fn fits(request: &v1::ListRequest, job: &v1::JobStatus) -> bool {
    let v1::ListRequest { states, submitter, before, .. } = request;
    (states.is_empty() || states.contains(&job.state))
        && (submitter.is_empty() || *submitter == job.submitter)
        && before.is_none_or(|before| job.id < before)
}

/// Without what a list does not show, which may be megabytes: parameters, inputs, paths, files.
fn shortened(mut job: v1::JobStatus) -> v1::JobStatus {
    let spec = job.spec.take().unwrap_or_default();
    job.spec = Some(v1::JobSpec { job: spec.job, output: spec.output, ..Default::default() });
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64) -> v1::JobStatus {
        let state = if id.is_multiple_of(2) { v1::JobState::Running } else { v1::JobState::Failed };
        let submitter = if id < 50 { "ann" } else { "bob" };
        let spec = v1::JobSpec { params: "p".repeat(1 << 20), ..Default::default() };
        let (state, spec) = (state.into(), Some(spec));
        v1::JobStatus { id, state, submitter: submitter.into(), spec, ..Default::default() }
    }

    fn ids(request: &v1::ListRequest) -> (Vec<u64>, bool) {
        let reply = page_of(request, (1..=99).map(job));
        (reply.jobs.iter().map(|job| job.id).collect(), reply.more)
    }

    #[test]
    fn the_latest_that_fit_come_first_and_the_rest_can_be_asked_for() {
        let states = vec![v1::JobState::Running.into()];
        let request = v1::ListRequest { states, submitter: "ann".into(), limit: 3, before: None };
        assert_eq!(ids(&request), (vec![44, 46, 48], true));
        let rest = v1::ListRequest { before: Some(6), ..request };
        assert_eq!(ids(&rest), (vec![2, 4], false));
        // Not a byte of what is not shown.
        let (all, more) = ids(&v1::ListRequest::default());
        assert_eq!((all.len(), more), (99, false));
    }

    #[test]
    fn an_answer_is_bounded_and_never_empty_where_something_fits() {
        let failure = |id| v1::JobStatus { failure_message: "f".repeat(3 << 20), ..job(id) };
        let reply = page_of(&v1::ListRequest::default(), (1..=9).map(failure));
        assert_eq!((reply.jobs.len(), reply.more), (1, true));
        assert_eq!(reply.jobs[0].id, 9);
    }
}
