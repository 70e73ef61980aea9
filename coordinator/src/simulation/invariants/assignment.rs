//! Attempts go only to workers with a session and a free slot that are not draining; reduces only
//! when every map is done; no attempt runs while a job is being published.

use windrow_jobs::StageId;
use windrow_scheduler::Effect;

use super::{Ledger, Rule, check};

const QUICK_TASKS_A_SLOT: u32 = 8;

#[derive(Clone, Default)]
pub struct Assignment;

impl Rule for Assignment {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        if let Effect::Publish { job, .. } = effect {
            let still = ledger.running().find(|(attempt, _)| attempt.task.job == *job);
            check(still.is_none(), || format!("{still:?} runs while {job} is being published"))?;
        }
        let Effect::Assign { worker, attempt, outputs, .. } = effect else { return Ok(()) };
        let stage = attempt.task.stage;
        let Some(session) = ledger.sessions.get(worker) else {
            return Err(format!("{attempt} assigned to {worker}, which has no session"));
        };
        check(session.connection.is_some(), || {
            format!("{attempt} assigned to {worker}, which is away")
        })?;
        let leaves = session.draining && !ledger.is_retold(effect);
        check(!leaves, || format!("{attempt} assigned to {worker}, which is draining"))?;
        let on_worker = |stage| {
            let same = ledger.running().filter(|(id, w)| w == worker && id.task.stage == stage);
            same.count() as u32
        };
        let slots = [session.offer.map_slots, session.offer.reduce_slots][stage.index()];
        // Quick tasks are given several to a slot, in those seeds in which there are any.
        let a_slot = if ledger.config.quick_task.is_zero() { 1 } else { QUICK_TASKS_A_SLOT };
        check(on_worker(stage) < slots * a_slot, || {
            format!("{attempt}: {worker} has no free slot")
        })?;
        check(outputs.is_some() == (stage == StageId::REDUCE), || format!("inputs of {attempt}"))?;
        let needs = ledger.jobs.get(&attempt.task.job).map(|job| &job.plan.needs);
        let missing = needs.and_then(|needs| needs.missing(&session.offer.platform));
        check(missing.is_none(), || format!("{attempt} on {worker}: {missing:?}"))?;
        let publishing = ledger.jobs.get(&attempt.task.job).is_none_or(|job| job.publishing);
        check(!publishing, || format!("{attempt} assigned while its job is being published"))
    }
}
