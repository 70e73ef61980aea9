//! Reducers read every map task's output exactly once: what they are told is complete and in force, and what the
//! published ones have read came from maps that really succeeded.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrow_jobs::{AttemptId, JobId, Stage};
use windrow_scheduler::{Effect, MapOutputs, Time};

use super::ledger::Status;
use super::{Invariant, Ledger, Truth, check};

#[derive(Default)]
pub struct Inputs {
    newest: BTreeMap<JobId, Arc<MapOutputs>>,
}

impl Invariant for Inputs {
    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        truth: &Truth,
    ) -> Result<(), String> {
        match effect {
            Effect::Assign { attempt, outputs: Some(outputs), .. } => {
                self.check_version(*attempt, outputs)?;
                check_complete(*attempt, outputs, ledger)?;
                check_in_force(*attempt, outputs, ledger)
            }
            Effect::Publish { winners, .. } => {
                winners.iter().try_for_each(|winner| check_read(*winner, ledger, truth))
            }
            _ => Ok(()),
        }
    }
}

impl Inputs {
    /// The version grows exactly when something changes.
    fn check_version(&mut self, id: AttemptId, outputs: &Arc<MapOutputs>) -> Result<(), String> {
        if let Some(newest) = self.newest.insert(id.task.job, Arc::clone(outputs)) {
            let same = newest == *outputs;
            let newer = newest.version < outputs.version && newest.outputs != outputs.outputs;
            check(same || newer, || format!("{id}: {outputs:?} after {newest:?}"))?;
        }
        Ok(())
    }
}

fn check_complete(id: AttemptId, outputs: &MapOutputs, ledger: &Ledger) -> Result<(), String> {
    let maps = ledger.jobs.get(&id.task.job).map_or(0, |job| job.plan.splits.len() as u32);
    let told: Vec<_> =
        outputs.outputs.iter().map(|(map, _)| (map.task.stage, map.task.index)).collect();
    let expected: Vec<_> = (0..maps).map(|index| (Stage::Map, index)).collect();
    check(told == expected, || format!("{id} is to read {outputs:?}"))
}

fn check_in_force(id: AttemptId, outputs: &MapOutputs, ledger: &Ledger) -> Result<(), String> {
    for (map, worker) in &outputs.outputs {
        let attempt = ledger.attempts.get(map);
        let done = attempt.is_some_and(|a| a.status == Status::Done && a.worker == *worker);
        check(done, || format!("{id} is to read {map} from {worker}, which did not report it"))?;
        let there = ledger.sessions.contains_key(worker);
        check(there, || format!("{id} is to read {map} from {worker}, which is gone"))?;
    }
    Ok(())
}

fn check_read(winner: AttemptId, ledger: &Ledger, truth: &Truth) -> Result<(), String> {
    if winner.task.stage == Stage::Map {
        return Ok(());
    }
    let Some(read) = truth.read.get(&winner) else {
        return Err(format!("{winner} is published but has read nothing"));
    };
    check_complete(winner, read, ledger)?;
    let imagined = read.outputs.iter().find(|output| !truth.succeeded.contains(output));
    check(imagined.is_none(), || format!("{winner} has read {imagined:?}, which did not succeed"))
}
