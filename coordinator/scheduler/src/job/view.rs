//! A job as seen from outside. Transitions keep the sums up to date, so that a view needs no pass
//! over the tasks.

use std::time::Duration;

use windrow_model::StageId;

use crate::job::Job;
use crate::job::stage::{Stage, Tasks};
use crate::time::{Deadlines, Time, Timer};
use crate::view::{JobState, JobView, StageView, Waiting};
use crate::worker::{Leaving, Workers};

/// Without progress for this long, an attempt may hang. Heartbeats are much more frequent.
const SILENCE: Duration = Duration::from_secs(10);

impl Job {
    /// The job at this moment.
    pub(crate) fn view(&self, workers: &Workers, deadlines: &Deadlines, now: Time) -> JobView {
        let output = self.stages.output_tasks().totals();
        let outputs = self.stages.iter().filter(|stage| stage.consumer().is_some());
        let shuffle_bytes = outputs.map(written_bytes).fold(0, u64::saturating_add);
        let nondeterministic = |stage: &Stage| stage.outputs()?.nondeterministic();
        JobView {
            job: self.id,
            state: match self.phase.is_running() {
                true => JobState::Running,
                false => JobState::Publishing,
            },
            map: self.stage_view(StageId::MAP),
            reduce: self.stage_view(StageId::REDUCE),
            counters: self.counters.counters(),
            nondeterministic: self.stages.iter().find_map(nondeterministic),
            avoided: self.avoidance.avoided().iter().copied().collect(),
            waiting: self.waiting(workers, deadlines, now),
            submitted: self.submitted,
            ended: None,
            slowest: self.slowest,
            shuffle_bytes,
            output_bytes: output.output_bytes,
            output_records: output.output_records,
            skipped_records: self.skipped_records(),
        }
    }

    /// One of its stages; without tasks, if it has no such stage.
    fn stage_view(&self, id: StageId) -> StageView {
        let Some(stage) = self.stages.get(id) else { return StageView::default() };
        let before = || stage.waits_for().map(|before| written_bytes(&self.stages[before]));
        let total_bytes = stage.split_bytes().or_else(before).unwrap_or_default();
        stage_view(stage.tasks(), total_bytes)
    }

    fn waiting(&self, workers: &Workers, deadlines: &Deadlines, now: Time) -> Option<Waiting> {
        if !self.phase.is_running() {
            return self.waits_to_publish(deadlines);
        }
        if self.running() > 0 {
            return self.hangs(now);
        }
        Some(match deadlines.get(Timer::NoWorkers(self.id)) {
            Some(gives_up_at) if workers.any_staying() => Waiting::NoFit { gives_up_at },
            Some(gives_up_at) => Waiting::NoWorkers { gives_up_at },
            None if self.placeable().is_some() => self.all_away(workers).unwrap_or(Waiting::Slots),
            None => Waiting::Backoff,
        })
    }

    /// Reports that all workers that stay and could run its program are away. O(1) mostly: the
    /// first worker that is present ends the search.
    fn all_away(&self, workers: &Workers) -> Option<Waiting> {
        let mut away = None;
        let mut count = 0;
        for (id, worker) in workers.all_for(&self.plan.needs) {
            if worker.leaving != Leaving::No {
                continue;
            }
            if !worker.is_away() {
                return None;
            }
            away = away.or(Some(id));
            count += 1;
        }
        away.map(|worker| Waiting::Away { worker, workers: count })
    }

    /// Reports that all running attempts are silent. O(1) mostly: the first attempt that is not
    /// ends the search.
    fn hangs(&self, now: Time) -> Option<Waiting> {
        let mut running = self.stages.iter().flat_map(|stage| stage.tasks().running_attempts());
        let silent = |moved: Time| now.since(moved) >= SILENCE;
        let (attempt, first) = running.next().filter(|(_, running)| silent(running.moved))?;
        let (mut attempts, mut since) = (1, first.moved);
        for (_, other) in running {
            if !silent(other.moved) {
                return None;
            }
            attempts += 1;
            since = since.max(other.moved);
        }
        Some(Waiting::Silent { attempt, worker: first.worker, attempts, since })
    }
}

fn written_bytes(stage: &Stage) -> u64 {
    stage.tasks().totals().output_bytes
}

fn stage_view(tasks: &Tasks, total_bytes: u64) -> StageView {
    let (counts, totals) = (tasks.counts(), tasks.totals());
    StageView {
        tasks: tasks.len(),
        running: counts.running,
        done: counts.done,
        attempts: counts.attempts,
        failed: counts.failed,
        lost: counts.lost,
        backups: counts.backups,
        backups_won: counts.backups_won,
        records: totals.input_records,
        bytes: totals.input_bytes,
        total_bytes,
    }
}
