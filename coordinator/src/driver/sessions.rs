//! The open sessions: their outboxes, and what was sent through them.
//!
//! A session has two lanes. Orders are sent in sequence, large ones in fragments; receipts overtake
//! all waiting orders, so that no lease expires behind the map outputs of a large job. A session
//! ends with its connection, and the worker may open another one later. The rest of its outbox is
//! dropped: the worker's orders are sent again when it returns.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::RequestId;
use windrow_scheduler::journal::Epoch;

use super::hosts::Hosts;
use super::outgoing::{Outgoing, Receipt, Shared};
use super::profile::WorkerProfile;
use crate::journal::ClusterId;

/// Messages that may wait for a worker beside those of its slots. A worker with more does not read
/// at all.
const OUTBOX_MIN: usize = 1_024;
/// Messages that one slot may cause at once: the context of its attempt, the attempt, its end, and
/// the next attempt.
const MESSAGES_PER_SLOT: usize = 4;

/// Tells the sessions of a worker apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u64);

/// A session that has been opened.
pub(crate) struct Joined {
    pub(crate) worker: WorkerId,
    pub(crate) session: SessionId,
    /// The cluster that has given the ids.
    pub(crate) cluster: ClusterId,
    /// The coordinator's epoch.
    pub(crate) epoch: Epoch,
    /// Whether the worker's former session is resumed; otherwise all its attempts and outputs are
    /// lost.
    pub(crate) returned: bool,
    /// The number of the worker's machine in map outputs; 0 if unknown.
    pub(crate) host: u32,
    /// The messages to send.
    pub(crate) outbox: Outbox,
    /// Fires when the session is over.
    pub(crate) over: CancellationToken,
}

/// The messages to a worker.
pub(crate) struct Outbox {
    /// These are sent first.
    pub(crate) receipts: mpsc::Receiver<Receipt>,
    /// These are sent in order; their end is the end of the session.
    pub(crate) orders: mpsc::Receiver<Outgoing>,
}

struct Session {
    id: SessionId,
    /// The request that the session answered.
    connection: RequestId,
    orders: mpsc::Sender<Outgoing>,
    receipts: mpsc::Sender<Receipt>,
    _over: DropGuard,
    /// The worker's machine.
    host: String,
    told: BTreeMap<JobId, Told>,
}

/// What a worker was sent of a job in a session.
#[derive(Default)]
pub(super) struct Told {
    /// Whether the context was sent.
    pub(super) context: bool,
    /// Whether the split points were sent.
    pub(super) split_points: bool,
    /// The version of the map outputs that was sent.
    pub(super) outputs: Option<u64>,
}

/// All open sessions.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<WorkerId, Session>,
    hosts: Hosts,
    opened: u64,
    unreachable: Vec<(WorkerId, &'static str)>,
}

/// The worker's end of a new session.
pub(super) struct OpenedSession {
    pub(super) id: SessionId,
    pub(super) host: u32,
    pub(super) outbox: Outbox,
    pub(super) over: CancellationToken,
}

impl Sessions {
    /// Opens a session, which replaces the worker's former one.
    pub(super) fn open(
        &mut self,
        worker: WorkerId,
        profile: &WorkerProfile,
        connection: RequestId,
    ) -> OpenedSession {
        self.drop_session(worker);
        let slots = profile.map_slots as usize + profile.reduce_slots as usize;
        let room = OUTBOX_MIN + slots * MESSAGES_PER_SLOT;
        let (orders, orders_out) = mpsc::channel(room);
        let (receipts, receipts_out) = mpsc::channel(room);
        let over = CancellationToken::new();
        self.opened += 1;
        let id = SessionId(self.opened);
        let host = self.hosts.add(&profile.host);
        let session = Session {
            id,
            connection,
            orders,
            receipts,
            _over: over.clone().drop_guard(),
            host: profile.host.clone(),
            told: BTreeMap::new(),
        };
        // The failed messages belonged to the former session.
        self.unreachable.retain(|(there, _)| *there != worker);
        self.sessions.insert(worker, session);
        let outbox = Outbox { receipts: receipts_out, orders: orders_out };
        OpenedSession { id, host, outbox, over }
    }

    /// Whether this is the worker's current session.
    pub(super) fn is_current(&self, worker: WorkerId, session: SessionId) -> bool {
        self.sessions.get(&worker).is_some_and(|there| there.id == session)
    }

