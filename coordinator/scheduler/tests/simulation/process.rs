//! Model workers: processes on machines, each with at most one session. They run attempts, hold outputs, and
//! answer. What goes wrong with them is in `faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::{AttemptId, Counters, FailureCause, Place, Stage, WorkerId};
use windrow_scheduler::{
    AttemptProgress, AttemptStats, Effect, Event, MapOutputs, RequestId, Time, WorkerOffer,
};

use crate::world::{Happening, World};

const HEARTBEAT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Process {
    pub machine: u64,
    pub alive: bool,
    pub worker: Option<WorkerId>,
    pub stalled_until: Time,
    pub cut_until: Time,
    pub running: BTreeMap<AttemptId, Attempt>,
    /// Every attempt that it was ever given: a doubled assignment is not a second one.
    seen: BTreeSet<AttemptId>,
    /// The map outputs on its disk.
    pub outputs: BTreeSet<AttemptId>,
}

#[derive(Debug)]
pub struct Attempt {
    /// What a reducer is to read.
    inputs: Option<Arc<MapOutputs>>,
    fate: Fate,
    records: u64,
    /// How long it still works after it has read.
    rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    /// It makes no progress.
    Hangs,
}

impl World {
    pub fn start_process(&mut self, machine: u64) {
        if self.processes.iter().any(|process| process.machine == machine && process.alive) {
            return;
        }
        let request = RequestId(self.processes.len() as u64);
        self.processes.push(Process {
            machine,
            alive: true,
            worker: None,
            stalled_until: Time::default(),
            cut_until: Time::default(),
            running: BTreeMap::new(),
            seen: BTreeSet::new(),
            outputs: BTreeSet::new(),
        });
        let offer = WorkerOffer {
            name: format!("machine-{machine}"),
            identity: machine,
            map_slots: self.rng.between(1, 3) as u32,
            reduce_slots: self.rng.between(1, 4) as u32,
        };
        let delay = self.rng.millis(1, 100);
        self.later(delay, Happening::Arrive(Event::WorkerJoined { request, offer }));
    }

    /// The answer takes the way of all messages, but is not lost: else the session would be.
    pub fn admitted(&mut self, request: RequestId, worker: WorkerId, effect: Effect) {
        let index = request.0 as usize;
        self.processes[index].worker = Some(worker);
        let delay = self.rng.millis(1, self.faults.delay_max_ms);
        self.later(delay, Happening::Deliver(index, effect));
        if !self.processes[index].alive {
            // It died before it heard the answer.
            self.session_ends(index);
        }
    }

    pub fn send_to_worker(&mut self, worker: WorkerId, effect: Effect) {
        let Some(index) = self.processes.iter().position(|p| p.worker == Some(worker)) else {
            return;
        };
        let cut_until = self.processes[index].cut_until;
        let droppable = matches!(effect, Effect::Assign { .. } | Effect::CancelAttempt { .. });
        if droppable && (self.now < cut_until || self.strikes(self.faults.lose)) {
            self.note(|_| "   (lost)".to_string());
            return;
        }
        // What must arrive waits until the way is free.
        let delay = cut_until.since(self.now) + self.rng.millis(1, self.faults.delay_max_ms);
        if self.strikes(self.faults.double) {
            self.later(delay * 2, Happening::Deliver(index, effect.clone()));
        }
        self.later(delay, Happening::Deliver(index, effect));
    }

