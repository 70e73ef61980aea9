//! Runs a driver with channels, a clock and tasks. It decides nothing, not even the order of
//! things.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use windrow_jobs::{FailureCause, JobId};
use windrow_scheduler::Unpublished;

use super::action::Action;
use super::command::{Command, Question};
use super::handle::{DriverError, ToDriver};
use super::publication::ToPublish;
use super::turn::COMMANDS_MAX;
use super::{Driver, DriverAttachment, DriverHandle, DriverRecord, DriverState, Settings};
use crate::failpoint::Failpoint;
use crate::journal::{Journal, Opened};
use crate::output::{self, OutputPaths, Owner, Reservation, Stop};

/// Starts a driver on the current runtime, with all jobs of the journal. It ends when all its
/// handles are dropped, or when the journal fails for good.
pub(crate) fn start(
    opened: Opened<DriverRecord, DriverState, DriverAttachment>,
    settings: Settings,
) -> DriverHandle {
    let Opened { cluster, recovered, journal } = opened;
    let epoch = recovered.epoch;
    let driver = Driver::recover(cluster, recovered, &settings, journal.written());
    let owner = settings.state.map(|state| Owner {
        cluster: cluster.to_string(),
        state,
        job: String::new(),
        unique: String::new(),
        epoch: epoch.0,
    });
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (asking, questions) = mpsc::channel(COMMANDS_MAX);
    let shell = Shell {
        driver,
        journal,
        started: Instant::now(),
        commands,
        questions,
        own_commands: sender.downgrade(),
        folders: Folders { owner: owner.clone(), taken: BTreeMap::new() },
        failpoint: settings.failpoint,
    };
    let (failing, failure) = watch::channel(None);
    let running = tokio::spawn(shell.run());
    tokio::spawn(async move {
        let error = match running.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(error) => DriverError::Panicked(error.to_string()),
        };
        tracing::error!("{error}");
        failing.send_replace(Some(error));
    });
    DriverHandle::new(sender, asking, owner, failure)
}

struct Shell {
    driver: Driver,
    journal: Journal<DriverRecord, DriverState, DriverAttachment>,
    started: Instant,
    commands: mpsc::Receiver<ToDriver>,
    questions: mpsc::Receiver<Question>,
    /// For the tasks that it starts. Weak, so that the driver ends when no handle is left.
    own_commands: mpsc::WeakSender<ToDriver>,
    folders: Folders,
    failpoint: Failpoint,
}

impl Shell {
    /// Runs until all handles are dropped, the jobs are left to a successor, or the journal fails
    /// for good. Then no caller or worker is told anything more.
    async fn run(mut self) -> Result<(), DriverError> {
        loop {
            self.driver.turn(self.started.elapsed());
            while let Some(action) = self.driver.next_action() {
                self.carry_out(action);
            }
            if self.driver.has_stopped() {
                return Ok(());
            }
            let wakes_at = self.driver.wakes_at();
            let mut may_answer = true;
            tokio::select! {
                // Messages of workers and answers of the journal go first, and one question after
                // each turn.
                biased;
                answered = self.journal.answered() => {
                    let (call, answer) = answered?;
                    self.driver.answered(self.started.elapsed(), call, answer)?;
                }
                // When all handles are dropped, the remaining commands are drained.
                arrived = self.commands.recv(), if self.driver.has_room() || self.questions.is_closed() => {
                    match arrived {
                        Some(arrived) => self.take(arrived),
                        None => return Ok(()),
                    }
                }
                () = sleep_until(self.started, wakes_at) => {}
                Some(question) = self.questions.recv() => {
                    self.driver.asked(self.started.elapsed(), question);
                    may_answer = false;
                }
            }
            if may_answer && let Ok(question) = self.questions.try_recv() {
                self.driver.asked(self.started.elapsed(), question);
            }
            while self.driver.has_room()
                && let Ok(arrived) = self.commands.try_recv()
            {
                self.take(arrived);
            }
        }
    }

    fn take(&mut self, arrived: ToDriver) {
        let ToDriver { command, reservation } = arrived;
        if let Some(reservation) = reservation {
            self.folders.hold(reservation);
        }
        self.driver.arrived(command);
    }

