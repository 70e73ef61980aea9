//! Model workers: processes on machines. They keep their data when a connection breaks, return with
//! it, and fence themselves by their own clock. For their attempts see `attempts`, for faults
//! `faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windrow_jobs::Platform;
use windrow_jobs::{AttemptId, JobId, StageId, WorkerId};
use windrow_scheduler::journal::Epoch;
use windrow_scheduler::{AttemptProgress, Effect, Event, Inventory, Time};

use crate::driver::WorkerProfile;

use crate::simulation::attempts::{Attempt, Orders};
use crate::simulation::happening::Happening;
use crate::simulation::network::{Body, Hello, Message};
use crate::simulation::world::World;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a worker waits for the answer to its first message.
const WELCOME_WITHIN: Duration = Duration::from_secs(3);
/// After this many heartbeats, it repeats unanswered reports.
const TELL_AGAIN_AFTER: u64 = 5;

pub struct Process {
    pub machine: u64,
    pub alive: bool,
    pub worker: Option<WorkerId>,
    pub connection: Option<usize>,
    pub stalled_until: Time,
    /// No message comes in, or gets out, until then.
    pub cut_in_until: Time,
    pub cut_out_until: Time,
    /// The highest epoch that it has heard of: lower ones are refused.
    pub epoch: Epoch,
    /// The end of its lease by its own clock.
    pub lease_ends: Time,
    pub leaving: bool,
    pub running: BTreeMap<AttemptId, Attempt>,
    /// Reports that were not answered yet.
    pub unanswered: BTreeMap<AttemptId, Event>,
    /// Every attempt that it was ever assigned: a duplicated assignment is ignored.
    pub seen: BTreeSet<AttemptId>,
    /// The map outputs on its disk.
    pub outputs: BTreeSet<AttemptId>,
    pub profile: WorkerProfile,
    welcomed: bool,
    heartbeats: u64,
}

