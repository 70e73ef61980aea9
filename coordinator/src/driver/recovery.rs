//! Recovers a driver from its journal.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use windrow_scheduler::journal::Recovered;
use windrow_scheduler::{Clock, Config, Decider, JobState};

use super::catalog::Catalog;
use super::jobs::{Folder, LiveJobs};
use super::releases::Releases;
use super::sessions::Sessions;
use super::turn::Turns;
use super::{Driver, DriverAttachment, DriverRecord, DriverState};
use crate::failpoint::Failpoint;
use crate::journal::{ClusterId, WriteTotals};

/// The settings of a driver.
pub(crate) struct Settings {
    /// The scheduler's limits.
    pub(crate) scheduler: Config,
    /// The folder of the journal, if it outlives the process.
    pub(crate) state: Option<PathBuf>,
    /// Fault injection, for tests.
    pub(crate) failpoint: Failpoint,
    /// Records after which the next snapshot is written, if not the default.
    pub(crate) snapshot_after: Option<u64>,
}

impl Driver {
    /// A driver with all jobs of the journal. Its time begins now, at zero.
    pub(crate) fn recover(
        cluster: ClusterId,
        recovered: Recovered<DriverRecord, DriverState, DriverAttachment>,
        settings: &Settings,
        written: Arc<WriteTotals>,
    ) -> Self {
        let lease = settings.scheduler.lease;
        let is_shared = settings.state.is_some();
        let (config, new) = (settings.scheduler.clone(), Catalog::new(cluster));
        let mut decider = match is_shared {
            true => Decider::recover(recovered, config, new),
            false => Decider::unshared(recovered.epoch, recovered.nonce, config, new),
        };
        if let Some(records) = settings.snapshot_after {
            decider = decider.with_snapshot_after(records);
        }
        if let Some(state) = &settings.state {
            say_what_was_recovered(&decider, state);
        }
        let epoch = decider.epoch();
        let mut jobs = LiveJobs::default();
        let catalog = &decider.state().catalog;
        for (id, work) in catalog.unsettled() {
            jobs.add(id, work, Folder::Taking { failures: 0 }, (0, 0));
            if let Some(live) = jobs.get_mut(id) {
                // Which workers a former coordinator has involved is not known, so it may be any of
                // them.
                live.workers.extend(catalog.worker_ids());
            }
        }
        Self {
            jobs,
            clock: Clock::new(decider.state().now, lease),
            decider,
            real: Duration::ZERO,
            turns: Turns::new(lease),
            sessions: Sessions::default(),
            releases: Releases::of(epoch),
            pending: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            requests: 0,
            actions: VecDeque::new(),
            is_shared,
            in_charge: false,
            written,
            is_stopping: false,
            stopping: Vec::new(),
            has_stopped: false,
        }
    }
}

fn say_what_was_recovered(decider: &Decider<Catalog>, state: &Path) {
    let (scheduler, epoch) = (&decider.state().scheduler, decider.epoch());
    let is_over = |state: &JobState| matches!(state, JobState::Ended(_));
    let (ended, running): (Vec<_>, Vec<_>) =
        scheduler.jobs().map(|job| job.state).partition(is_over);
    let (running, ended, workers) = (running.len(), ended.len(), scheduler.workers().count());
    let state = state.display();
    tracing::info!(
        "{epoch} of {state}: {running} jobs continue, {ended} have ended, {workers} workers are expected back"
    );
}
