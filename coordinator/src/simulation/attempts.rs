//! The attempts of model workers. A map leaves an output on its worker; a reducer reads all outputs
//! and writes a part into the common store. Each records what it has actually read.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::{
    AttemptId, Audit, BadRecord, Counters, Death, Emitted, FailureCause, JobId, RecordPlace,
    StageId, TaskId, WorkerId,
};
use windrow_scheduler::{AttemptStats, Event, MapOutputs, Time};

use crate::simulation::happening::Happening;
use crate::simulation::output::Content;
use crate::simulation::world::World;

/// The work of every attempt: bytes for a map, records for a reducer.
pub const WORK: u64 = 100;

pub struct Attempt {
    orders: Orders,
    /// What it has read.
    read: Content,
    pairs: Content,
    fate: Fate,
    /// When it began, and how long it takes unless it hangs.
    began: Time,
    whole: Duration,
    /// How long it works after it has read.
    rest: Duration,
}

/// How to run an attempt.
#[derive(Clone)]
pub struct Orders {
    /// The inputs of a reducer.
    pub inputs: Option<Arc<MapOutputs>>,
    /// In a child process of its own.
    pub alone: bool,
    /// Records that it must not try.
    pub skip: Vec<BadRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    /// It makes no progress.
    Hangs,
    /// It kills the child process that runs all attempts of its job on its worker, or its own one
    /// if it runs alone.
    Dies,
    /// It kills its worker.
    Kills,
}

impl Attempt {
    /// Its progress in percent.
    pub fn progress(&self, now: Time) -> u64 {
        if self.fate == Fate::Hangs {
            return 0;
        }
        let part = now.since(self.began).as_secs_f64() / self.whole.as_secs_f64();
        (part.min(0.99) * WORK as f64) as u64
    }
}

impl World {
    pub fn start(&mut self, index: usize, attempt: AttemptId, orders: Orders) {
        if !self.processes[index].seen.insert(attempt) {
            return;
        }
        let fate = match () {
            () if self.is_poisoned(attempt) => Fate::Kills,
            () if self.next_deadly(attempt.task, &orders.skip).is_some() => Fate::Dies,
            () if self.strikes(self.faults.dies) => Fate::Dies,
            () if self.strikes(self.faults.fail) => Fate::Fails,
            () if self.is_bad_machine(index) => Fate::Fails,
            () if self.strikes(self.faults.hang) => Fate::Hangs,
            () => Fate::Succeeds,
        };
        let slow = self.strikes(self.faults.slow);
        let millis =
            if slow { self.rng.between(5_000, 40_000) } else { self.rng.between(5, 3_000) };
        let whole = Duration::from_millis(millis);
        let until_read = Duration::from_millis(self.rng.below(millis));
        let rest = whole - until_read;
        match orders.inputs {
            Some(_) => self.later(until_read, Happening::Read(index, attempt)),
            None => self.later(whole, Happening::Finish(index, attempt)),
        }
        let (read, pairs) = Default::default();
        let run = Attempt { orders, read, pairs, fate, began: self.now, whole, rest };
        self.processes[index].running.insert(attempt, run);
    }

    /// Whether no attempt succeeds on this machine. There is another one, if there are several.
    fn is_bad_machine(&self, index: usize) -> bool {
        self.faults.bad_machine > 0 && self.processes[index].machine == 0
    }

    /// The variant of a map's output that this attempt writes.
    fn variant(&self, map: AttemptId) -> u32 {
        let varies = self.faults.nondeterministic > 0 && !map.task.job.0.is_multiple_of(3);
        if varies && map.task.index.is_multiple_of(2) { map.number } else { 0 }
    }

    /// The pairs that this attempt of a map wrote. They differ between attempts that combine
    /// differently.
    fn pairs(&self, map: AttemptId) -> (u32, u32) {
        let pairs = if self.spills(map.task.job) { map.number } else { self.variant(map) };
        (map.task.index, pairs)
    }

