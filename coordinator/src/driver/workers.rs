//! Requests of workers: to join, to return, to report, and to leave.

use std::sync::Arc;

use tokio::sync::oneshot;
use windrow_jobs::{AttemptId, FailureCause, JobId, RecordPlace, WorkerId};
use windrow_scheduler::journal::Epoch;
use windrow_scheduler::{AttemptProgress, AttemptStats, Event, Inventory, RequestId};

use super::catalog::Note;
use super::outgoing::Receipt;
use super::profile::WorkerProfile;
use super::sessions::{Joined, OpenedSession, SessionId};
use super::{Driver, Pending};
use crate::output::{AttemptFiles, Reported};

/// A report of a worker in its session.
pub(crate) enum Report {
    /// The worker is alive; the progress of its attempts.
    Heartbeat {
        running: Vec<AttemptProgress>,
        /// The number to acknowledge.
        sequence: u64,
    },
    /// An attempt has succeeded.
    Done {
        attempt: AttemptId,
        /// The attempt's statistics.
        stats: AttemptStats,
        /// The files that it has written.
        reported: Reported,
    },
    /// An attempt has failed.
    Failed { attempt: AttemptId, cause: FailureCause },
    /// The worker wants to leave.
    Draining,
    /// The processes of a job that was released with this ticket have ended.
    Released { job: JobId, ticket: u64 },
    /// Map outputs that the worker held are lost.
    OutputsLost { outputs: Vec<AttemptId> },
}

/// How a session has ended.
pub(crate) enum SessionEnd {
    /// For good: the worker has left, or has sent an invalid message.
    Left(String),
    /// The connection broke: the worker may return.
    Broken(String),
}

/// The message of a worker that had a session before.
#[derive(Debug)]
pub(crate) struct Returning {
    /// The worker's id then.
    pub(crate) worker: WorkerId,
    /// The cluster that gave the id.
    pub(crate) cluster: String,
    /// The highest epoch that the worker has seen there.
    pub(crate) epoch: Epoch,
    /// The worker's attempts and outputs.
    pub(crate) inventory: Inventory,
}

/// Why a worker gets no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// Another process works in the same folder.
    #[error(
        "{worker} (\"{}\") already works in that folder on that host; give each worker its own --dir",
        windrow_jobs::one_line(name)
    )]
    AlreadyThere {
        /// The other worker's id.
        worker: WorkerId,
        /// The other worker's name.
        name: String,
    },
    /// Another process has shown a certificate of the same name.
    #[error(
        "{worker} (\"{}\") already has the certificate of {identity}; give each worker its own join token, and do not copy its folder",
        windrow_jobs::one_line(name)
    )]
    SameIdentity {
        /// The other worker's id.
        worker: WorkerId,
        /// The other worker's name.
        name: String,
        /// The name in the certificate.
        identity: String,
    },
    /// The worker has spoken with this coordinator's successor.
    #[error("this coordinator ({ours}) has been replaced by another one ({theirs})")]
    Replaced {
        /// This coordinator's epoch.
        ours: Epoch,
        /// The successor's epoch.
        theirs: Epoch,
    },
}

/// Answers a worker that waits for a session.
pub(super) type JoinReply = oneshot::Sender<Result<Joined, JoinError>>;

impl Driver {
    /// A worker that reports its state and proves its identity gets its session back. Any other
    /// joins as new.
    pub(super) fn open_session(
        &mut self,
        profile: WorkerProfile,
        returning: Option<Returning>,
        reply: JoinReply,
    ) {
        let ours = returning.filter(|of| of.cluster == self.catalog().cluster.to_string());
        if let Some(Returning { epoch, .. }) = ours
            && epoch > self.decider.epoch()
        {
            let replaced = JoinError::Replaced { ours: self.decider.epoch(), theirs: epoch };
            let _ = reply.send(Err(replaced));
            return;
        }
        let known = ours.filter(|of| {
            let there = self.catalog().worker(of.worker);
            there.is_some_and(|there| there.is_same_process(&profile))
        });
        match known {
            Some(Returning { worker, inventory, .. }) => {
                // Messages in flight on the old connection are lost.
                self.sessions.drop_session(worker);
                let request = self.wait_for_answer(Pending::Return(Box::new(profile), reply));
                self.handle(Event::WorkerReturned { request, worker, inventory });
            }
            None => self.join(profile, reply),
        }
    }

    fn join(&mut self, profile: WorkerProfile, reply: JoinReply) {
        let rivals = self.catalog().rivals(&profile);
        let is_there = |(worker, there): &&(WorkerId, Arc<WorkerProfile>)| {
            there.instance != profile.instance && self.sessions.is_open(*worker)
        };
        if let Some((worker, there)) = rivals.iter().find(is_there) {
            let (worker, name) = (*worker, there.name.clone());
            let refusal = match &profile.identity {
                Some(identity) if there.has_same_identity(&profile) => {
                    JoinError::SameIdentity { worker, name, identity: identity.clone() }
                }
                _ => JoinError::AlreadyThere { worker, name },
            };
            let _ = reply.send(Err(refusal));
            return;
        }
        for (worker, _) in rivals {
            // Either the same process without its state, or the successor of a dead one.
            self.leave(worker, "another worker has replaced it".to_string());
        }
        let offer = profile.offer();
        let note = Note::Worker(Arc::new(profile));
        let request = self.wait_for_answer(Pending::Join(reply));
        self.handle_noted(Event::WorkerJoined { request, offer }, note);
    }

