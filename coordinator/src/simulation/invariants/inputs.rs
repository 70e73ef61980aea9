//! Reducers are told to read every map task's output exactly once, and only current outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrow_jobs::{AttemptId, JobId, StageId};
use windrow_scheduler::{Effect, MapOutputs};

use super::ledger::Status;
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Inputs {
    newest: BTreeMap<JobId, Arc<MapOutputs>>,
}

impl Rule for Inputs {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        match effect {
            Effect::Assign { attempt, outputs: Some(outputs), .. } => {
                self.check_version(*attempt, outputs)?;
                check_complete(*attempt, outputs, ledger)?;
                check_in_force(*attempt, outputs, ledger)
            }
            _ => Ok(()),
        }
    }
}

impl Inputs {
    /// Checks that the version grows exactly when an output changes.
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
    let expected: Vec<_> = (0..maps).map(|index| (StageId::MAP, index)).collect();
    check(told == expected, || format!("{id} is to read {outputs:?}"))
}

fn check_in_force(id: AttemptId, outputs: &MapOutputs, ledger: &Ledger) -> Result<(), String> {
    for (map, worker) in &outputs.outputs {
        let attempt = ledger.attempts.get(map);
        let done = attempt.is_some_and(|a| a.status == Status::Done && a.worker == *worker);
        check(done, || format!("{id} is to read {map} from {worker}, which did not report it"))?;
        let there = ledger.sessions.contains_key(worker) && attempt.is_some_and(|a| !a.missing);
        check(there, || format!("{id} is to read {map} from {worker}, which is gone"))?;
    }
    Ok(())
}
