//! Each task is committed exactly once: a job is published at most once, with one winner for each part, which has
//! really succeeded and has said so. No job succeeds otherwise.

use std::collections::BTreeSet;

use windrow_jobs::{AttemptId, JobId};
use windrow_scheduler::{Effect, Outcome, Time};

use super::ledger::Status;
use super::{Invariant, Ledger, Truth, check};

#[derive(Default)]
pub struct Commit {
    published: BTreeSet<JobId>,
}

impl Invariant for Commit {
    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        truth: &Truth,
    ) -> Result<(), String> {
        match effect {
            Effect::Publish { job, winners } => {
                check(self.published.insert(*job), || format!("{job} is published twice"))?;
                check_winners(*job, winners, ledger, truth)
            }
            Effect::Ended { job, outcome: Outcome::Succeeded } => {
                let visible = ledger.jobs.get(job).is_some_and(|j| j.published == Some(Ok(())));
                check(visible, || format!("{job} succeeded, but its output is not visible"))
            }
            _ => Ok(()),
        }
    }
}

fn check_winners(
    id: JobId,
    winners: &[AttemptId],
    ledger: &Ledger,
    truth: &Truth,
) -> Result<(), String> {
    let Some(job) = ledger.jobs.get(&id) else { return Err(format!("there is no {id}")) };
    let (stage, parts) = job.output_stage();
    let names: Vec<_> = winners.iter().map(|w| (w.task.job, w.task.stage, w.task.index)).collect();
    let expected: Vec<_> = (0..parts).map(|index| (id, stage, index)).collect();
    check(names == expected, || format!("{id} publishes {winners:?}"))?;
    for winner in winners {
        let Some(attempt) = ledger.attempts.get(winner) else {
            return Err(format!("{winner} was never assigned"));
        };
        let told = attempt.status == Status::Done;
        check(told, || format!("{winner} is published but was {:?}", attempt.status))?;
        let true_ = truth.succeeded.contains(&(*winner, attempt.worker));
        check(true_, || format!("{winner} is published but did not succeed"))?;
    }
    Ok(())
}
