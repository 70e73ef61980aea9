//! What model workers run. A map leaves an output on its worker, a reducer reads all of them and writes a part into the
//! common store; each records what it has really seen.

use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::{AttemptId, Counters, FailureCause, Place, Stage, WorkerId};
use windrow_scheduler::{AttemptStats, Event, MapOutputs};

use crate::world::{Happening, World};

pub struct Attempt {
    /// What a reducer is to read.
    inputs: Option<Arc<MapOutputs>>,
    /// The map tasks that it has read.
    read: Vec<u32>,
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
    /// It takes its process down.
    Kills,
}

impl Attempt {
    /// Goes on a little, unless it hangs. Returns how many records it has read.
    pub fn progress(&mut self) -> u64 {
        self.records += u64::from(self.fate != Fate::Hangs);
        self.records
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
        let run = Attempt { inputs, read: Vec::new(), fate, records: 0, rest };
        self.processes[index].running.insert(attempt, run);
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
        if let Some(run) = self.processes[index].running.get_mut(&attempt) {
            run.read = inputs.outputs.iter().map(|(output, _)| output.task.index).collect();
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
        if self.writes_part(attempt) {
            let own = attempt.task.stage == Stage::Map;
            let content = if own { vec![attempt.task.index] } else { run.read };
            self.output.stage(attempt, content);
        } else {
            self.processes[index].outputs.insert(attempt);
        }
        let counters = Counters::from_iter([("seen", 10)]);
        let stats = AttemptStats { input_records: 10, counters, ..AttemptStats::default() };
        self.report(index, attempt, Event::AttemptDone { worker, attempt, stats });
    }

    fn fail(&mut self, index: usize, attempt: AttemptId, cause: FailureCause) {
        self.processes[index].running.remove(&attempt);
        if let Some(worker) = self.processes[index].worker {
            self.report(index, attempt, Event::AttemptFailed { worker, attempt, cause });
        }
    }
}

/// Whether a map output can be read.
enum Serves {
    Yes,
    /// Its worker has lost its lease.
    NotNow,
    No,
}
