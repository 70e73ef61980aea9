//! A job as seen from outside. Transitions keep the sums up to date, so that a view needs no pass
//! over the tasks.

use std::time::Duration;

use crate::job::stage::Tasks;
use crate::job::{Job, Phase};
use crate::time::{Deadlines, Time, Timer};
use crate::view::{JobState, JobView, StageView, Waiting};
use crate::worker::{Leaving, Workers};

/// Without progress for this long, an attempt may hang. Heartbeats are much more frequent.
const SILENCE: Duration = Duration::from_secs(10);

impl Job {
    /// The job at this moment.
    pub(crate) fn view(&self, workers: &Workers, deadlines: &Deadlines, now: Time) -> JobView {
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
            counters: self.counters.counters(),
            nondeterministic: self.nondeterministic,
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

    fn waiting(&self, workers: &Workers, deadlines: &Deadlines, now: Time) -> Option<Waiting> {
        if self.phase == Phase::Publishing {
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
        let mut running = self.map.running_attempts().chain(self.reduce.running_attempts());
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