    /// Anything that takes time runs in a task of its own, which reports back.
    fn carry_out(&mut self, action: Action) {
        let Some(commands) = self.own_commands.upgrade() else { return };
        let folder = action.paths().and_then(|paths| self.folders.get(paths));
        match action {
            Action::Store(id, call) => self.journal.start(id, call),
            Action::TakeFolder { job, name, paths, ended, after } => {
                let owner = self.folders.owner.clone().map(|owner| Owner { job: name, ..owner });
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    take_folder(commands, job, paths, owner, ended).await;
                });
            }
            Action::Publish { job, publication, stop, .. } => {
                let failpoint = self.failpoint.clone();
                tokio::spawn(async move {
                    let result = publish(folder, publication, failpoint, stop).await;
                    report(&commands, Command::Published { job, result }).await;
                });
            }
            Action::CleanUp { job, paths, succeeded } => {
                self.folders.taken.remove(&paths);
                tokio::spawn(async move {
                    clean_up(job, folder, succeeded).await;
                    report(&commands, Command::CleanedUp { job }).await;
                });
            }
            Action::GiveBack { paths } => {
                self.folders.taken.remove(&paths);
                tokio::spawn(give_back(folder));
            }
        }
    }
}

/// The output folders that this process has taken.
struct Folders {
    /// The owner of the folders; `None` if they end with this process.
    owner: Option<Owner>,
    taken: BTreeMap<OutputPaths, Arc<Reservation>>,
}

impl Folders {
    fn hold(&mut self, reservation: Arc<Reservation>) {
        self.taken.insert(reservation.paths().clone(), reservation);
    }

    fn get(&self, paths: &OutputPaths) -> Option<Arc<Reservation>> {
        self.taken.get(paths).map(Arc::clone)
    }
}

/// Reports to the driver, unless it has stopped.
async fn report(commands: &mpsc::Sender<ToDriver>, command: Command) {
    let _ = commands.send(ToDriver { command, reservation: None }).await;
}

async fn take_folder(
    commands: mpsc::Sender<ToDriver>,
    job: JobId,
    paths: OutputPaths,
    owner: Option<Owner>,
    ended: bool,
) {
    let path = paths.output().to_path_buf();
    let failed = |message: String| FailureCause::Io {
        path: path.display().to_string(),
        message,
        disk_full: false,
    };
    let take = move || match owner {
        Some(owner) if ended => Ok(Some(Reservation::of_ended(&paths, owner))),
        Some(owner) => Reservation::resume(&paths, owner).map(Some),
        // Without a journal there are no jobs of a former coordinator.
        None => Ok(None),
    };
    let taken = match tokio::task::spawn_blocking(take).await {
        Ok(taken) => taken.map_err(|error| failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    };
    let (result, reservation) = match taken {
        Ok(reservation) => (Ok(()), reservation.map(Arc::new)),
        Err(cause) => (Err(cause), None),
    };
    let command = Command::FolderTaken { job, result };
    let _ = commands.send(ToDriver { command, reservation }).await;
}

async fn publish(
    folder: Option<Arc<Reservation>>,
    publication: Result<Box<ToPublish>, FailureCause>,
    failpoint: Failpoint,
    stop: Stop,
) -> Result<(), Unpublished> {
    let for_good = |cause| Unpublished { cause: Box::new(cause), may_pass: false };
    let publication = publication.map_err(for_good)?;
    let failed = |message: String| Unpublished {
        cause: Box::new(FailureCause::Io { path: "its output".into(), message, disk_full: false }),
        may_pass: false,
    };
    let Some(folder) = folder else { return Err(failed("the folder is not held".into())) };
    let publish = move || {
        let publication = publication.look_up().map_err(for_good)?;
        output::publish(folder.paths(), &publication, &failpoint, &stop)
    };
    // Joining fails only if the task panicked or the runtime is shutting down.
    let published = tokio::task::spawn_blocking(publish).await;
    published.unwrap_or_else(|error| Err(failed(error.to_string())))
}

async fn clean_up(job: JobId, folder: Option<Arc<Reservation>>, succeeded: bool) {
    let cleaned_up = match folder {
        Some(folder) if succeeded => folder.remove_temporary().await,
        Some(folder) => folder.discard().await,
        None => Ok(()),
    };
    if let Err(error) = cleaned_up {
        tracing::warn!(%job, %error, "cannot clean up a job's output folder");
    }
}

async fn give_back(folder: Option<Arc<Reservation>>) {
    if let Some(folder) = folder
        && let Err(error) = folder.discard().await
    {
        let output = folder.paths().output().display();
        tracing::warn!(%output, %error, "cannot give back the output folder of a repeated submission");
    }
}

/// Sleeps until `time` after `started`; without a time, for ever.
async fn sleep_until(started: Instant, time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep_until(started + time).await,
        None => std::future::pending().await,
    }
}
