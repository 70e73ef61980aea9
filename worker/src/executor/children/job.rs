//! A job whose attempts run in processes of their own: one for all of them, and one more for each
//! suspect.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, FailureCause, JobId, JobIdentity};

use super::Children;
use super::child::Child;
use super::confinement::Writable;
use super::job_files::JobFiles;
use super::life::ProcessEnd;
use super::users::JobUser;
use crate::shuffle::store::{segment_path, sweep_scratch};
use crate::sync::lock;

/// A worker's state of a job, for the length of the job.
pub(super) struct ChildrenOfJob {
    pub(super) id: JobId,
    pub(super) identity: JobIdentity,
    /// The process that runs all attempts but suspects, and serves all outputs. Locked while it is
    /// being started.
    main: tokio::sync::Mutex<Option<Arc<Child>>>,
    state: Mutex<State>,
    /// The files that its processes are started from, once they are here.
    files: OnceCell<JobFiles>,
    /// Fires when the job is over: no more processes are started.
    pub(super) released: CancellationToken,
    /// The paths, besides its folder, to which its code may write, once opened.
    writable: Mutex<Option<Arc<Writable>>>,
    /// The user of its processes, from the first process on.
    user: Mutex<Option<Arc<JobUser>>>,
}

#[derive(Default)]
struct State {
    /// All processes that may still exist.
    children: Vec<Arc<Child>>,
    /// Map attempts whose output is here, in memory or on disk, and the process that made it.
    outputs: BTreeMap<AttemptId, u32>,
    /// Whether one of its processes has died: from then on, outputs are not kept in memory.
    has_died: bool,
}

impl ChildrenOfJob {
    pub(super) fn new(id: JobId, identity: JobIdentity) -> Self {
        Self {
            id,
            identity,
            main: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            files: OnceCell::new(),
            released: CancellationToken::new(),
            writable: Mutex::default(),
            user: Mutex::default(),
        }
    }

    /// Runs `finding` to get the job's files, unless they have been found already.
    pub(super) async fn prepare(
        &self,
        finding: impl Future<Output = Result<JobFiles, FailureCause>>,
    ) -> Result<(), FailureCause> {
        self.files.get_or_try_init(|| finding).await.map(|_| ())
    }

    /// The files that its processes are started from. None is started before they are known.
    pub(super) fn files(&self) -> Option<&JobFiles> {
        self.files.get()
    }

    /// The paths, besides its folder, to which its code may write: the same for all its processes,
    /// even if the names point elsewhere by now.
    pub(super) fn writable<E>(
        &self,
        open: impl FnOnce() -> Result<Arc<Writable>, E>,
    ) -> Result<Arc<Writable>, E> {
        let mut writable = lock(&self.writable);
        if let Some(opened) = &*writable {
            return Ok(Arc::clone(opened));
        }
        Ok(Arc::clone(writable.insert(open()?)))
    }

    /// The user of its processes, if it differs from this worker's.
    pub(super) fn user(&self) -> Option<Arc<JobUser>> {
        lock(&self.user).clone()
    }

    pub(super) fn set_user(&self, user: Arc<JobUser>) {
        let former = lock(&self.user).replace(user);
        debug_assert!(former.is_none(), "the job's folder belongs to its user");
    }

    /// Takes the user, whose last process is gone in a moment.
    pub(super) fn take_user(&self) -> Option<Arc<JobUser>> {
        lock(&self.user).take()
    }

    /// The paths to which its code may write, if they were opened.
    pub(super) fn opened_writable(&self) -> Option<Arc<Writable>> {
        lock(&self.writable).clone()
    }

    /// The process that runs the job's attempts; started if there is none.
    pub(super) async fn main(
        self: &Arc<Self>,
        children: &Arc<Children>,
    ) -> Result<Arc<Child>, FailureCause> {
        let mut main = self.main.lock().await;
        if let Some(child) = main.as_ref() {
            if !child.is_ending() {
                return Ok(Arc::clone(child));
            }
            // Which outputs are lost is known once it is gone.
            child.gone.cancelled().await;
        }
        let on_disk = lock(&self.state).has_died;
        let child = self.start(children, on_disk).await?;
        Ok(Arc::clone(main.insert(child)))
    }

