//! The open sessions, as the driver sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use windrow_jobs::{AttemptId, JobId, WorkerId, hash_key};
use windrow_scheduler::WorkerOffer;

use super::outgoing::{Outgoing, OutputsTable};
use crate::plan::ClusterSize;

/// Messages that may wait for a worker. It has few slots, so one that lets so many wait does not read at all.
const OUTBOX_MAX: usize = 1_024;

/// What a worker has said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerProfile {
    /// For people.
    pub(crate) name: String,
    /// Where peers fetch from it.
    pub(crate) shuffle_address: String,
    /// Its machine.
    pub(crate) host: String,
    /// Its folder of segments.
    pub(crate) directory: String,
    /// Of its process: the same when it comes back after losing its session.
    pub(crate) instance: String,
    /// Map attempts at once.
    pub(crate) map_slots: u32,
    /// Reduce attempts at once.
    pub(crate) reduce_slots: u32,
    /// Its threads for user code.
    pub(crate) threads: u32,
    /// Its memory for tasks.
    pub(crate) memory_bytes: u64,
}

impl WorkerProfile {
    pub(super) fn offer(&self) -> WorkerOffer {
        WorkerOffer {
            name: self.name.clone(),
            identity: hash_key(format!("{}\0{}", self.host, self.directory).as_bytes()),
            map_slots: self.map_slots,
            reduce_slots: self.reduce_slots,
        }
    }

    /// False where the machine is not known.
    fn is_at_same_place(&self, other: &Self) -> bool {
        !self.host.is_empty() && (&self.host, &self.directory) == (&other.host, &other.directory)
    }
}

/// A session that has been opened.
pub(crate) struct Joined {
    /// The worker's id for this session.
    pub(crate) worker: WorkerId,
    /// What to send to it; the session is over when it ends.
    pub(crate) outbox: mpsc::Receiver<Outgoing>,
    /// Fires when the session is over.
    pub(crate) over: CancellationToken,
}

/// Another process works in the folder of a worker that wants to join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{worker} (\"{}\") already works in that folder on that host; give each worker its own --dir", name.escape_debug())]
pub(crate) struct AlreadyThere {
    /// Its id.
    pub(crate) worker: WorkerId,
    /// Its name.
    pub(crate) name: String,
}

struct Worker {
    profile: Arc<WorkerProfile>,
    outbox: mpsc::Sender<Outgoing>,
    _over: DropGuard,
    /// Assigned and not heard of since: only of these are parts believed.
    running: BTreeSet<AttemptId>,
    /// By job: the version of the map outputs that it has.
    outputs_sent: BTreeMap<JobId, u64>,
}

/// All open sessions.
#[derive(Default)]
pub(super) struct Workers {
    workers: BTreeMap<WorkerId, Worker>,
    unreachable: Vec<(WorkerId, &'static str)>,
}

impl Workers {
    pub(super) fn add(&mut self, worker: WorkerId, profile: WorkerProfile) -> Joined {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        let over = CancellationToken::new();
        let entry = Worker {
            profile: Arc::new(profile),
            outbox: sender,
            _over: over.clone().drop_guard(),
            running: BTreeSet::new(),
            outputs_sent: BTreeMap::new(),
        };
        self.workers.insert(worker, entry);
        Joined { worker, outbox, over }
    }

    /// Ends a session without a word.
    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Arc<WorkerProfile>> {
        self.workers.remove(&worker).map(|entry| entry.profile)
    }

    /// Ends a session and says why, if the worker listens.
    pub(super) fn end(&mut self, worker: WorkerId, reason: &str) -> Option<Arc<WorkerProfile>> {
        let entry = self.workers.remove(&worker)?;
        let _ = entry.outbox.try_send(Outgoing::End(reason.to_string()));
        Some(entry.profile)
    }

    pub(super) fn end_all(&mut self, reason: &str) {
        let workers: Vec<_> = self.workers.keys().copied().collect();
        for worker in workers {
            self.end(worker, reason);
        }
    }

    pub(super) fn profile(&self, worker: WorkerId) -> Option<&Arc<WorkerProfile>> {
        self.workers.get(&worker).map(|entry| &entry.profile)
    }

    /// The worker that works in the same folder.
    pub(super) fn at_same_place(
        &self,
        profile: &WorkerProfile,
    ) -> Option<(WorkerId, &WorkerProfile)> {
        self.workers
            .iter()
            .map(|(worker, entry)| (*worker, &*entry.profile))
            .find(|(_, there)| there.is_at_same_place(profile))
    }

    /// Puts an assignment into a worker's outbox.
    pub(super) fn assign(&mut self, worker: WorkerId, attempt: AttemptId, message: Outgoing) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.running.insert(attempt);
        }
        self.send(worker, message);
    }

    /// Puts a job's map outputs into a worker's outbox, unless it has them.
    pub(super) fn send_outputs(&mut self, worker: WorkerId, table: &Arc<OutputsTable>) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if entry.outputs_sent.insert(table.job, table.version) != Some(table.version) {
            self.send(worker, Outgoing::Outputs(Arc::clone(table)));
        }
    }

    pub(super) fn cancel(&mut self, worker: WorkerId, attempt: AttemptId) {
        self.finished(worker, attempt);
        self.send(worker, Outgoing::Cancel(attempt));
    }

    pub(super) fn release(&mut self, worker: WorkerId, job: JobId) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.outputs_sent.remove(&job);
        }
        self.send(worker, Outgoing::Release(job));
    }

    /// Never waits: a worker whose outbox is full is unreachable.
    pub(super) fn send(&mut self, worker: WorkerId, message: Outgoing) {
        let Some(entry) = self.workers.get(&worker) else { return };
        match entry.outbox.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.unreachable.push((worker, "it does not read its messages"));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.unreachable.push((worker, "its connection was closed"));
            }
        }
    }

    /// A worker to which something could not be sent.
    pub(super) fn next_unreachable(&mut self) -> Option<(WorkerId, &'static str)> {
        self.unreachable.pop()
    }

    /// Whether the worker was running the attempt, which it does not any more.
    pub(super) fn finished(&mut self, worker: WorkerId, attempt: AttemptId) -> bool {
        self.workers.get_mut(&worker).is_some_and(|entry| entry.running.remove(&attempt))
    }

    pub(super) fn cluster_size(&self) -> ClusterSize {
        let profiles = || self.workers.values().map(|entry| &entry.profile);
        ClusterSize {
            workers: self.workers.len() as u32,
            threads: profiles().map(|profile| profile.threads).sum(),
            memory_bytes: profiles().map(|profile| profile.memory_bytes).min().unwrap_or(0),
        }
    }
}