    pub fn send(&mut self, index: usize, event: Event) {
        let cut = self.now < self.processes[index].cut_until;
        if cut || self.strikes(self.faults.lose) {
            self.note(|_| format!("(lost) {event:?}"));
            return;
        }
        self.later_doubled(self.faults.delay_max_ms, Happening::Arrive(event));
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
            Happening::Deliver(_, effect) => self.receive(index, effect),
            Happening::Read(_, attempt) => self.read(index, attempt),
            Happening::Finish(_, attempt) => self.finish(index, attempt),
            _ => unreachable!("happens to nobody in particular"),
        }
    }

    fn heartbeat(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let Some(worker) = process.worker else { return };
        let mut running = Vec::new();
        for (&attempt, run) in &mut process.running {
            run.records += u64::from(run.fate != Fate::Hangs);
            let records = run.records;
            running.push(AttemptProgress { attempt, records, bytes: 0, steps: records });
        }
        self.send(index, Event::Heartbeat { worker, running });
        self.later(HEARTBEAT, Happening::Heartbeat(index));
    }

    fn receive(&mut self, index: usize, effect: Effect) {
        let process = &mut self.processes[index];
        match effect {
            Effect::Admitted { .. } => self.later(HEARTBEAT, Happening::Heartbeat(index)),
            Effect::Assign { attempt, outputs, .. } => self.start(index, attempt, outputs),
            Effect::CancelAttempt { attempt, .. } => drop(process.running.remove(&attempt)),
            Effect::Release { job, .. } => process.outputs.retain(|output| output.task.job != job),
            Effect::Drained { .. } | Effect::EndSession { .. } => self.die(index),
            _ => unreachable!("not sent to workers"),
        }
    }

    fn start(&mut self, index: usize, attempt: AttemptId, inputs: Option<Arc<MapOutputs>>) {
        if !self.processes[index].seen.insert(attempt) {
            return;
        }
        let fate = match () {
            () if self.strikes(self.faults.fail) => Fate::Fails,
            () if self.strikes(self.faults.hang) => Fate::Hangs,
            () => Fate::Succeeds,
        };
        let slow = self.strikes(self.faults.slow);
        let millis =
            if slow { self.rng.between(5_000, 40_000) } else { self.rng.between(5, 3_000) };
        let whole = Duration::from_millis(millis);
        let until_read = Duration::from_millis(self.rng.below(millis));
        let rest = whole - until_read;
        match inputs {
            Some(_) => self.later(until_read, Happening::Read(index, attempt)),
            None => self.later(whole, Happening::Finish(index, attempt)),
        }
        self.processes[index].running.insert(attempt, Attempt { inputs, fate, records: 0, rest });
    }

    fn read(&mut self, index: usize, attempt: AttemptId) {
        let Some(run) = self.processes[index].running.get(&attempt) else { return };
        let Some(inputs) = run.inputs.clone() else { return };
        let rest = run.rest;
        let fault = self.strikes(self.faults.fetch).then(|| self.rng.next() as usize);
        let unlucky = fault.and_then(|fault| {
            let count = inputs.outputs.len();
            inputs.outputs.get(fault % count.max(1))
        });
        let missing = inputs.outputs.iter().find(|(output, worker)| !self.holds(*worker, output));
        if let Some(&(output, holder)) = missing.or(unlucky) {
            self.processes[index].running.remove(&attempt);
            let cause = FailureCause::FetchFailed {
                map_task: output.task.index,
                map_attempt: output.number,
                worker: holder,
                message: "connection refused".into(),
            };
            self.report_failure(index, attempt, cause);
            return;
        }
        self.truth.read.insert(attempt, inputs);
        self.later(rest, Happening::Finish(index, attempt));
    }

    fn holds(&self, worker: WorkerId, output: &AttemptId) -> bool {
        self.processes.iter().any(|process| {
            process.worker == Some(worker)
                && process.alive
                && self.now >= process.cut_until
                && process.outputs.contains(output)
        })
    }

    fn finish(&mut self, index: usize, attempt: AttemptId) {
        let process = &mut self.processes[index];
        if process.running.get(&attempt).is_some_and(|run| run.fate == Fate::Hangs) {
            return;
        }
        let Some(run) = process.running.remove(&attempt) else { return };
        let Some(worker) = process.worker else { return };
        if run.fate == Fate::Fails {
            let message = "not a number".into();
            let cause = FailureCause::UserError { place: Place::default(), message };
            return self.report_failure(index, attempt, cause);
        }
        if attempt.task.stage == Stage::Map {
            process.outputs.insert(attempt);
        }
        self.truth.succeeded.insert((attempt, worker));
        let counters = Counters::from_iter([("seen", 10)]);
        let stats = AttemptStats { input_records: 10, counters, ..AttemptStats::default() };
        self.send(index, Event::AttemptDone { worker, attempt, stats });
    }

    fn report_failure(&mut self, index: usize, attempt: AttemptId, cause: FailureCause) {
        if let Some(worker) = self.processes[index].worker {
            self.send(index, Event::AttemptFailed { worker, attempt, cause });
        }
    }
}