    /// Whether the worker has a session, as far as is known.
    pub(super) fn is_open(&self, worker: WorkerId) -> bool {
        self.sessions.contains_key(&worker)
    }

    /// The machines of all workers that have sessions.
    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Drops a session without an order to the worker, if there is one, and returns the request
    /// that it answered.
    pub(super) fn drop_session(&mut self, worker: WorkerId) -> Option<RequestId> {
        let session = self.remove(worker)?;
        Some(session.connection)
    }

    /// Ends a session, and tells the worker why if possible.
    pub(super) fn end(&mut self, worker: WorkerId, reason: &str) {
        if let Some(session) = self.remove(worker) {
            let _ = session.orders.try_send(Outgoing::End(reason.to_string()));
        }
    }

    fn remove(&mut self, worker: WorkerId) -> Option<Session> {
        let session = self.sessions.remove(&worker)?;
        self.hosts.remove(&session.host);
        Some(session)
    }

    pub(super) fn end_all(&mut self, reason: &str) {
        let workers: Vec<_> = self.sessions.keys().copied().collect();
        for worker in workers {
            self.end(worker, reason);
        }
    }

    /// What a worker was sent of a job, if it has a session.
    pub(super) fn told(&mut self, worker: WorkerId, job: JobId) -> Option<&mut Told> {
        let session = self.sessions.get_mut(&worker)?;
        Some(session.told.entry(job).or_default())
    }

    /// Sends a message that many workers get.
    pub(super) fn send_shared(&mut self, worker: WorkerId, shared: &Arc<Shared>) {
        self.send(worker, Outgoing::Shared(Arc::clone(shared)));
    }

    /// Orders a worker to end a job's processes and delete its files. The worker answers with the
    /// ticket, if there is one, when it has.
    pub(super) fn release(&mut self, worker: WorkerId, job: JobId, ticket: Option<u64>) {
        if let Some(session) = self.sessions.get_mut(&worker) {
            session.told.remove(&job);
        }
        self.send(worker, Outgoing::Release { job, ticket });
    }

    /// Never waits: a worker whose outbox is full is unreachable.
    pub(super) fn send(&mut self, worker: WorkerId, order: Outgoing) {
        if let Some(session) = self.sessions.get(&worker) {
            let sent = session.orders.try_send(order).map_err(|error| unsent(&error));
            self.unreachable.extend(sent.err().map(|why| (worker, why)));
        }
    }

    /// Answers a report. Never waits, as [`send`](Self::send).
    pub(super) fn answer(&mut self, worker: WorkerId, receipt: Receipt) {
        if let Some(session) = self.sessions.get(&worker) {
            let sent = session.receipts.try_send(receipt).map_err(|error| unsent(&error));
            self.unreachable.extend(sent.err().map(|why| (worker, why)));
        }
    }

    /// The next worker to which a message could not be sent.
    pub(super) fn next_unreachable(&mut self) -> Option<(WorkerId, &'static str)> {
        self.unreachable.pop()
    }
}

fn unsent<T>(error: &mpsc::error::TrySendError<T>) -> &'static str {
    match error {
        mpsc::error::TrySendError::Full(_) => "it does not read its messages",
        mpsc::error::TrySendError::Closed(_) => "its connection was closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_holds_the_messages_of_all_slots_and_is_bounded() {
        let profile = WorkerProfile { reduce_slots: 4_096, ..WorkerProfile::for_test() };
        let slots = 4_096 + WorkerProfile::for_test().map_slots as usize;
        let (worker, mut sessions) = (WorkerId(1), Sessions::default());
        let opened = sessions.open(worker, &profile, RequestId(1));
        let release = Outgoing::Release { job: JobId(1), ticket: None };
        for _ in 0..MESSAGES_PER_SLOT * slots {
            sessions.send(worker, release.clone());
            sessions.answer(worker, Receipt::HeartbeatAck(1));
        }
        assert_eq!(sessions.next_unreachable(), None);
        // Beside them, messages that concern no slot.
        (0..OUTBOX_MIN).for_each(|_| sessions.send(worker, release.clone()));
        assert_eq!(sessions.next_unreachable(), None);
        sessions.send(worker, release);
        let why = sessions.next_unreachable();
        assert_eq!(why, Some((worker, "it does not read its messages")));
        drop(opened);
    }
}
