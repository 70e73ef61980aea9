//! The ledger's entries from effects.

use windrow_jobs::JobId;
use windrow_scheduler::Effect;

use super::{Attempt, Job, Ledger, Session, Status};

impl Ledger {
    pub fn on_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Accepted { job, .. } => self.accept(*job),
            Effect::Admitted { worker, .. } => {
                if let Some((connection, offer)) = self.joining.take() {
                    let lease_ends = self.now + self.config.lease;
                    let session = Session {
                        offer,
                        draining: false,
                        connection: Some(connection),
                        granted: lease_ends,
                        lease_ends,
                    };
                    self.sessions.insert(*worker, session);
                    self.look_around();
                }
            }
            Effect::Assign { worker, attempt, .. } => {
                let assigned = Attempt {
                    worker: *worker,
                    status: Status::Running,
                    reports: 0,
                    missing: false,
                    reduces_won: 0,
                };
                self.attempts.insert(*attempt, assigned);
            }
            Effect::CancelAttempt { attempt, worker } => {
                let attempt = self.attempts.get_mut(attempt).filter(|a| a.worker == *worker);
                if let Some(attempt) = attempt.filter(|a| a.status == Status::Running) {
                    let overtaken = self.won.is_some() || self.poisoned.is_some();
                    attempt.status = if overtaken { Status::Overtaken } else { Status::Cancelled };
                }
            }
            Effect::EndSession { worker, .. } => self.lose(*worker),
            Effect::Publish { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.publishing = true;
                    job.published = None;
                }
            }
            Effect::Ended { job, outcome } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.ended = Some(outcome.clone());
                }
            }
            Effect::CancelAnswered { .. }
            | Effect::NotSubmitted { .. }
            | Effect::Noted { .. }
            | Effect::TooLate { .. }
            | Effect::Drained { .. }
            | Effect::Release { .. } => {}
        }
    }

    fn accept(&mut self, id: JobId) {
        let Some(plan) = self.submitted.take() else { return };
        if self.jobs.contains_key(&id) {
            return;
        }
        let job = Job {
            plan,
            cancelled: false,
            unfit_since: None,
            reduces_won: 0,
            published: None,
            output_lost: None,
            publishing: false,
            ended: None,
        };
        self.jobs.insert(id, job);
        self.look_around();
    }
}
