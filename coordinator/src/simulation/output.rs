//! The model of output folders: their locks, staged parts, visible parts, and manifests, which come
//! last. A publication goes part by part, so that a crash may find it half done, and fails now and
//! then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windrow_jobs::{AttemptId, FailureCause, JobId, Location, PartHandle, PartKind};
use windrow_scheduler::Unpublished;
use windrow_scheduler::journal::Epoch;

use crate::driver::Command;
use crate::output::{OutputPaths, Stop};
use crate::simulation::happening::{Done, Happening};
use crate::simulation::invariants::visible;
use crate::simulation::world::World;

/// The map tasks whose records a part contains, each with the variant of its output.
pub type Content = Vec<(u32, u32)>;

#[derive(Default)]
pub struct Output {
    staged: BTreeMap<AttemptId, Content>,
    pub visible: BTreeMap<JobId, BTreeMap<u32, (AttemptId, Content)>>,
    pub manifests: BTreeMap<JobId, Vec<AttemptId>>,
    /// Jobs that can never be published.
    doomed: BTreeMap<JobId, bool>,
    /// The latest epoch that has begun to publish each job: an earlier epoch does not find the
    /// staging folder any more.
    commits: BTreeMap<JobId, Epoch>,
    /// Locks by output folder.
    locks: BTreeMap<PathBuf, Lock>,
    /// Folders that once could not be taken over: their locks may stay.
    faulty: BTreeSet<PathBuf>,
    /// Outputs that were removed while no coordinator held them.
    removed: BTreeSet<OutputPaths>,
    /// How often each job could not be published by a transient fault.
    failures: BTreeMap<JobId, u32>,
    /// Numbers lock files and outputs.
    count: u64,
}

/// The lock file in an output folder.
struct Lock {
    coordinator: usize,
    /// The job's output. Another job of the same cluster does not take the folder from a live job.
    paths: OutputPaths,
    /// The epoch of its coordinator: an earlier epoch cannot take it.
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

    /// Makes a staged part visible, unless it is already. False if there is none.
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

    /// Undoes a publication, so that it can be retried.
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

    /// Folders that are locked for ever.
    pub fn locked(
        &self,
        may_stay: impl Fn(usize, &OutputPaths) -> bool,
    ) -> impl Iterator<Item = &PathBuf> {
        let stays = move |lock: &Lock| may_stay(lock.coordinator, &lock.paths);
        let locks = self.locks.iter().filter(move |(_, lock)| !stays(lock));
        locks.map(|(path, _)| path).filter(|path| !self.faulty.contains(*path))
    }

    /// Whether the publication of a job may be given up.
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
    /// The part that an attempt reports.
    pub fn reported(&self, attempt: AttemptId) -> Option<PartHandle> {
        let staging = Location::of_path(&self.places.get(&attempt.task.job)?.staging())?;
        let location = PartKind::Output.location(&staging, attempt)?;
        Some(PartHandle { location, bytes: 1, records: 1, crc64: 0, upload: None })
    }

    /// Takes an output folder for a new job, unless another job has it.
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
        // The folder of a job that was never accepted may be cleared; a folder of an accepted one
        // may not.
        let places = &self.places;
        let is_there = |job: JobId| places.get(&job).is_some_and(|there| there.output() == path);
        self.output.staged.retain(|attempt, _| !is_there(attempt.task.job));
        let number = self.output.lock(coordinator, epoch, &paths);
        self.coordinators[coordinator].folders.insert(paths.clone(), number);
        Ok(Some(paths))
    }

    /// Checks that the epoch of a coordinator that touches others' folders is durable: otherwise it
    /// may still lose the race.
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

    /// Takes over the folder of a job that a former coordinator has accepted.
    pub fn take_folder(&mut self, index: usize, job: JobId, paths: &OutputPaths, ended: bool) {
        let Some(driver) = self.coordinators[index].driver() else { return };
        let epoch = driver.epoch();
        let lock = self.output.locks.get(paths.output());
        let is_others = lock.is_some_and(|lock| lock.paths != *paths || lock.epoch > epoch);
        let result = if is_others {
            Err(io("is being written by another job"))
        } else if lock.is_none() {
            // The output was removed, which matters unless the job has ended.
            if ended { Ok(()) } else { Err(io("is gone")) }
        } else if self.output.removed.contains(paths) {
            Err(io("is gone"))
        } else if self.strikes(self.faults.folder) {
            self.output.faulty.insert(paths.output().to_path_buf());
            if self.strikes(500) {
                // The visible output is removed with it. For an ended job, it was checked already.
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
            // Another coordinator publishes it, or has done so: the staging folder is gone.
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
        // It is too late to stop once the manifest is written.
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

    /// Cleans up after an ended job: its partial files, and parts of a failed publication.
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

    /// Removes the lock if it is still the same one.
    fn unlock(&mut self, paths: &OutputPaths, number: u64) {
        if self.output.locks.get(paths.output()).is_some_and(|lock| lock.number == number) {
            self.output.locks.remove(paths.output());
        }
    }
}

impl Done {
    /// The command to the driver.
    pub fn command(self) -> Command {
        match self {
            Self::FolderTaken(job, result) => Command::FolderTaken { job, result },
            Self::Published(job, result) => Command::Published { job, result },
            Self::CleanedUp(job) => Command::CleanedUp { job },
        }
    }
}

/// A permanent failure.
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
