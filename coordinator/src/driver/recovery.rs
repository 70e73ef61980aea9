//! Starts a driver where the journal ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use windrow_jobs::JobId;
use windrow_proto::v1::Build;
use windrow_scheduler::{Clock, Config, Decider, JobState, Record, State};

use super::catalog::{Catalog, Note};
use super::jobs::LiveJobs;
use super::sessions::Sessions;
use super::{BEATS_PER_LEASE, COMMANDS_MAX, Driver, DriverHandle, JobWork};
use crate::failpoint::Failpoint;
use crate::journal::Opened;
use crate::output::{Owner, Reservation};

/// What a driver is started with.
pub(crate) struct Settings {
    /// The scheduler's limits.
    pub(crate) scheduler: Config,
    /// The program that it runs.
    pub(crate) build: Build,
    /// Where its journal is, if it outlives the process.
    pub(crate) state: Option<PathBuf>,
    /// Where to die, in tests.
    pub(crate) failpoint: Failpoint,
    /// Records after which the state is written again, if not the usual number.
    pub(crate) snapshot_after: Option<u64>,
}

/// Starts a driver on the current runtime, with all jobs that the journal knows. It ends when all its handles are gone, or
/// when the journal cannot be gone on with.
pub(crate) async fn start(
    opened: Opened<Record<Note>, State<Catalog>>,
    settings: Settings,
) -> DriverHandle {
    let Opened { cluster, recovered, journal } = opened;
    let Settings { scheduler, build, state, failpoint, snapshot_after } = settings;
    // A state that nobody will read need not be written.
    let snapshot_after = if state.is_none() { Some(u64::MAX) } else { snapshot_after };
    let lease = scheduler.lease;
    let beat = (lease / BEATS_PER_LEASE).max(Duration::from_millis(1));
    let mut decider = Decider::recover(recovered, scheduler, Catalog::new(cluster));
    if let Some(records) = snapshot_after {
        decider = decider.with_snapshot_after(records);
    }
    if let Some(state) = &state {
        say_what_was_recovered(&decider, state);
    }
    let owner = state.map(|state| Owner {
        cluster: cluster.to_string(),
        state,
        job: String::new(),
        unique: String::new(),
    });
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (asking, questions) = mpsc::channel(COMMANDS_MAX);
    let driver = Driver {
        jobs: take_again(&decider, owner.clone()).await,
        started: Instant::now(),
        clock: Clock::new(decider.state().now, lease),
        decider,
        journal,
        build,
        failpoint,
        sessions: Sessions::default(),
        pending: BTreeMap::new(),
        requests: 0,
        commands,
        questions,
        own_commands: sender.downgrade(),
        beat,
        objects_at_beat: 0,
        is_stopping: false,
        stopping: Vec::new(),
    };
    let (failing, failure) = watch::channel(None);
    tokio::spawn(async move {
        if let Err(error) = driver.run().await {
            tracing::error!("{error}");
            failing.send_replace(Some(error));
        }
    });
    DriverHandle::new(sender, asking, owner, failure)
}

fn say_what_was_recovered(decider: &Decider<Catalog>, state: &std::path::Path) {
    let (scheduler, epoch) = (&decider.state().scheduler, decider.epoch());
    let is_over = |state: &JobState| matches!(state, JobState::Ended(_));
    let (ended, running): (Vec<_>, Vec<_>) =
        scheduler.jobs().map(|job| job.state).partition(is_over);
    let (running, ended, workers) = (running.len(), ended.len(), scheduler.workers().count());
    let state = state.display();
    tracing::info!(
        "{epoch} of {state}: {running} jobs go on, {ended} have ended, {workers} workers to come back"
    );
}

/// Takes the output folders of all jobs again that are not settled.
async fn take_again(decider: &Decider<Catalog>, owner: Option<Owner>) -> LiveJobs {
    let mut live = LiveJobs::default();
    let Some(owner) = owner else { return live };
    for (id, work) in decider.state().catalog.unsettled() {
        let view = decider.state().scheduler.job(id);
        let ended = view.is_none_or(|job| matches!(job.state, JobState::Ended(_)));
        live.add(id, take_one_again(id, Arc::clone(work), ended, owner.clone()).await, (0, 0));
    }
    live
}

async fn take_one_again(
    id: JobId,
    work: Arc<JobWork>,
    ended: bool,
    owner: Owner,
) -> Result<Arc<Reservation>, String> {
    let owner = Owner { job: work.spec.job.clone(), ..owner };
    let take = move || match ended {
        true => Ok(Reservation::of_ended(&work.place, owner)),
        false => Reservation::resume(&work.place, owner).map_err(|error| error.to_string()),
    };
    let taken = tokio::task::spawn_blocking(take).await.map_err(|error| error.to_string())?;
    taken.map(Arc::new).inspect_err(|error| {
        tracing::error!(job = %id, %error, "a job cannot have its output folder again, and will fail");
    })
}
