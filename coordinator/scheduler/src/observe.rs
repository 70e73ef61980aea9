//! How a job looks from outside. The sums are kept up to date by the transitions, so that a view costs no pass over
//! the tasks.

use crate::deadlines::{Deadlines, Timer};
use crate::job::{Job, Phase};
use crate::tasks::Tasks;
use crate::view::{JobState, JobView, StageView, Waiting};
use crate::worker::Workers;

impl Job {
    /// The job at this moment.
    pub(crate) fn view(&self, workers: &Workers, deadlines: &Deadlines) -> JobView {
        let output = self.output_tasks().totals;
        let shuffle_bytes = if self.is_map_only() { 0 } else { self.map.totals.output_bytes };
        JobView {
            job: self.id,
            state: match self.phase {
                Phase::Running => JobState::Running,
                Phase::Publishing => JobState::Publishing,
            },
            map: stage_view(&self.map, self.input_bytes),
            reduce: stage_view(&self.reduce, shuffle_bytes),
            counters: self.counters.clone(),
            nondeterministic: self.nondeterministic,
            avoided: self.avoidance.avoided().iter().copied().collect(),
            waiting: self.waiting(workers, deadlines),
            submitted: self.submitted,
            ended: None,
            slowest: self.slowest,
            shuffle_bytes,
            output_bytes: output.output_bytes,
            output_records: output.output_records,
            skipped_records: self.skipped_records(),
        }
    }

    fn waiting(&self, workers: &Workers, deadlines: &Deadlines) -> Option<Waiting> {
        if self.phase == Phase::Publishing {
            return self.waits_to_publish(deadlines);
        }
        if self.running() > 0 {
            return None;
        }
        Some(match deadlines.get(Timer::NoWorkers(self.id)) {
            Some(gives_up_at) if !workers.any_staying() => Waiting::NoWorkers { gives_up_at },
            _ if !workers.any(|worker| self.can_run_on(worker)) => Waiting::NoFit,
            _ if self.placeable().is_some() => Waiting::Slots,
            _ => Waiting::Backoff,
        })
    }
}

fn stage_view(tasks: &Tasks, total_bytes: u64) -> StageView {
    StageView {
        tasks: tasks.len(),
        running: tasks.running,
        done: tasks.done,
        attempts: tasks.attempts,
        failed: tasks.failed,
        lost: tasks.lost,
        backups: tasks.backups,
        backups_won: tasks.backups_won,
        records: tasks.totals.input_records,
        bytes: tasks.totals.input_bytes,
        total_bytes,
    }
}
