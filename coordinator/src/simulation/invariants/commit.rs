//! Each task is committed exactly once: a job is published with one winner for each part, which has
//! reported success. A takeover may ask for the publication again, but not with other winners. No
//! job succeeds otherwise.

use std::collections::BTreeMap;

use windrow_jobs::{AttemptId, JobId};
use windrow_scheduler::{Effect, Outcome};

use super::ledger::Status;
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Commit {
    published: BTreeMap<JobId, Vec<AttemptId>>,
}

impl Rule for Commit {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        match effect {
            Effect::Publish { job, winners } => {
                if let Some(former) = self.published.insert(*job, winners.clone()) {
                    let failed =
                        ledger.jobs.get(job).is_some_and(|job| job.may_be_published_again());
                    let again = (ledger.took_over || failed) && former == *winners;
                    check(again, || format!("{job} is published twice"))?;
                }
                check_winners(*job, winners, ledger)
            }
            Effect::Ended { job, outcome: Outcome::Succeeded } => {
                let visible = ledger.jobs.get(job).is_some_and(|j| j.published == Some(Ok(())));
                check(visible, || format!("{job} succeeded, but its output is not visible"))
            }
            _ => Ok(()),
        }
    }
}

fn check_winners(id: JobId, winners: &[AttemptId], ledger: &Ledger) -> Result<(), String> {
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
    }
    Ok(())
}
