//! What was told is never contradicted, by any coordinator: which job a submission became, which
//! attempt of a task has won, and how a job ended.

use std::collections::{BTreeMap, BTreeSet};

use windrow_jobs::{AttemptId, JobId, StageId, TaskId};
use windrow_scheduler::{Effect, JobPlan, Outcome};

use super::{Ledger, check};

#[derive(Default)]
pub struct Promises {
    /// By client.
    accepted: BTreeMap<usize, JobId>,
    plans: BTreeMap<JobId, JobPlan>,
    /// By tasks whose winner writes a part.
    won: BTreeMap<TaskId, AttemptId>,
    ended: BTreeMap<JobId, Outcome>,
    /// Jobs whose maps are not deterministic: until they are published, a reducer that has won may
    /// have to run again.
    revocable: BTreeSet<JobId>,
}

impl Promises {
    pub fn submitted(&mut self, job: JobId, plan: &JobPlan) {
        self.plans.entry(job).or_insert_with(|| plan.clone());
    }

    pub fn may_be_revoked(&mut self, job: JobId) {
        self.revocable.insert(job);
    }

    pub fn plan(&self, job: JobId) -> Option<&JobPlan> {
        self.plans.get(&job)
    }

    pub fn outcome(&self, job: JobId) -> Option<&Outcome> {
        self.ended.get(&job)
    }

    /// `newest`: whether no coordinator of a later epoch has spoken yet. An answer that changes
    /// nothing may be out of date.
    pub fn on_release(
        &mut self,
        effect: &Effect,
        newest: bool,
        ledger: &Ledger,
    ) -> Result<(), String> {
        match effect {
            Effect::Noted { attempt, won, .. } => self.noted(*attempt, *won, ledger),
            Effect::Publish { job, winners } => {
                if self.revocable.remove(job) {
                    self.won.retain(|task, _| task.job != *job);
                }
                winners.iter().try_for_each(|winner| self.wins(*winner))
            }
            Effect::Assign { attempt, .. } => {
                let job = attempt.task.job;
                let over = newest && self.ended.contains_key(&job);
                check(!over, || format!("promises: {attempt} although {job} has ended"))
            }
            Effect::Ended { job, outcome } => {
                let told = self.ended.entry(*job).or_insert_with(|| outcome.clone());
                check(told == outcome, || format!("promises: {job}: {told:?}, now {outcome:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A client is told which job its submission has become.
    pub fn accepted(&mut self, client: usize, job: JobId) -> Result<(), String> {
        let first = *self.accepted.entry(client).or_insert(job);
        let others = self.accepted.iter().filter(|(c, j)| **c != client && **j == job);
        check(first == job, || format!("promises: submission {client} is {first}, now {job}"))?;
        check(others.count() == 0, || format!("promises: {job} is two submissions"))
    }

    /// A client sees the outcome of a job, which need not have been told before, if a coordinator
    /// has died in between.
    pub fn seen(&mut self, job: JobId, outcome: &Outcome) -> Result<(), String> {
        let told = self.ended.entry(job).or_insert_with(|| outcome.clone());
        check(told == outcome, || format!("promises: {job} shows {outcome:?}, not {told:?}"))
    }

    fn noted(&mut self, attempt: AttemptId, won: bool, ledger: &Ledger) -> Result<(), String> {
        let map_only = self.plans.get(&attempt.task.job).is_some_and(|plan| plan.partitions == 0);
        let writes_part = attempt.task.stage == StageId::REDUCE || map_only;
        // The data of an ended job is not needed, whether or not the end was told yet.
        let over = ledger.jobs.get(&attempt.task.job).is_none_or(|job| job.ended.is_some());
        if !writes_part || over {
            return Ok(());
        }
        let revocable = self.revocable.contains(&attempt.task.job);
        let lost_again = !revocable && !won && self.won.get(&attempt.task) == Some(&attempt);
        check(!lost_again, || format!("promises: {attempt} had won"))?;
        if won { self.wins(attempt) } else { Ok(()) }
    }

    fn wins(&mut self, attempt: AttemptId) -> Result<(), String> {
        if self.revocable.contains(&attempt.task.job) {
            return Ok(());
        }
        let winner = *self.won.entry(attempt.task).or_insert(attempt);
        check(winner == attempt, || format!("promises: {attempt} wins after {winner}"))
    }
}
