//! The open sessions: outboxes, and what was sent through them.
//!
//! A session ends with its connection; the worker may have another one later. What lies in an outbox then is dropped: what
//! the worker should do is told again when it is back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::RequestId;
use windrow_scheduler::journal::Epoch;

use super::outgoing::{Outgoing, OutputsTable};
use crate::journal::ClusterId;

/// Messages that may wait for a worker. It has few slots, so one that lets so many wait does not read at all.
const OUTBOX_MAX: usize = 1_024;

/// Tells the sessions of a worker apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u64);

/// A session that has been opened.
pub(crate) struct Joined {
    /// Whose it is.
    pub(crate) worker: WorkerId,
    /// Which one.
    pub(crate) session: SessionId,
    /// Whose ids these are.
    pub(crate) cluster: ClusterId,
    /// The coordinator's.
    pub(crate) epoch: Epoch,
    /// Whether the worker's former session goes on; else all that it had is lost.
    pub(crate) returned: bool,
    /// What to send to it; the session is over when it ends.
    pub(crate) outbox: mpsc::Receiver<Outgoing>,
    /// Fires when the session is over.
    pub(crate) over: CancellationToken,
}

struct Session {
    id: SessionId,
    /// The request that it answered.
    connection: RequestId,
    outbox: mpsc::Sender<Outgoing>,
    _over: DropGuard,
    /// By job: the version of the map outputs that was sent.
    outputs_sent: BTreeMap<JobId, u64>,
}

/// All open sessions.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<WorkerId, Session>,
    opened: u64,
    unreachable: Vec<(WorkerId, &'static str)>,
}

/// The worker's end of a new session.
pub(super) struct OpenedSession {
    pub(super) id: SessionId,
    pub(super) outbox: mpsc::Receiver<Outgoing>,
    pub(super) over: CancellationToken,
}

impl Sessions {
    /// Opens a session, which replaces the worker's former one.
    pub(super) fn open(&mut self, worker: WorkerId, connection: RequestId) -> OpenedSession {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        let over = CancellationToken::new();
        self.opened += 1;
        let id = SessionId(self.opened);
        let session = Session {
            id,
            connection,
            outbox: sender,
            _over: over.clone().drop_guard(),
            outputs_sent: BTreeMap::new(),
        };
        // What could not be sent was for the former session.
        self.unreachable.retain(|(there, _)| *there != worker);
        self.sessions.insert(worker, session);
        OpenedSession { id, outbox, over }
    }

    /// Whether this is the worker's session now.
    pub(super) fn is_current(&self, worker: WorkerId, session: SessionId) -> bool {
        self.sessions.get(&worker).is_some_and(|there| there.id == session)
    }

    /// Whether the worker is connected, as far as is known.
    pub(super) fn is_open(&self, worker: WorkerId) -> bool {
        self.sessions.contains_key(&worker)
    }

    /// Ends a session without a word, if there is one, and returns the request that it answered.
    pub(super) fn drop_session(&mut self, worker: WorkerId) -> Option<RequestId> {
        self.sessions.remove(&worker).map(|session| session.connection)
    }

    /// Ends a session and says why, if the worker listens.
    pub(super) fn end(&mut self, worker: WorkerId, reason: &str) {
        if let Some(session) = self.sessions.remove(&worker) {
            let _ = session.outbox.try_send(Outgoing::End(reason.to_string()));
        }
    }

    pub(super) fn end_all(&mut self, reason: &str) {
        let workers: Vec<_> = self.sessions.keys().copied().collect();
        for worker in workers {
            self.end(worker, reason);
        }
    }

    /// Puts a job's map outputs into a worker's outbox, unless it has them.
    pub(super) fn send_outputs(&mut self, worker: WorkerId, table: &Arc<OutputsTable>) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        if session.outputs_sent.insert(table.job, table.version) != Some(table.version) {
            self.send(worker, Outgoing::Outputs(Arc::clone(table)));
        }
    }

    pub(super) fn release(&mut self, worker: WorkerId, job: JobId) {
        if let Some(session) = self.sessions.get_mut(&worker) {
            session.outputs_sent.remove(&job);
        }
        self.send(worker, Outgoing::Release(job));
    }

    /// Never waits: a worker whose outbox is full is unreachable.
    pub(super) fn send(&mut self, worker: WorkerId, message: Outgoing) {
        let Some(session) = self.sessions.get(&worker) else { return };
        match session.outbox.try_send(message) {
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
}