    pub(super) fn admitted(&mut self, request: RequestId, worker: WorkerId) {
        let (reply, returned) = match self.pending.remove(&request) {
            Some(Pending::Join(reply)) => (reply, false),
            Some(Pending::Return(_, reply)) => (reply, true),
            _ => return,
        };
        // A worker that has left since it was admitted gets no session. Its reply is dropped, so
        // that it retries.
        let Some(profile) = self.catalog().worker(worker).cloned() else { return };
        let WorkerProfile { name, threads, memory_bytes, .. } = &*profile;
        let how = if returned { "is back" } else { "joined" };
        tracing::info!(%worker, ?name, threads, memory_bytes, "worker {how}");
        let OpenedSession { id: session, host, outbox, over } =
            self.sessions.open(worker, &profile, request);
        let (cluster, epoch) = (self.catalog().cluster, self.decider.epoch());
        let joined = Joined { worker, session, cluster, epoch, returned, host, outbox, over };
        // If the caller has disconnected, the outbox is closed, and the next message finds the
        // worker unreachable.
        let _ = reply.send(Ok(joined));
        self.release_again(worker);
    }

    pub(super) fn too_late(&mut self, request: RequestId) {
        if let Some(Pending::Return(profile, reply)) = self.pending.remove(&request) {
            self.join(*profile, reply);
        }
    }

    /// Reports of a stale session are dropped: the worker repeats them in its next session if they
    /// matter.
    pub(super) fn report(&mut self, worker: WorkerId, session: SessionId, report: Report) {
        if !self.sessions.is_current(worker, session) {
            return;
        }
        match report {
            Report::Heartbeat { running, sequence } => {
                for progress in &running {
                    self.jobs.changed(progress.attempt.task.job);
                }
                self.handle(Event::Heartbeat { worker, running });
                if self.scheduler().worker(worker).is_some() {
                    self.sessions.answer(worker, Receipt::HeartbeatAck(sequence));
                }
            }
            Report::Draining => self.handle(Event::WorkerDraining { worker }),
            Report::Done { attempt, stats, reported } => {
                self.done(worker, attempt, stats, reported);
            }
            Report::Released { job, ticket } => self.released(worker, job, ticket),
            Report::OutputsLost { outputs } => {
                tracing::warn!(%worker, outputs = outputs.len(), "map outputs lost");
                self.handle(Event::OutputsLost { worker, outputs });
            }
            Report::Failed { attempt, cause } => {
                if cause != FailureCause::Cancelled {
                    let cause = windrow_jobs::one_line(&cause.to_string());
                    tracing::warn!(%attempt, %worker, %cause, "attempt failed");
                }
                self.handle(Event::AttemptFailed { worker, attempt, cause });
            }
        }
    }

    fn done(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        stats: AttemptStats,
        reported: Reported,
    ) {
        match self.believed(attempt, reported) {
            Ok(written) => {
                let done = Event::AttemptDone { worker, attempt, stats };
                self.handle_noted(done, Note::Written(written));
            }
            // Otherwise the job would fail only at its publication.
            Err(message) => {
                let cause = FailureCause::UserError { place: RecordPlace::default(), message };
                self.handle(Event::AttemptFailed { worker, attempt, cause });
            }
        }
    }

    /// The files of an attempt; none of a job that is over.
    fn believed(&self, attempt: AttemptId, reported: Reported) -> Result<AttemptFiles, String> {
        let Some(work) = self.catalog().work(attempt.task.job) else {
            return Ok(AttemptFiles::default());
        };
        if work.plan.partitions == 0 && reported.part.is_none() {
            let missing =
                "its worker reported success without the part that it should have written";
            return Err(missing.into());
        }
        let believed = AttemptFiles::believed(attempt, reported, &work.staging());
        believed.map_err(|error| error.to_string())
    }

    pub(super) fn session_ended(&mut self, worker: WorkerId, session: SessionId, end: SessionEnd) {
        let is_current = self.sessions.is_current(worker, session);
        match end {
            // The connection may have been noticed as broken before; but the worker must not have
            // returned.
            SessionEnd::Left(reason) if is_current || !self.sessions.is_open(worker) => {
                self.leave(worker, reason);
            }
            SessionEnd::Broken(reason) if is_current => self.disconnect(worker, &reason),
            _ => {}
        }
    }

    /// A worker is gone for good. The scheduler decides what follows.
    fn leave(&mut self, worker: WorkerId, reason: String) {
        self.sessions.drop_session(worker);
        if let Some(profile) = self.catalog().worker(worker) {
            tracing::info!(%worker, name = ?profile.name, ?reason, "worker left");
        }
        self.handle(Event::WorkerLeft { worker, reason });
        self.release_nothing(worker);
    }

    /// A worker's connection broke; it may return.
    pub(super) fn disconnect(&mut self, worker: WorkerId, reason: &str) {
        if let Some(connection) = self.sessions.drop_session(worker) {
            tracing::info!(%worker, ?reason, "connection to a worker broke");
            self.handle(Event::WorkerDisconnected { worker, connection });
        }
    }

    /// A worker's lease has expired.
    pub(super) fn end_session(&mut self, worker: WorkerId, reason: &str) {
        tracing::warn!(%worker, %reason, "worker lost");
        self.sessions.end(worker, reason);
        self.release_nothing(worker);
    }
}
