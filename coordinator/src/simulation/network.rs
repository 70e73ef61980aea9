//! Connections between workers and coordinators. Messages are delayed, lost, duplicated and
//! reordered. Only the welcome always comes first and is never lost: without it there is no
//! session.
//!
//! The coordinator's half models `rpc/sessions`: it passes on a worker's messages in its session,
//! empties the outbox, and lets a worker wait that finds its predecessor in a session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;
use windrow_jobs::{AttemptId, JobId, StageId, TaskId, WorkerId};
use windrow_scheduler::journal::Epoch;
use windrow_scheduler::{Effect, Event, Inventory, MapOutputs, Time};

use crate::driver::{
    Assignment, Command, JoinError, Joined, Outgoing, OutputsTable, Receipt, Report, Returning,
    SessionEnd, SessionId, SharedContent, WorkerProfile,
};
use crate::output::Reported;
use crate::rpc::sessions::{PREDECESSOR_GRACE, PREDECESSOR_PAUSE};
use crate::simulation::happening::Happening;
use crate::simulation::invariants::leases;
use crate::simulation::world::World;

pub struct Connection {
    pub process: usize,
    pub coordinator: usize,
    pub hello: Hello,
    pub open: bool,
    welcome_arrives: Time,
}

/// A worker's first message.
#[derive(Clone, Debug)]
pub struct Hello {
    pub profile: WorkerProfile,
    pub returns: Option<(WorkerId, Epoch, Inventory)>,
    pub sent: Time,
}

/// A worker's call, at the coordinator.
pub enum Call {
    /// It has said hello, and waits for an answer until then.
    Joining { answer: oneshot::Receiver<Result<Joined, JoinError>>, until: Time },
    /// It has a session.
    Open(Session),
}

pub struct Session {
    joined: Joined,
    /// The map outputs that were sent in this session.
    tables: BTreeMap<JobId, Arc<MapOutputs>>,
    /// Jobs whose context was sent in this session.
    contexts: BTreeSet<JobId>,
}

/// A coordinator's message to a worker.
#[derive(Clone, Debug)]
pub struct Message {
    pub connection: usize,
    pub epoch: Epoch,
    pub worker: WorkerId,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    Welcome,
    /// Acknowledges the heartbeat that was sent then.
    Ack(Time),
    Order(Effect),
    /// Ends a job's processes; to be answered with this ticket.
    Release(JobId, Option<u64>),
}

impl World {
    /// A worker connects to a coordinator. `None` if none answers.
    pub fn open_connection(&mut self, process: usize, hello: Hello) -> Option<usize> {
        let coordinator = self.pick_coordinator()?;
        let connection = self.connections.len();
        let welcome_arrives = Time(Duration::MAX);
        self.connections.push(Connection {
            process,
            coordinator,
            hello,
            open: true,
            welcome_arrives,
        });
        if self.now >= self.processes[process].cut_out_until {
            let delay = self.rng.millis(1, 100);
            let until = self.now + delay + PREDECESSOR_GRACE;
            self.later(delay, Happening::Hello(connection, until));
        }
        Some(connection)
    }

    /// A coordinator that decides: mostly the latest one.
    pub fn pick_coordinator(&mut self) -> Option<usize> {
        let deciding: Vec<_> = (0..self.coordinators.len())
            .filter(|&index| self.coordinators[index].driver().is_some())
            .collect();
        let newest = *deciding.last()?;
        Some(if self.rng.chance(750) { newest } else { *self.rng.pick(&deciding) })
    }

    /// A worker's first message arrives, or is passed to the driver again.
    pub fn hello(&mut self, id: usize, until: Time) -> Result<(), String> {
        let Connection { coordinator, hello, open, .. } = &self.connections[id];
        let coordinator = *coordinator;
        let Some(driver) = self.coordinators[coordinator].driver() else { return Ok(()) };
        if !open {
            return Ok(());
        }
        let cluster = driver.state().catalog.cluster.to_string();
        let returning = hello.returns.clone().map(|(worker, epoch, inventory)| Returning {
            worker,
            cluster,
            epoch,
            inventory,
        });
        let (reply, answer) = oneshot::channel();
        let profile = Box::new(hello.profile.clone());
        self.coordinators[coordinator].calls.insert(id, Call::Joining { answer, until });
        self.command(coordinator, Command::Join { profile, returning, reply })
    }

