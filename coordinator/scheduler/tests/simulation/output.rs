//! The model store of results: parts that attempts have staged under their own names, parts that are visible, and the
//! manifests that come last. Publishing goes part by part, so that any crash finds it half done.

use std::collections::BTreeMap;
use std::time::Duration;

use windrow_jobs::{AttemptId, FailureCause, JobId};
use windrow_scheduler::{Event, Outcome, Unpublished};

use crate::happening::Happening;
use crate::invariants::visible;
use crate::world::World;

/// The map tasks whose records a part contains, each with which output of it.
pub type Content = Vec<(u32, u32)>;

#[derive(Default)]
pub struct Output {
    staged: BTreeMap<AttemptId, Content>,
    pub visible: BTreeMap<JobId, BTreeMap<u32, (AttemptId, Content)>>,
    pub manifests: BTreeMap<JobId, Vec<AttemptId>>,
    /// Jobs that cannot be published, whoever tries.
    doomed: BTreeMap<JobId, bool>,
}

/// A publication under way.
#[derive(Clone, Debug)]
pub struct Publication {
    pub job: JobId,
    pub winners: Vec<AttemptId>,
    /// Parts that are visible already.
    pub done: usize,
}

impl Output {
    pub fn stage(&mut self, attempt: AttemptId, content: Content) {
        self.staged.insert(attempt, content);
    }

    pub fn delete_staged(&mut self, attempt: AttemptId) {
        self.staged.remove(&attempt);
    }

    /// Makes a staged part visible, unless it is so already. False when there is none.
    fn show(&mut self, winner: AttemptId) -> bool {
        let (job, part) = (winner.task.job, winner.task.index);
        if let Some((shown, _)) = self.visible.get(&job).and_then(|parts| parts.get(&part)) {
            return *shown == winner;
        }
        let Some(content) = self.staged.remove(&winner) else { return false };
        let parts = self.visible.entry(job).or_default();
        parts.insert(part, (winner, content));
        true
    }
}

impl World {
    /// The next step of a publication.
    pub fn publish(&mut self, index: usize, mut publication: Publication) -> Result<(), String> {
        let job = publication.job;
        let doomed = match self.output.doomed.get(&job) {
            Some(doomed) => *doomed,
            None => self.strikes(self.faults.publish),
        };
        self.output.doomed.insert(job, doomed);
        let Some(&winner) = publication.winners.get(publication.done) else {
            let result = if doomed { Err(disk_full()) } else { Ok(()) };
            if !doomed {
                let winners = publication.winners;
                let manifest = self.output.manifests.entry(job).or_insert_with(|| winners.clone());
                visible::check_manifest(manifest, &winners)?;
                visible::check_parts(job, &self.output, &self.promises)?;
            }
            self.later_doubled(1_000, Happening::Arrive(index, Event::Published { job, result }));
            return Ok(());
        };
        if !self.output.show(winner) {
            visible::check_missing(winner, &self.promises)?;
            let event = Event::Published { job, result: Err(disk_full()) };
            self.later_doubled(1_000, Happening::Arrive(index, event));
            return Ok(());
        }
        publication.done += 1;
        let delay = self.rng.millis(0, 50);
        self.later(delay, Happening::Publish(index, publication));
        Ok(())
    }

    /// A job has ended: what is left of it goes, and so does what was made visible in vain.
    pub fn sweep(&mut self, index: usize, job: JobId) {
        let Some(decider) = self.coordinators[index].decider() else { return };
        let Some(ended) = decider.state().catalog.ledger.jobs.get(&job) else { return };
        if ended.ended != Some(Outcome::Succeeded) {
            self.output.visible.remove(&job);
        }
        self.output.staged.retain(|attempt, _| attempt.task.job != job);
        self.later(Duration::from_millis(1), Happening::Arrive(index, Event::Settled { job }));
    }
}

/// For good: of what passes, nothing is made here.
fn disk_full() -> Unpublished {
    let message = "no space left on device".into();
    let cause = FailureCause::Io { path: "/out".into(), message, disk_full: true };
    Unpublished { cause, may_pass: false }
}