    /// Whether its maps spill before they have combined all pairs.
    fn spills(&self, job: JobId) -> bool {
        self.faults.spills > 0 && job.0.is_multiple_of(2)
    }

    fn is_poisoned(&mut self, attempt: AttemptId) -> bool {
        let first = attempt.task.index == 0 && attempt.task.stage == StageId::MAP;
        first && self.storm() && self.faults.poison > 0 && attempt.task.job.0.is_multiple_of(2)
    }

    pub fn read(&mut self, index: usize, attempt: AttemptId) {
        let Some(run) = self.processes[index].running.get(&attempt) else { return };
        let Some(inputs) = run.orders.inputs.clone() else { return };
        let rest = run.rest;
        let fault = self.strikes(self.faults.fetch).then(|| self.rng.next() as usize);
        let unlucky =
            fault.and_then(|fault| inputs.outputs.get(fault % inputs.outputs.len().max(1)));
        let mut missing = unlucky;
        for entry in &inputs.outputs {
            match self.serves(entry.1, &entry.0) {
                Serves::Yes => {}
                // Its worker may come back.
                Serves::NotNow => {
                    let again = Duration::from_millis(500);
                    return self.later(again, Happening::Read(index, attempt));
                }
                Serves::No => missing = missing.or(Some(entry)),
            }
        }
        if let Some(&(output, holder)) = missing {
            let cause = FailureCause::FetchFailed {
                map_task: output.task.index,
                map_attempt: output.number,
                worker: holder,
                message: "connection refused".into(),
            };
            return self.fail(index, attempt, cause);
        }
        let outputs = inputs.outputs.iter().map(|(output, _)| *output);
        let pairs = outputs.clone().map(|output| self.pairs(output)).collect();
        let read = outputs.map(|output| (output.task.index, self.variant(output))).collect();
        if let Some(run) = self.processes[index].running.get_mut(&attempt) {
            (run.read, run.pairs) = (read, pairs);
        }
        self.later(rest, Happening::Finish(index, attempt));
    }

    fn serves(&self, worker: WorkerId, output: &AttemptId) -> Serves {
        let mut holders = 0..self.processes.len();
        let holder =
            holders.find(|&i| self.processes[i].worker == Some(worker) && self.processes[i].alive);
        let Some(holder) = holder else { return Serves::No };
        let process = &self.processes[holder];
        let cut = self.now < process.cut_out_until || self.now < process.cut_in_until;
        match () {
            () if cut || !process.outputs.contains(output) => Serves::No,
            () if !self.has_lease(holder) => Serves::NotNow,
            () => Serves::Yes,
        }
    }

    pub fn finish(&mut self, index: usize, attempt: AttemptId) {
        let process = &mut self.processes[index];
        let Some(worker) = process.worker else { return };
        match process.running.get(&attempt).map(|run| run.fate) {
            None | Some(Fate::Hangs) => return,
            Some(Fate::Kills) => return self.die(index),
            Some(Fate::Dies) => return self.child_dies(index, attempt),
            Some(Fate::Fails) => {
                let message = "not a number".into();
                let cause = FailureCause::UserError { place: RecordPlace::default(), message };
                return self.fail(index, attempt, cause);
            }
            Some(Fate::Succeeds) => {}
        }
        let Some(run) = process.running.remove(&attempt) else { return };
        let (own, pairs) = (vec![(attempt.task.index, self.variant(attempt))], self.pairs(attempt));
        let audited = match attempt.task.stage {
            StageId::MAP => {
                let partitions = self.promises.plan(attempt.task.job).map_or(0, |p| p.partitions);
                audit((0..partitions).map(|partition| (pairs, partition)))
            }
            _ => audit(run.pairs.iter().map(|map| (*map, attempt.task.index))),
        };
        let emitted = self.spills(attempt.task.job).then(|| Emitted {
            keys: audit(iter::once((own[0], 0))),
            is_partial: attempt.number > 1,
        });
        if self.writes_part(attempt) {
            let content = if attempt.task.stage == StageId::MAP { own } else { run.read };
            self.output.stage(attempt, content);
        } else {
            self.processes[index].outputs.insert(attempt);
        }
        let stats = AttemptStats {
            input_records: WORK,
            input_bytes: WORK,
            audit: audited,
            emitted,
            elapsed: self.now.since(run.began),
            skipped_records: run.orders.skip.len() as u64,
            counters: Counters::from_iter([("seen", 10)]),
            ..AttemptStats::default()
        };
        self.report(index, attempt, Event::AttemptDone { worker, attempt, stats });
    }

