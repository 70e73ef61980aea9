//! Every request and every report is answered at once and exactly once, and the same report gets
//! the same answer.

use std::collections::VecDeque;

use windrow_jobs::{AttemptId, WorkerId};
use windrow_scheduler::{Effect, Event, RequestId};

use super::ledger::Status;
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Answers {
    owed: VecDeque<Owed>,
}

#[derive(Clone, Debug, PartialEq)]
enum Owed {
    Request(RequestId),
    /// Whether the attempt wins, if the ledger knows.
    Note(WorkerId, AttemptId, Option<bool>),
}

impl Rule for Answers {
    fn on_event(&mut self, event: &Event, ledger: &Ledger) -> Result<(), String> {
        check(self.owed.is_empty(), || format!("not answered: {:?}", self.owed))?;
        let known = |worker| ledger.sessions.contains_key(worker);
        match event {
            Event::Submit { request, .. }
            | Event::Resubmit { request, .. }
            | Event::Cancel { request, .. }
            | Event::WorkerJoined { request, .. }
            | Event::WorkerReturned { request, .. } => {
                self.owed.push_back(Owed::Request(*request));
            }
            Event::AttemptDone { worker, attempt, .. } if known(worker) => {
                let won = wins(*attempt, *worker, ledger);
                self.owed.push_back(Owed::Note(*worker, *attempt, won));
            }
            Event::AttemptFailed { worker, attempt, .. } if known(worker) => {
                self.owed.push_back(Owed::Note(*worker, *attempt, Some(false)));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_effect(&mut self, effect: &Effect, _ledger: &Ledger) -> Result<(), String> {
        let expected = match effect {
            Effect::Accepted { request, .. }
            | Effect::NotSubmitted { request }
            | Effect::CancelAnswered { request, .. }
            | Effect::Admitted { request, .. }
            | Effect::TooLate { request } => self.owed.pop_front() == Some(Owed::Request(*request)),
            Effect::Noted { worker, attempt, won } => match self.owed.pop_front() {
                Some(Owed::Note(who, what, wins)) => {
                    (who, what) == (*worker, *attempt) && wins.is_none_or(|wins| wins == *won)
                }
                _ => false,
            },
            _ => return Ok(()),
        };
        check(expected, || format!("nobody asked, or the answer is wrong: {effect:?}"))
    }
}

fn wins(id: AttemptId, worker: WorkerId, ledger: &Ledger) -> Option<bool> {
    let over = ledger.jobs.get(&id.task.job).is_none_or(|job| job.ended.is_some());
    let Some(attempt) = ledger.attempts.get(&id).filter(|a| a.worker == worker && !over) else {
        return Some(false);
    };
    match attempt.status {
        Status::Running => Some(true),
        Status::Done if attempt.missing => Some(false),
        Status::Done if ledger.may_be_given_up(id, attempt) => None,
        // A reducer that has won may have to run again.
        Status::Done if ledger.nondeterministic(id.task.job) => None,
        Status::Done => Some(true),
        Status::Failed(_)
        | Status::Cancelled
        | Status::Overtaken
        | Status::Lost
        | Status::Unknown => Some(false),
    }
}