impl World {
    /// The processor of a machine: not always the same.
    fn arch(&self, machine: u64) -> &'static str {
        if self.faults.two_platforms && machine.is_multiple_of(2) { "even" } else { "odd" }
    }

    pub fn start_process(&mut self, machine: u64) {
        if self.processes.iter().any(|process| process.machine == machine && process.alive) {
            return;
        }
        let name = format!("machine-{machine}");
        let profile = WorkerProfile {
            name: name.clone(),
            host: name,
            instance: self.processes.len().to_string(),
            map_slots: self.rng.between(1, 3) as u32,
            reduce_slots: self.rng.between(1, 4) as u32,
            platform: Platform { arch: self.arch(machine).into(), ..Platform::default() },
            ..WorkerProfile::for_test()
        };
        self.processes.push(Process {
            machine,
            alive: true,
            worker: None,
            connection: None,
            stalled_until: Time::default(),
            cut_in_until: Time::default(),
            cut_out_until: Time::default(),
            epoch: Epoch::default(),
            lease_ends: Time::default(),
            leaving: false,
            running: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            seen: BTreeSet::new(),
            outputs: BTreeSet::new(),
            profile,
            welcomed: false,
            heartbeats: 0,
        });
        let index = self.processes.len() - 1;
        self.later(HEARTBEAT, Happening::Heartbeat(index));
        self.connect(index);
    }

    fn connect(&mut self, index: usize) {
        let process = &self.processes[index];
        let running: BTreeSet<_> = process.running.keys().copied().collect();
        let unanswered = process.unanswered.keys().copied().collect();
        let inventory = Inventory { running, unanswered, outputs: process.outputs.clone() };
        let returns = process.worker.map(|worker| (worker, process.epoch, inventory));
        let hello = Hello { profile: process.profile.clone(), returns, sent: self.now };
        let connection = self.open_connection(index, hello);
        self.processes[index].connection = connection;
        self.processes[index].welcomed = false;
        let patience = match connection {
            Some(_) => WELCOME_WITHIN,
            None => self.rng.millis(50, 1_000),
        };
        self.later(patience, Happening::Unwelcome(index, connection));
    }

    /// It got no answer in time, or found no coordinator.
    fn unwelcome(&mut self, index: usize, connection: Option<usize>) {
        let process = &self.processes[index];
        if process.connection == connection && !process.welcomed {
            self.reconnect(index);
        }
    }

    fn reconnect(&mut self, index: usize) {
        if let Some(id) = self.processes[index].connection.take() {
            self.break_connection(id);
        }
        self.connect(index);
    }

    pub fn happen_to(&mut self, index: usize, happening: Happening) {
        let process = &self.processes[index];
        if !process.alive {
            return;
        }
        if self.now < process.stalled_until {
            self.later(process.stalled_until.since(self.now), happening);
            return;
        }
        match happening {
            Happening::Heartbeat(_) => self.heartbeat(index),
            Happening::Deliver(_, message) => self.receive(index, message),
            Happening::Unwelcome(_, connection) => self.unwelcome(index, connection),
            Happening::Reset(_, id) if process.connection == Some(id) => self.reconnect(index),
            Happening::Reset(..) => {}
            Happening::Read(_, attempt) => self.read(index, attempt),
            Happening::Finish(_, attempt) => self.finish(index, attempt),
            Happening::End(_, job, ticket) => self.send_released(index, job, ticket),
            _ => unreachable!("happens to nobody in particular"),
        }
    }

    fn heartbeat(&mut self, index: usize) {
        self.later(HEARTBEAT, Happening::Heartbeat(index));
        let process = &mut self.processes[index];
        let (Some(worker), true) = (process.worker, process.welcomed) else { return };
        if self.now >= process.lease_ends {
            self.note(|_| format!("{worker} has lost its lease"));
            return self.reconnect(index);
        }
        let now = self.now;
        let running = process.running.iter().map(|(&attempt, run)| {
            let work = run.progress(now);
            AttemptProgress { attempt, records: work, bytes: work, steps: work }
        });
        let running = running.collect();
        process.heartbeats += 1;
        let tell_again = process.heartbeats.is_multiple_of(TELL_AGAIN_AFTER);
        self.send(index, Event::Heartbeat { worker, running });
        if tell_again {
            self.tell_again(index);
        }
    }

    fn tell_again(&mut self, index: usize) {
        let process = &self.processes[index];
        let reports: Vec<_> = process.unanswered.values().cloned().collect();
        let (worker, leaving) = (process.worker, process.leaving);
        for report in reports {
            self.send(index, report);
        }
        if let Some(worker) = worker.filter(|_| leaving) {
            self.send(index, Event::WorkerDraining { worker });
        }
    }

    /// Handles a message; ignores those of fenced coordinators and for other workers.
    fn receive(&mut self, index: usize, message: Message) {
        let process = &mut self.processes[index];
        let Message { connection, epoch, worker, body } = message;
        let current = process.connection == Some(connection);
        if epoch < process.epoch {
            self.note(|_| format!("{worker} refuses {epoch}: {body:?}"));
            if current {
                self.reconnect(index);
            }
            return;
        }
        match body {
            Body::Welcome if current => self.welcomed(index, epoch, worker),
            Body::Welcome => {}
            _ if process.worker != Some(worker) || !process.welcomed && current => {}
            Body::Ack(sent) => {
                process.epoch = epoch;
                let lease = self.config.lease;
                process.lease_ends = process.lease_ends.max(sent + lease);
            }
            Body::Order(effect) => {
                process.epoch = epoch;
                self.obey(index, effect);
            }
            Body::Release(job, ticket) => {
                process.epoch = epoch;
                self.release(index, job, ticket);
            }
        }
    }

    fn welcomed(&mut self, index: usize, epoch: Epoch, worker: WorkerId) {
        let process = &mut self.processes[index];
        let Some(id) = process.connection else { return };
        process.epoch = epoch;
        process.welcomed = true;
        process.lease_ends = self.connections[id].hello.sent + self.config.lease;
        if process.worker.replace(worker) != Some(worker) {
            // What it did under another id is lost. But parts that were reported may have won.
            process.running.clear();
            process.unanswered.clear();
            process.outputs.clear();
        }
        self.tell_again(index);
    }

    fn obey(&mut self, index: usize, effect: Effect) {
        let process = &mut self.processes[index];
        match effect {
            Effect::Assign { attempt, outputs, alone, skip, .. } => {
                self.start(index, attempt, Orders { inputs: outputs, alone, skip });
            }
            Effect::CancelAttempt { attempt, .. } => self.drop_attempt(index, attempt),
            Effect::Noted { attempt, won, .. } => {
                process.unanswered.remove(&attempt);
                if !won {
                    self.drop_attempt(index, attempt);
                }
            }
            Effect::Drained { .. } => self.die(index),
            Effect::EndSession { .. } => self.reconnect(index),
            _ => unreachable!("not sent to workers"),
        }
    }

    /// Ends a job's processes, mostly at once; but the kernel may take a while.
    fn release(&mut self, index: usize, job: JobId, ticket: Option<u64>) {
        let process = &mut self.processes[index];
        process.running.retain(|attempt, _| attempt.task.job != job);
        process.outputs.retain(|output| output.task.job != job);
        let millis = if self.strikes(self.faults.slow) { 20_000 } else { 20 };
        let after = self.rng.millis(0, millis);
        if let Some(ticket) = ticket {
            self.later(after, Happening::End(index, job, ticket));
        }
    }

    /// Drops an attempt that is not wanted.
    fn drop_attempt(&mut self, index: usize, attempt: AttemptId) {
        let process = &mut self.processes[index];
        process.running.remove(&attempt);
        process.outputs.remove(&attempt);
        self.output.delete_staged(attempt);
    }

    /// Whether it may send messages and serve outputs.
    pub fn has_lease(&self, index: usize) -> bool {
        let process = &self.processes[index];
        process.welcomed && self.now < process.lease_ends
    }

    /// Keeps a report until it is answered, and sends it if its lease lasts.
    pub fn report(&mut self, index: usize, attempt: AttemptId, report: Event) {
        self.processes[index].unanswered.insert(attempt, report.clone());
        if self.has_lease(index) {
            self.send(index, report);
        }
    }

    /// Whether the attempt writes a part rather than an output for reducers.
    pub fn writes_part(&self, attempt: AttemptId) -> bool {
        let job = attempt.task.job;
        attempt.task.stage == StageId::REDUCE
            || self.promises.plan(job).is_none_or(|p| p.partitions == 0)
    }
}
