//! The model store of results: output folders with their locks, parts that attempts have staged
//! under their own names, parts that are visible, and the manifests that come last. Publishing goes
//! part by part, so that any crash finds it half done, and fails now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windrow_jobs::{AttemptId, FailureCause, JobId, PartKind};
use windrow_scheduler::Unpublished;
use windrow_scheduler::journal::Epoch;

use crate::driver::Command;
use crate::output::{OutputPaths, StagedPart, Stop};
use crate::simulation::happening::{Done, Happening};
use crate::simulation::invariants::visible;
use crate::simulation::world::World;

/// The map tasks whose records a part contains, each with which output of it.
pub type Content = Vec<(u32, u32)>;

#[derive(Default)]
pub struct Output {
    staged: BTreeMap<AttemptId, Content>,
    pub visible: BTreeMap<JobId, BTreeMap<u32, (AttemptId, Content)>>,
    pub manifests: BTreeMap<JobId, Vec<AttemptId>>,
    /// Jobs that cannot be published, whoever tries.
    doomed: BTreeMap<JobId, bool>,
    /// Who has begun to publish a job last: nobody with an earlier epoch finds its staging folder.
    commits: BTreeMap<JobId, Epoch>,
    /// By output folder.
    locks: BTreeMap<PathBuf, Lock>,
    /// Folders that once could not be taken again: their locks may stay.
    faulty: BTreeSet<PathBuf>,
    /// Places that somebody has removed while no coordinator held them.
    removed: BTreeSet<OutputPaths>,
    /// How often a job could not be published for a reason that passes.
    failures: BTreeMap<JobId, u32>,
    /// To tell one lock file, or one place, from another one.
    count: u64,
}

/// The lock file in an output folder.
struct Lock {
    coordinator: usize,
    /// The job's place. Another job of the same cluster does not take the folder from one that
    /// lives.
    paths: OutputPaths,
    /// Of who has taken it: what a later one has, an earlier one does not take.
    epoch: Epoch,
    number: u64,
}

/// A publication under way.
#[derive(Clone, Debug)]
pub struct Publication {
    pub job: JobId,
    pub epoch: Epoch,
    pub paths: OutputPaths,
    pub winners: Vec<AttemptId>,
    /// Parts that are visible already.
    pub done: usize,
    pub stop: Stop,
}

impl Output {
    pub fn stage(&mut self, attempt: AttemptId, content: Content) {
        self.staged.insert(attempt, content);
    }

    pub fn delete_staged(&mut self, attempt: AttemptId) {
        self.staged.remove(&attempt);
    }