    /// Sends a coordinator's messages to its workers. It may crash between any two messages.
    pub fn speak(&mut self, coordinator: usize) -> Result<(), String> {
        let calls: Vec<_> = self.coordinators[coordinator].calls.keys().copied().collect();
        for id in calls {
            if self.coordinators[coordinator].paused_until > self.now {
                break;
            }
            let calls = &mut self.coordinators[coordinator].calls;
            match calls.get_mut(&id) {
                Some(Call::Joining { answer, until }) => match answer.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => {}
                    answer => {
                        let until = *until;
                        calls.remove(&id);
                        self.hello_answered(coordinator, id, until, answer.ok());
                    }
                },
                Some(Call::Open(_)) => self.empty_outbox(coordinator, id)?,
                None => {}
            }
        }
        Ok(())
    }

    fn hello_answered(
        &mut self,
        coordinator: usize,
        id: usize,
        until: Time,
        answer: Option<Result<Joined, JoinError>>,
    ) {
        match answer {
            Some(Ok(joined)) => {
                self.welcome(id, joined.epoch, joined.worker);
                let call = Call::Open(Session {
                    joined,
                    tables: BTreeMap::new(),
                    contexts: BTreeSet::new(),
                });
                self.coordinators[coordinator].calls.insert(id, call);
                self.later(Duration::ZERO, Happening::Wake(coordinator));
            }
            Some(Err(JoinError::AlreadyThere { .. } | JoinError::SameIdentity { .. }))
                if self.now < until =>
            {
                // Its session is refused: another process has it.
                self.connections[id].hello.returns = None;
                self.later(PREDECESSOR_PAUSE, Happening::Hello(id, until));
            }
            Some(Err(_)) | None => self.break_connection(id),
        }
    }

    /// Welcomes a worker that has joined or returned.
    fn welcome(&mut self, id: usize, epoch: Epoch, worker: WorkerId) {
        let process = self.connections[id].process;
        let cut = self.processes[process].cut_in_until.since(self.now);
        let delay = cut + self.rng.millis(1, 100);
        self.connections[id].welcome_arrives = self.now + delay;
        let message = Message { connection: id, epoch, worker, body: Body::Welcome };
        self.later(delay, Happening::Deliver(process, message));
        if !self.connections[id].open {
            self.coordinator_notices(id);
        }
    }

    fn empty_outbox(&mut self, coordinator: usize, id: usize) -> Result<(), String> {
        loop {
            let call = self.coordinators[coordinator].calls.get_mut(&id);
            let Some(Call::Open(session)) = call else { return Ok(()) };
            let (epoch, worker) = (session.joined.epoch, session.joined.worker);
            if let Ok(receipt) = session.joined.outbox.receipts.try_recv() {
                let body = body_of_receipt(worker, receipt);
                // A coordinator that stands still only sends what it decided before.
                let decides =
                    self.coordinators[coordinator].driver().is_some_and(|d| !d.stands_still());
                if let Body::Ack(_) = body
                    && decides
                {
                    let silent = self.coordinators[coordinator].unanswered_for(self.now);
                    leases::check_acknowledgement(silent, self.config.lease)?;
                }
                self.send_to_worker(id, epoch, worker, body);
                continue;
            }
            let outgoing = match session.joined.outbox.orders.try_recv() {
                Ok(outgoing) => outgoing,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    self.coordinators[coordinator].calls.remove(&id);
                    self.break_connection(id);
                    return Ok(());
                }
            };
            let Some(body) = session.body_of(worker, outgoing)? else { continue };
            self.send_to_worker(id, epoch, worker, body);
            if self.falters(coordinator) || self.coordinators[coordinator].paused_until > self.now {
                return Ok(());
            }
        }
    }

    fn send_to_worker(&mut self, id: usize, epoch: Epoch, worker: WorkerId, body: Body) {
        let process = self.connections[id].process;
        let cut = self.now < self.processes[process].cut_in_until;
        if cut || self.strikes(self.faults.lose) {
            return self.note(|_| format!("   (lost) {body:?}"));
        }
        let message = Message { connection: id, epoch, worker, body };
        let ahead = self.connections[id].welcome_arrives.since(self.now);
        self.deliver_once(ahead, process, message.clone());
        if self.strikes(self.faults.double) {
            self.deliver_once(ahead, process, message);
        }
    }

    fn deliver_once(&mut self, ahead: Duration, process: usize, message: Message) {
        let delay = self.rng.millis(1, self.faults.delay_max_ms);
        self.later(delay.max(ahead), Happening::Deliver(process, message));
    }

    /// Sends a worker's message by its connection.
    pub fn send(&mut self, process: usize, event: Event) {
        let Some(id) = self.processes[process].connection else { return };
        let Connection { open, .. } = self.connections[id];
        let cut = self.now < self.processes[process].cut_out_until;
        if !open || cut || self.strikes(self.faults.lose) {
            return self.note(|_| format!("(lost) {event:?}"));
        }
        let said = Happening::Said(id, self.now, event);
        self.later_doubled(self.faults.delay_max_ms, said);
    }

    /// A worker's message arrives in its session.
    pub fn said(&mut self, id: usize, sent: Time, event: Event) -> Result<(), String> {
        let coordinator = self.connections[id].coordinator;
        let Some(Call::Open(session)) = self.coordinators[coordinator].calls.get(&id) else {
            return Ok(());
        };
        let (worker, session) = (session.joined.worker, session.joined.session);
        let reported = match &event {
            Event::AttemptDone { attempt, .. } if self.writes_part(*attempt) => {
                Reported { part: self.reported(*attempt), bad_records: None }
            }
            _ => Reported::default(),
        };
        let Some(report) = report_of(sent, event, reported) else { return Ok(()) };
        self.command(coordinator, Command::Report { worker, session, report })
    }

    /// Sends a worker's answer to a release.
    pub fn send_released(&mut self, process: usize, job: JobId, ticket: u64) {
        let Some(id) = self.processes[process].connection else { return };
        let cut = self.now < self.processes[process].cut_out_until;
        if !self.connections[id].open || cut || self.strikes(self.faults.lose) {
            return self.note(|_| format!("(lost) released {job}"));
        }
        self.later_doubled(self.faults.delay_max_ms, Happening::Released(id, job, ticket));
    }

    /// The answer to a release arrives in its session.
    pub fn released(&mut self, id: usize, job: JobId, ticket: u64) -> Result<(), String> {
        let coordinator = self.connections[id].coordinator;
        let Some(Call::Open(session)) = self.coordinators[coordinator].calls.get(&id) else {
            return Ok(());
        };
        let (worker, session) = (session.joined.worker, session.joined.session);
        let report = Report::Released { job, ticket };
        self.command(coordinator, Command::Report { worker, session, report })
    }

    /// A connection breaks. Each side may notice.
    pub fn break_connection(&mut self, id: usize) {
        if !std::mem::take(&mut self.connections[id].open) {
            return;
        }
        // Otherwise only the lease will tell.
        if self.rng.chance(700) {
            self.coordinator_notices(id);
        }
        if self.rng.chance(700) {
            let delay = self.rng.millis(1, 2_000);
            let process = self.connections[id].process;
            self.later(delay, Happening::Reset(process, id));
        }
    }

    fn coordinator_notices(&mut self, id: usize) {
        let delay = self.rng.millis(1, self.faults.delay_max_ms);
        self.later(delay, Happening::Broken(self.connections[id].coordinator, id));
    }

    /// A coordinator notices that a connection is broken.
    pub fn broken(&mut self, coordinator: usize, id: usize) -> Result<(), String> {
        // A pending answer to hello has no receiver any more.
        let call = self.coordinators[coordinator].calls.remove(&id);
        let Some(Call::Open(session)) = call else { return Ok(()) };
        let (worker, session): (_, SessionId) = (session.joined.worker, session.joined.session);
        let reason = "connection reset".to_string();
        let end = match self.rng.chance(100) {
            true => SessionEnd::Left(reason),
            false => SessionEnd::Broken(reason),
        };
        self.command(coordinator, Command::SessionEnded { worker, session, end })
    }

    /// Breaks all connections of a coordinator that is gone.
    pub fn coordinator_gone(&mut self, coordinator: usize) {
        self.coordinators[coordinator].calls.clear();
        for id in 0..self.connections.len() {
            if self.connections[id].coordinator == coordinator {
                self.break_connection(id);
            }
        }
    }
}

