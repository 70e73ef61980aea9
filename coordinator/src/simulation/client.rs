//! Model submitters: each submits one job, retries until it is accepted, and then asks until it
//! hears the outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use windrow_jobs::JobId;
use windrow_scheduler::{JobPlan, JobState, SubmissionId};

use crate::driver::{Command, JobWork};
use crate::simulation::happening::Happening;
use crate::simulation::invariants::remembers;
use crate::simulation::output::output_path;
use crate::simulation::world::World;

/// How often a client asks.
const ASKS_EVERY: Duration = Duration::from_secs(4);

pub struct Client {
    plan: JobPlan,
    /// The number of its output folder. Two clients may have the same one.
    pub output: usize,
    pub job: Option<JobId>,
    /// Whether it has heard the outcome of its job, or that the job was forgotten.
    pub heard_end: bool,
}

/// A client's request to a coordinator.
pub enum Request {
    /// Ask whether the job was accepted.
    Resubmit(usize, oneshot::Receiver<Option<JobId>>),
    /// Submit the job.
    Submit(usize, oneshot::Receiver<JobId>),
    /// Cancel a job. The answer is not awaited.
    Cancel(oneshot::Receiver<bool>),
}

enum Answer {
    Pending,
    Gone,
    Unknown,
    Job(JobId),
}

impl Client {
    pub fn new(plan: JobPlan, output: usize) -> Self {
        Self { plan, output, job: None, heard_end: false }
    }
}

impl World {
    /// A client sends its request, for the first time or again.
    pub fn ask(&mut self, index: usize) {
        if self.clients[index].heard_end {
            return;
        }
        self.later(ASKS_EVERY, Happening::Ask(index));
        let Some(coordinator) = self.pick_coordinator() else { return };
        if !self.strikes(self.faults.lose) {
            let asked = Happening::Asked(coordinator, index);
            self.later_doubled(self.faults.delay_max_ms, asked);
        }
    }

    /// A client's request arrives.
    pub fn asked(&mut self, coordinator: usize, index: usize) -> Result<(), String> {
        if let Some(job) = self.clients[index].job {
            return self.look(coordinator, index, job);
        }
        // Models `rpc/jobs`: concurrent requests for one submission are handled once.
        let requests = &mut self.coordinators[coordinator].requests;
        let same = |request: &Request| match request {
            Request::Resubmit(client, _) | Request::Submit(client, _) => *client == index,
            Request::Cancel(_) => false,
        };
        if requests.iter().any(same) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        requests.push(Request::Resubmit(index, answer));
        let submission = SubmissionId(index as u128);
        self.command(coordinator, Command::Resubmit { submission, reply })
    }

    /// A client looks at the state of its accepted job.
    fn look(&mut self, coordinator: usize, index: usize, job: JobId) -> Result<(), String> {
        let newest = self.epochs.newest_told();
        let Some(driver) = self.coordinators[coordinator].driver() else { return Ok(()) };
        if driver.stands_still() {
            return Ok(());
        }
        match driver.job_snapshot(job) {
            Some(snapshot) => {
                if let JobState::Ended(outcome) = snapshot.view.state
                    && snapshot.settled
                {
                    self.promises.seen(job, &outcome)?;
                    self.clients[index].heard_end = true;
                }
            }
            None if newest <= driver.epoch() => {
                let ledger = &driver.state().catalog.recorder.ledger;
                // Many other jobs may have ended in the meantime.
                let forgotten = remembers::is_forgotten(job, ledger);
                if !forgotten && driver.is_in_charge() {
                    return Err(format!("remembers: {job} was accepted, and nobody knows it"));
                }
                self.clients[index].heard_end = forgotten;
            }
            None => {}
        }
        Ok(())
    }

    /// Sends clients the answers that are known by now.
    pub fn answer_clients(&mut self, coordinator: usize) -> Result<(), String> {
        for request in std::mem::take(&mut self.coordinators[coordinator].requests) {
            let (answer, request) = request.answer();
            match (answer, request) {
                (Answer::Pending, request) => {
                    self.coordinators[coordinator].requests.push(request);
                }
                (Answer::Job(job), Request::Resubmit(index, _) | Request::Submit(index, _)) => {
                    self.accepted(index, job)?;
                }
                (Answer::Unknown, Request::Resubmit(index, _)) => {
                    self.submit(coordinator, index)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Handles a submission of an unknown job: the job is planned, gets its output folder, and is
    /// submitted.
    fn submit(&mut self, coordinator: usize, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        // Models `rpc/accept`.
        let path = output_path(client.output);
        let driver = self.coordinators[coordinator].driver();
        if driver.is_none_or(|driver| driver.owner_of(&path, &[]).is_some()) {
            return Ok(());
        }
        let Some(paths) = self.take_output(coordinator, client.output)? else { return Ok(()) };
        let work = JobWork::for_test(&self.clients[index].plan, paths);
        let plan = work.to_schedule();
        let work = (Arc::new(work), plan);
        let (reply, answer) = oneshot::channel();
        self.coordinators[coordinator].requests.push(Request::Submit(index, answer));
        let id = SubmissionId(index as u128);
        if let Some(driver) = self.coordinators[coordinator].driver_mut() {
            driver.arrived(Command::Submit { id, work, reply });
        }
        self.later(Duration::ZERO, Happening::Wake(coordinator));
        Ok(())
    }

    fn accepted(&mut self, index: usize, job: JobId) -> Result<(), String> {
        if self.strikes(self.faults.lose) {
            return Ok(());
        }
        self.promises.accepted(index, job)?;
        let first = self.clients[index].job.replace(job).is_none();
        if first && self.strikes(self.faults.cancel) {
            let after = self.rng.millis(0, 40_000);
            self.later(after, Happening::Cancel(job));
        }
        Ok(())
    }

    pub fn cancel(&mut self, job: JobId) {
        if let Some(index) = self.pick_coordinator() {
            self.later_doubled(self.faults.delay_max_ms, Happening::CancelAsked(index, job));
        }
    }

    pub fn cancel_asked(&mut self, coordinator: usize, job: JobId) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.coordinators[coordinator].requests.push(Request::Cancel(answer));
        self.command(coordinator, Command::Cancel { job, reply })
    }
}

impl Request {
    fn answer(mut self) -> (Answer, Self) {
        let answer = match &mut self {
            Self::Resubmit(_, answer) => match answer.try_recv() {
                Ok(Some(job)) => Answer::Job(job),
                Ok(None) => Answer::Unknown,
                Err(oneshot::error::TryRecvError::Empty) => Answer::Pending,
                Err(oneshot::error::TryRecvError::Closed) => Answer::Gone,
            },
            Self::Submit(_, answer) => match answer.try_recv() {
                Ok(job) => Answer::Job(job),
                Err(oneshot::error::TryRecvError::Empty) => Answer::Pending,
                Err(oneshot::error::TryRecvError::Closed) => Answer::Gone,
            },
            Self::Cancel(answer) => match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => Answer::Pending,
                _ => Answer::Gone,
            },
        };
        (answer, self)
    }
}