    /// The first poison record of a task that is not left out.
    fn next_deadly(&self, task: TaskId, skip: &[BadRecord]) -> Option<RecordPlace> {
        let is_deadly =
            self.faults.deadly > 0 && task.job.0.is_multiple_of(2) && task.index % 4 == 1;
        let deadly = is_deadly.then_some([10, 20]).into_iter().flatten();
        let mut places = deadly.map(|offset| RecordPlace::in_file(task.to_string()).at(offset));
        places.find(|place| !skip.iter().any(|bad| bad.place == *place))
    }

    /// A child process dies by one of its attempts, with all other attempts in it and the outputs
    /// that were not on disk.
    fn child_dies(&mut self, index: usize, culprit: AttemptId) {
        let job = culprit.task.job;
        let process = &self.processes[index];
        let (Some(worker), Some(run)) = (process.worker, process.running.get(&culprit)) else {
            return;
        };
        let (own_child, skip) = (run.orders.alone, run.orders.skip.clone());
        let shares_child = |(id, run): (&AttemptId, &Attempt)| {
            let victim = *id == culprit || id.task.job == job && !own_child && !run.orders.alone;
            victim.then_some(*id)
        };
        let victims: Vec<_> = process.running.iter().filter_map(shares_child).collect();
        let alone = victims.len() == 1;
        if !own_child {
            self.lose_outputs(index, worker, job);
        }
        // The record is known only if the attempt ran alone.
        let place = self.next_deadly(culprit.task, &skip).filter(|_| alone).unwrap_or_default();
        for victim in victims {
            let (place, output) = (Box::new(place.clone()), String::new());
            let cause =
                FailureCause::ProcessDied { death: Death::Signal(11), alone, place, output };
            self.fail(index, victim, cause);
        }
    }

    fn lose_outputs(&mut self, index: usize, worker: WorkerId, job: JobId) {
        let held = self.processes[index].outputs.iter().copied();
        let of_job: Vec<_> = held.filter(|output| output.task.job == job).collect();
        let lost: Vec<_> = of_job.into_iter().filter(|_| self.rng.chance(500)).collect();
        for output in &lost {
            self.processes[index].outputs.remove(output);
        }
        if !lost.is_empty() && self.has_lease(index) {
            self.send(index, Event::OutputsLost { worker, outputs: lost });
        }
    }

    fn fail(&mut self, index: usize, attempt: AttemptId, cause: FailureCause) {
        self.processes[index].running.remove(&attempt);
        if let Some(worker) = self.processes[index].worker {
            self.report(index, attempt, Event::AttemptFailed { worker, attempt, cause });
        }
    }
}

/// The audit of maps' outputs in which each map sends one pair to each partition.
fn audit(pairs: impl Iterator<Item = ((u32, u32), u32)>) -> Audit {
    let mut audit = Audit::default();
    for ((map, variant), partition) in pairs {
        audit.add(&map.to_le_bytes(), &[variant.to_le_bytes(), partition.to_le_bytes()].concat());
    }
    audit
}

/// Whether a map output can be read.
enum Serves {
    Yes,
    /// Its worker has lost its lease.
    NotNow,
    No,
}