impl Call {
    /// The worker of its session, if it has one.
    pub fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::Joining { .. } => None,
            Self::Open(session) => Some(session.joined.worker),
        }
    }
}

impl Session {
    /// Translates a message from the outbox for the model worker.
    fn body_of(&mut self, worker: WorkerId, outgoing: Outgoing) -> Result<Option<Body>, String> {
        let order = |effect| Ok(Some(Body::Order(effect)));
        let assign = |assignment: Assignment, outputs| {
            let Assignment { attempt, alone, skip } = assignment;
            order(Effect::Assign { worker, attempt, outputs, alone, skip })
        };
        if let Outgoing::Map { assignment, .. } | Outgoing::Reduce { assignment, .. } = &outgoing
            && !self.contexts.contains(&assignment.attempt.task.job)
        {
            return Err(format!("inputs: {} came before its job's context", assignment.attempt));
        }
        match outgoing {
            Outgoing::Map { assignment, .. } => assign(assignment, None),
            Outgoing::Reduce { assignment, outputs_version, .. } => {
                let job = assignment.attempt.task.job;
                let table = self.tables.get(&job).filter(|table| table.version == outputs_version);
                let table = table.ok_or_else(|| {
                    format!(
                        "inputs: {} has no outputs of version {outputs_version}",
                        assignment.attempt
                    )
                })?;
                let outputs = Some(Arc::clone(table));
                assign(assignment, outputs)
            }
            Outgoing::Shared(shared) => {
                match &shared.content {
                    SharedContent::Context(job, _) => drop(self.contexts.insert(*job)),
                    SharedContent::SplitPoints(..) => {}
                    SharedContent::Outputs(told) => {
                        let table = outputs_of(self.tables.get(&told.job), told)?;
                        self.tables.insert(told.job, Arc::new(table));
                    }
                }
                Ok(None)
            }
            Outgoing::Cancel(attempt) => order(Effect::CancelAttempt { worker, attempt }),
            Outgoing::Release { job, ticket } => {
                self.tables.remove(&job);
                self.contexts.remove(&job);
                Ok(Some(Body::Release(job, ticket)))
            }
            Outgoing::Drained => order(Effect::Drained { worker }),
            Outgoing::End(reason) => order(Effect::EndSession { worker, reason }),
        }
    }
}