    /// The process that serves outputs, if one runs.
    pub(super) async fn current_main(&self) -> Option<Arc<Child>> {
        self.main.lock().await.clone().filter(|child| !child.is_ending())
    }

    /// A process for one suspect. Its outputs are on disk, where the main process finds them.
    pub(super) async fn another(
        self: &Arc<Self>,
        children: &Arc<Children>,
    ) -> Result<Arc<Child>, FailureCause> {
        let _started_one_after_the_other = self.main.lock().await;
        self.start(children, true).await
    }

    async fn start(
        self: &Arc<Self>,
        children: &Arc<Children>,
        outputs_on_disk: bool,
    ) -> Result<Arc<Child>, FailureCause> {
        if self.released.is_cancelled() {
            return Err(FailureCause::Cancelled);
        }
        let child = children.start_child(self, outputs_on_disk).await?;
        let mut state = lock(&self.state);
        state.children.retain(|child| !child.gone.is_cancelled());
        state.children.push(Arc::clone(&child));
        Ok(child)
    }

    pub(super) fn note_output(&self, attempt: AttemptId, serial: u32) {
        lock(&self.state).outputs.insert(attempt, serial);
    }

    pub(super) fn forget_output(&self, attempt: AttemptId) {
        lock(&self.state).outputs.remove(&attempt);
    }

    /// Whether an output is in the memory of a process. May block for a moment.
    pub(super) fn has_outputs_in_memory(&self, children: &Children) -> bool {
        let outputs = lock(&self.state).outputs.clone();
        !outputs.keys().all(|attempt| children.segment_path(*attempt).exists())
    }

    /// Handles the end of a process: returns the outputs that are lost with it. Outputs that have
    /// their final name are complete; unfinished spills are removed. May block for a moment.
    pub(super) fn note_end(
        &self,
        children: &Children,
        serial: u32,
        death: &ProcessEnd,
    ) -> Vec<AttemptId> {
        let made: Vec<_> = {
            let mut state = lock(&self.state);
            state.has_died |= !matches!(death, ProcessEnd::Expected);
            let made = state.outputs.iter().filter(|(_, made_by)| **made_by == serial);
            made.map(|(attempt, _)| *attempt).collect()
        };
        let is_lost = |attempt: &AttemptId| !children.segment_path(*attempt).exists();
        let lost: Vec<_> = made.into_iter().filter(is_lost).collect();
        {
            let mut state = lock(&self.state);
            state.outputs.retain(|attempt, _| lost.binary_search(attempt).is_err());
        }
        if self.released.is_cancelled() {
            return Vec::new();
        }
        if let Err(error) = sweep_scratch(children.directory(), self.id, serial) {
            tracing::warn!(job = %self.id, %error, "cannot remove the spills of a process");
        }
        lost
    }

    /// Kills all its processes: the job is over, and they have nothing to finish. No more are
    /// started. Returns when they run no more code, whoever has killed them.
    pub(super) async fn stop(&self) {
        for child in self.kill().await {
            child.stopped().await;
        }
    }

    /// Like `stop`, but returns when they are gone.
    pub(super) async fn end(&self) {
        for child in self.kill().await {
            child.gone.cancelled().await;
        }
    }

    async fn kill(&self) -> Vec<Arc<Child>> {
        self.released.cancel();
        // A process that is being started is in the list by then.
        let _main = self.main.lock().await;
        let living = lock(&self.state).children.clone();
        living.iter().for_each(|child| child.kill());
        living
    }
}

impl Children {
    /// The file of a map attempt's output that is not in memory.
    pub(super) fn segment_path(&self, attempt: AttemptId) -> PathBuf {
        let AttemptId { task, number } = attempt;
        segment_path(self.directory(), task.job, task.index, number)
    }
}
