//! What model workers run. A map leaves an output on its worker, a reducer reads all of them and writes a part into the
//! common store; each records what it has really seen.

use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::{AttemptId, Audit, Counters, FailureCause, Place, Stage, WorkerId};
use windrow_scheduler::{AttemptStats, Event, MapOutputs, Time};

use crate::output::Content;
use crate::world::{Happening, World};

/// Of every attempt: bytes for a map, records for a reducer.
pub const WORK: u64 = 100;

pub struct Attempt {
    /// What a reducer is to read.
    inputs: Option<Arc<MapOutputs>>,
    /// What it has read.
    read: Content,
    fate: Fate,
    /// When it began, and how long it takes if it does not hang.
    began: Time,
    whole: Duration,
    /// How long it still works after it has read.
    rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    /// It makes no progress.
    Hangs,
    /// It takes its process down.
    Kills,
}

impl Attempt {
    /// How much of its work it has done, of 100.
    pub fn progress(&self, now: Time) -> u64 {
        if self.fate == Fate::Hangs {
            return 0;
        }
        let part = now.since(self.began).as_secs_f64() / self.whole.as_secs_f64();
        (part.min(0.99) * WORK as f64) as u64
    }
}

impl World {
    pub fn start(&mut self, index: usize, attempt: AttemptId, inputs: Option<Arc<MapOutputs>>) {
        if !self.processes[index].seen.insert(attempt) {
            return;
        }
        let fate = match () {
            () if self.is_poisoned(attempt) => Fate::Kills,
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
        let run = Attempt { inputs, read: Vec::new(), fate, began: self.now, whole, rest };
        self.processes[index].running.insert(attempt, run);
    }

    /// What tells the output of this attempt from those of other attempts of the same map.
    fn variant(&self, map: AttemptId) -> u32 {
        let varies = self.faults.nondeterministic > 0 && map.task.job.0.is_multiple_of(3);
        if varies && map.task.index.is_multiple_of(2) { map.number } else { 0 }
    }

    fn is_poisoned(&mut self, attempt: AttemptId) -> bool {
        let first = attempt.task.index == 0 && attempt.task.stage == Stage::Map;
        first && self.storm() && self.faults.poison > 0 && attempt.task.job.0.is_multiple_of(2)
    }

    pub fn read(&mut self, index: usize, attempt: AttemptId) {
        let Some(run) = self.processes[index].running.get(&attempt) else { return };
        let Some(inputs) = run.inputs.clone() else { return };
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
        let read =
            inputs.outputs.iter().map(|(output, _)| (output.task.index, self.variant(*output)));
        let read = read.collect();
        if let Some(run) = self.processes[index].running.get_mut(&attempt) {
            run.read = read;
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
            Some(Fate::Fails) => {
                let message = "not a number".into();
                let cause = FailureCause::UserError { place: Place::default(), message };
                return self.fail(index, attempt, cause);
            }
            Some(Fate::Succeeds) => {}
        }
        let Some(run) = process.running.remove(&attempt) else { return };
        let own = vec![(attempt.task.index, self.variant(attempt))];
        let audit = match attempt.task.stage {
            Stage::Map => {
                let partitions = self.promises.plan(attempt.task.job).map_or(0, |p| p.partitions);
                audit((0..partitions).map(|partition| (own[0], partition)))
            }
            Stage::Reduce => audit(run.read.iter().map(|map| (*map, attempt.task.index))),
        };
        if self.writes_part(attempt) {
            let content = if attempt.task.stage == Stage::Map { own } else { run.read };
            self.output.stage(attempt, content);
        } else {
            self.processes[index].outputs.insert(attempt);
        }
        let stats = AttemptStats {
            input_records: WORK,
            input_bytes: WORK,
            audit,
            elapsed: self.now.since(run.began),
            counters: Counters::from_iter([("seen", 10)]),
            ..AttemptStats::default()
        };
        self.report(index, attempt, Event::AttemptDone { worker, attempt, stats });
    }

    fn fail(&mut self, index: usize, attempt: AttemptId, cause: FailureCause) {
        self.processes[index].running.remove(&attempt);
        if let Some(worker) = self.processes[index].worker {
            self.report(index, attempt, Event::AttemptFailed { worker, attempt, cause });
        }
    }
}

/// Pairs of maps' outputs that went to partitions: one of each to each.
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