fn body_of_receipt(worker: WorkerId, receipt: Receipt) -> Body {
    match receipt {
        Receipt::Noted { attempt, won } => Body::Order(Effect::Noted { worker, attempt, won }),
        Receipt::HeartbeatAck(sent) => Body::Ack(Time(Duration::from_nanos(sent))),
    }
}

/// The map outputs that a worker knows after this message, given what it knew before.
fn outputs_of(before: Option<&Arc<MapOutputs>>, told: &OutputsTable) -> Result<MapOutputs, String> {
    let output = |&(index, number, place): &(u32, u32, u32)| {
        let task = TaskId { job: told.job, stage: StageId::MAP, index };
        (AttemptId { task, number }, told.holders[place as usize].worker)
    };
    let mut outputs = match (told.since, before) {
        (None, _) => Vec::new(),
        (Some(since), Some(before)) if before.version == since => before.outputs.clone(),
        (since, _) => return Err(format!("inputs: a change of {since:?}, which it does not know")),
    };
    if told.since.is_none() {
        outputs.extend(told.outputs.iter().map(output));
    } else {
        for moved in &told.outputs {
            outputs[moved.0 as usize] = output(moved);
        }
    }
    Ok(MapOutputs { version: told.version, outputs })
}

/// A report as the session passes it on. Heartbeats are numbered by the time at which they were
/// sent.
fn report_of(sent: Time, event: Event, reported: Reported) -> Option<Report> {
    Some(match event {
        Event::Heartbeat { running, .. } => {
            Report::Heartbeat { running, sequence: sent.0.as_nanos() as u64 }
        }
        Event::AttemptDone { attempt, stats, .. } => Report::Done { attempt, stats, reported },
        Event::AttemptFailed { attempt, cause, .. } => Report::Failed { attempt, cause },
        Event::OutputsLost { outputs, .. } => Report::OutputsLost { outputs },
        Event::WorkerDraining { .. } => Report::Draining,
        _ => return None,
    })
}