    /// What an attempt says that it has written.
    pub fn reported(&self, attempt: AttemptId) -> StagedPart {
        StagedPart { attempt, kind: PartKind::Output, bytes: 1, records: 1, crc64: 0 }
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

    /// Takes back what is visible, so that it can be published once more.
    fn undo(&mut self, job: JobId) {
        self.manifests.remove(&job);
        for (attempt, content) in self.visible.remove(&job).unwrap_or_default().into_values() {
            self.staged.insert(attempt, content);
        }
    }

    fn lock(&mut self, coordinator: usize, epoch: Epoch, paths: &OutputPaths) -> u64 {
        self.count += 1;
        let number = self.count;
        let lock = Lock { coordinator, paths: paths.clone(), epoch, number };
        self.locks.insert(paths.output().to_path_buf(), lock);
        number
    }

    /// Folders that nobody can have any more.
    pub fn locked(
        &self,
        may_stay: impl Fn(usize, &OutputPaths) -> bool,
    ) -> impl Iterator<Item = &PathBuf> {
        let stays = move |lock: &Lock| may_stay(lock.coordinator, &lock.paths);
        let locks = self.locks.iter().filter(move |(_, lock)| !stays(lock));
        locks.map(|(path, _)| path).filter(|path| !self.faulty.contains(*path))
    }

    /// Whether there is a reason to give up the publication of a job.
    pub fn is_hopeless(&self, job: JobId, failures_max: u32) -> bool {
        self.doomed.get(&job) == Some(&true)
            || self.failures.get(&job).is_some_and(|failures| *failures >= failures_max)
    }
}

/// The output folder of this number.
pub fn output_path(output: usize) -> PathBuf {
    PathBuf::from(format!("/out/{output}"))
}

impl World {
    /// A coordinator takes an output folder for a new job, unless another one has it.
    pub fn take_output(
        &mut self,
        coordinator: usize,
        output: usize,
    ) -> Result<Option<OutputPaths>, String> {
        let path = output_path(output);
        if let Some(lock) = self.output.locks.get(&path)
            && !self.coordinators[lock.coordinator].is_gone()
        {
            return Ok(None);
        }
        let Some(driver) = self.coordinators[coordinator].driver() else { return Ok(None) };
        self.check_in_charge(coordinator, &path)?;
        visible::check_free(&path, driver.state().catalog.unsettled())?;
        let epoch = driver.epoch();
        self.output.count += 1;
        let paths = OutputPaths::named(&path, &self.output.count.to_string());
        // What is left of a job that nobody has accepted goes; so would that of one that is known.
        let places = &self.places;
        let is_there = |job: JobId| places.get(&job).is_some_and(|there| there.output() == path);
        self.output.staged.retain(|attempt, _| !is_there(attempt.task.job));
        let number = self.output.lock(coordinator, epoch, &paths);
        self.coordinators[coordinator].folders.insert(paths.clone(), number);
        Ok(Some(paths))
    }

    /// Only one whose epoch is durable may touch what others have: before, it may be one that loses
    /// the race.
    pub fn check_in_charge(&self, index: usize, output: &Path) -> Result<(), String> {
        let Some(driver) = self.coordinators[index].driver() else { return Ok(()) };
        let epoch = driver.epoch();
        if self.store.has_begun(self.coordinators[index].nonce) {
            return Ok(());
        }
        Err(format!(
            "folders: coordinator {index} takes {}, and {epoch} may be another's",
            output.display()
        ))
    }

    /// A coordinator takes the folder again of a job that a former one has accepted.
    pub fn take_folder(&mut self, index: usize, job: JobId, paths: &OutputPaths, ended: bool) {
        let Some(driver) = self.coordinators[index].driver() else { return };
        let epoch = driver.epoch();
        let lock = self.output.locks.get(paths.output());
        let is_others = lock.is_some_and(|lock| lock.paths != *paths || lock.epoch > epoch);
        let result = if is_others {
            Err(io("is being written by another job"))
        } else if lock.is_none() {
            // Somebody has removed what the job had written, which matters unless it is over.
            if ended { Ok(()) } else { Err(io("is gone")) }
        } else if self.output.removed.contains(paths) {
            Err(io("is gone"))
        } else if self.strikes(self.faults.folder) {
            self.output.faulty.insert(paths.output().to_path_buf());
            if self.strikes(500) {
                // With all that shows there. Of a job that has ended, that has been seen.
                self.output.removed.insert(paths.clone());
                if !ended {
                    self.output.visible.remove(&job);
                    self.output.manifests.remove(&job);
                }
            }
            Err(io("stale file handle"))
        } else {
            let number = self.output.lock(index, epoch, paths);
            self.coordinators[index].folders.insert(paths.clone(), number);
            Ok(())
        };
        self.done(index, Duration::ZERO, Done::FolderTaken(job, result));
    }

    /// The next step of a publication.
    pub fn publish(&mut self, index: usize, mut publication: Publication) -> Result<(), String> {
        let job = publication.job;
        let owner = *self.output.commits.entry(job).or_insert(publication.epoch);
        let is_held = self.coordinators[index].folders.contains_key(&publication.paths);
        let is_removed = self.output.removed.contains(&publication.paths);
        if owner > publication.epoch || !is_held || is_removed {
            // Somebody else publishes it, or has: there is nothing to be found.
            return self.published(index, job, Err(gone()));
        }
        self.output.commits.insert(job, publication.epoch);
        let doomed = match self.output.doomed.get(&job) {
            Some(doomed) => *doomed,
            None => self.strikes(self.faults.publish),
        };
        self.output.doomed.insert(job, doomed);
        let is_done = self.output.manifests.contains_key(&job);
        let is_stopped = match publication.done == publication.winners.len() {
            true => !publication.stop.may_write_manifest(),
            false => publication.stop.is_stopped(),
        };
        // It is too late for that, whoever has written the manifest.
        let is_stopped = is_stopped && !is_done;
        if is_stopped || self.strikes(self.faults.publish_step) {
            self.output.undo(job);
            let cause = if is_stopped {
                FailureCause::Cancelled
            } else {
                *self.output.failures.entry(job).or_default() += 1;
                io("connection timed out")
            };
            return self.published(
                index,
                job,
                Err(Unpublished { cause: Box::new(cause), may_pass: true }),
            );
        }
        let Some(&winner) = publication.winners.get(publication.done) else {
            if doomed {
                self.output.undo(job);
                return self.published(index, job, Err(disk_full()));
            }
            let winners = publication.winners;
            let manifest = self.output.manifests.entry(job).or_insert_with(|| winners.clone());
            visible::check_manifest(manifest, &winners)?;
            visible::check_parts(job, &self.output, &self.promises)?;
            return self.published(index, job, Ok(()));
        };
        if !self.output.show(winner) {
            visible::check_missing(winner, &self.promises)?;
            return self.published(index, job, Err(gone()));
        }
        publication.done += 1;
        let delay = self.rng.millis(0, 50);
        self.later(delay, Happening::Publish(index, publication));
        Ok(())
    }

    fn published(
        &mut self,
        index: usize,
        job: JobId,
        result: Result<(), Unpublished>,
    ) -> Result<(), String> {
        let after = self.rng.millis(0, 1_000);
        self.done(index, after, Done::Published(job, result));
        Ok(())
    }

    /// A job has ended: what is left of it goes, and so does what was made visible in vain.
    pub fn clean_up(&mut self, index: usize, job: JobId, paths: &OutputPaths, succeeded: bool) {
        if let Some(number) = self.coordinators[index].folders.remove(paths) {
            if !succeeded {
                self.output.visible.remove(&job);
            }
            self.output.staged.retain(|attempt, _| attempt.task.job != job);
            self.unlock(paths, number);
        }
        self.done(index, Duration::from_millis(1), Done::CleanedUp(job));
    }

    pub fn give_back(&mut self, index: usize, paths: &OutputPaths) {
        if let Some(number) = self.coordinators[index].folders.remove(paths) {
            self.unlock(paths, number);
        }
    }

    /// Removes the lock if it is still the one that was put there.
    fn unlock(&mut self, paths: &OutputPaths, number: u64) {
        if self.output.locks.get(paths.output()).is_some_and(|lock| lock.number == number) {
            self.output.locks.remove(paths.output());
        }
    }
}

impl Done {
    /// What is told to the driver.
    pub fn command(self) -> Command {
        match self {
            Self::FolderTaken(job, result) => Command::FolderTaken { job, result },
            Self::Published(job, result) => Command::Published { job, result },
            Self::CleanedUp(job) => Command::CleanedUp { job },
        }
    }
}

/// For good.
fn disk_full() -> Unpublished {
    let message = "no space left on device".into();
    let cause = FailureCause::Io { path: "/out".into(), message, disk_full: true };
    Unpublished { cause: Box::new(cause), may_pass: false }
}

fn gone() -> Unpublished {
    Unpublished { cause: Box::new(io("no such file or directory")), may_pass: false }
}

fn io(message: &str) -> FailureCause {
    FailureCause::Io { path: "/out".into(), message: message.into(), disk_full: false }
}
