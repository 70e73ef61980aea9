//! One process of a job, as its worker sees it: its attempts, and the messages to it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{
    AttemptId, FailureCause, Location, PartHandle, PartKind, RecordPlace, StageId, TaskId,
};
use windrow_proto::v1;
use windrow_proto::v1::to_child::Message;

use super::family::has_stopped;
use super::job::ChildrenOfJob;
use super::life::{ProcessEnd, Stop};
use crate::channel::{Descriptors, MessageReader};
use crate::model::{Finished, JobContext, Progress, RunRequest, Work, WorkerOutputs};
use crate::parts;
use crate::sync::lock;
use crate::wire;

/// How long an attempt may take to stop after it was cancelled. The process abandons its threads
/// after less.
const CANCEL_GRACE: Duration = Duration::from_secs(3);
/// Most messages for one attempt: split points, context, the outputs to read, and the work.
const ORDERS_MAX: usize = 4;
/// How long a message may wait for room.
const TELL_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause between checks whether it has stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How long it may take to leave after it was asked to.
const END_GRACE: Duration = Duration::from_secs(1);

type Ended = Result<Finished, FailureCause>;

/// A started process, until it is gone.
pub(super) struct Child {
    /// Unique among the processes of this worker.
    pub(super) serial: u32,
    pub(super) pid: Pid,
    messages: mpsc::Sender<v1::ToChild>,
    descriptors: Descriptors,
    state: Mutex<State>,
    /// Kills it.
    pub(super) stop: Stop,
    /// Fires when it is gone and all its attempts have ended.
    pub(super) gone: CancellationToken,
}

#[derive(Default)]
struct State {
    running: HashMap<AttemptId, Running>,
    /// The job context that it was last sent.
    context: Option<Arc<JobContext>>,
    /// The map outputs that the last reduce attempt was given.
    outputs: Option<Arc<Vec<WorkerOutputs>>>,
    outputs_version: u64,
    /// Whether threads of abandoned attempts are still running in it.
    has_strays: bool,
    /// Whether it gets no new attempts, since it is about to be gone.
    is_ending: bool,
    death: Option<ProcessEnd>,
    /// The tasks of which attempts have run in it.
    tasks: BTreeSet<TaskId>,
}

struct Running {
    progress: Arc<Progress>,
    ended: oneshot::Sender<Ended>,
    /// Where its part must be, if its output is final.
    part: Option<Location>,
    /// Where its file of bad records may be.
    bad_records: Option<Location>,
}

/// An attempt that runs in a process. Dropping this cancels it.
struct Ticket<'a> {
    child: &'a Child,
    attempt: AttemptId,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if lock(&self.child.state).running.remove(&self.attempt).is_some() {
            self.child.cancel(self.attempt);
        }
    }
}

impl Child {
    pub(super) fn new(
        serial: u32,
        pid: Pid,
        messages: mpsc::Sender<v1::ToChild>,
        descriptors: Descriptors,
    ) -> Self {
        let (state, stop, gone) = Default::default();
        Self { serial, pid, messages, descriptors, state, stop, gone }
    }

    /// Runs an attempt in it. Gives the request back if the process was gone before, or about to
    /// be.
    pub(super) async fn run(
        &self,
        request: RunRequest,
        progress: &Arc<Progress>,
        cancel: &CancellationToken,
    ) -> Result<Ended, RunRequest> {
        let attempt = request.attempt;
        // Reserves room first, so that all orders of an attempt are sent, in order, or none.
        let room = tokio::select! {
            room = self.messages.reserve_many(ORDERS_MAX) => room,
            () = cancel.cancelled() => return Ok(Err(FailureCause::Cancelled)),
            () = self.gone.cancelled() => return Err(request),
        };
        let Ok(room) = room else { return Err(request) };
        let (ended, mut end) = oneshot::channel();
        {
            let mut state = lock(&self.state);
            if state.is_ending {
                return Err(request);
            }
            state.running.insert(attempt, Running::new(&request, progress, ended));
            state.tasks.insert(attempt.task);
            let orders = state.orders(&request).into_iter().map(Message::Order);
            for (room, order) in room.zip(orders) {
                room.send(v1::ToChild { message: Some(order) });
            }
        }
        let _ticket = Ticket { child: self, attempt };
        tokio::select! {
            ended = &mut end => return Ok(ended.unwrap_or(Err(FailureCause::Cancelled))),
            () = cancel.cancelled() => {}
        }
        self.cancel(attempt);
        let stopped = timeout(CANCEL_GRACE, &mut end).await;
        if stopped.is_err() {
            tracing::warn!(%attempt, pid = self.pid.as_raw_nonzero(), "a process does not answer; killing it");
            self.stop.kill();
        }
        // The attempt may have succeeded before the cancellation arrived.
        Ok(stopped.ok().and_then(Result::ok).unwrap_or(Err(FailureCause::Cancelled)))
    }

    /// A process that does not receive any more is about to be gone. A process that reads nothing
    /// for long is not waited for: it is killed for its silence sooner or later.
    async fn tell(&self, message: Message) {
        let message = v1::ToChild { message: Some(message) };
        if timeout(TELL_TIME_MAX, self.messages.send(message)).await.is_err() {
            tracing::warn!(pid = self.pid.as_raw_nonzero(), "a process does not read its messages");
        }
    }

    /// Sends without waiting. If the queue is full, the process will be killed for not stopping.
    fn cancel(&self, attempt: AttemptId) {
        let message = Some(Message::Order(wire::cancel_to(attempt)));
        let _ = self.messages.try_send(v1::ToChild { message });
    }

    /// Makes it delete an output that may be in its memory.
    pub(super) async fn discard_output(&self, attempt: AttemptId) {
        self.tell(Message::DiscardOutput(wire::attempt_to(attempt))).await;
    }

    /// Sends the credentials that it uses from now on.
    pub(super) async fn give_credentials(&self, credentials: v1::ChildCredentials) {
        self.tell(Message::Credentials(credentials)).await;
    }

    /// Hands it a connection, which it serves from then on. After an error, the connection is
    /// closed.
    pub(super) async fn hand_over(&self, connection: &TcpStream) -> io::Result<()> {
        self.descriptors.send(connection.as_fd()).await
    }

    /// Whether it is gone, or will be in a moment; returns when it is.
    pub(super) async fn is_ending_soon(&self) -> bool {
        timeout(END_GRACE, self.gone.cancelled()).await.is_ok()
    }

    /// Asks it to leave, and kills it if it does not. Returns when it is gone.
    pub(super) async fn end(&self) {
        self.close();
        self.stop.expect_end();
        let leaves = async {
            self.tell(Message::End(v1::ChildEnd {})).await;
            self.gone.cancelled().await;
        };
        if timeout(END_GRACE, leaves).await.is_err() {
            self.stop.kill();
        }
        self.gone.cancelled().await;
    }

    /// Kills it without warning. It is [`gone`](Self::gone) soon.
    pub(super) fn kill(&self) {
        self.close();
        self.stop.kill();
    }

    /// Returns when a killed process runs no more code, which is before it is [`gone`](Self::gone)
    /// if it has much memory.
    pub(super) async fn stopped(&self) {
        let pid = self.pid;
        let has_stopped = async || spawn_blocking(move || has_stopped(pid)).await.unwrap_or(false);
        while !self.gone.is_cancelled() && !has_stopped().await {
            let _ = timeout(LOOK_AGAIN, self.gone.cancelled()).await;
        }
    }

    /// Receives its messages until it closes the stream.
    pub(super) async fn listen(
        &self,
        job: &ChildrenOfJob,
        mut reader: MessageReader<v1::FromChild>,
    ) {
        use v1::from_child::Message;
        loop {
            let heard = match reader.next().await {
                Ok(Some(v1::FromChild { message: Some(message) })) => match message {
                    Message::Ready(_) => Ok(()),
                    Message::Progress(progress) => {
                        self.note_progress(progress);
                        Ok(())
                    }
                    Message::Report(report) => self.note_end(job, report),
                },
                Ok(Some(v1::FromChild { message: None })) => Ok(()),
                Ok(None) => return,
                // A process that is killed with unread messages closes the stream like this.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = heard {
                // All its attempts end with it.
                tracing::warn!(
                    pid = self.pid.as_raw_nonzero(),
                    error,
                    "a process of a job has sent an invalid message; killing it"
                );
                return self.stop.condemn();
            }
        }
    }

    fn note_progress(&self, heartbeat: v1::Heartbeat) {
        let state = lock(&self.state);
        for (attempt, progress) in wire::progress_from(heartbeat) {
            if let Some(running) = state.running.get(&attempt) {
                running.progress.follow(&progress);
            }
        }
    }

    fn note_end(&self, job: &ChildrenOfJob, report: v1::ChildReport) -> Result<(), String> {
        let v1::ChildReport { report, has_strays } = report;
        let (attempt, ended) =
            wire::report_from(report.unwrap_or_default()).map_err(|error| error.to_string())?;
        let mut state = lock(&self.state);
        state.has_strays |= has_strays;
        let is_output = attempt.task.stage == StageId::MAP
            && ended.as_ref().is_ok_and(|finished| finished.part.is_none());
        if let (Some(running), Ok(finished)) = (state.running.get(&attempt), &ended) {
            running.check(finished)?;
        }
        match state.running.remove(&attempt) {
            Some(running) => {
                // Noted before it is reported: the process may be gone in a moment.
                if is_output {
                    job.note_output(attempt, self.serial);
                }
                let _ = running.ended.send(ended);
            }
            None if is_output => {
                let message = Some(Message::DiscardOutput(wire::attempt_to(attempt)));
                let _ = self.messages.try_send(v1::ToChild { message });
            }
            None => {}
        }
        Ok(())
    }

    /// Ends its attempts with the cause of its death; `place` is where user code was, if that is
    /// known.
    pub(super) fn note_death(&self, death: &ProcessEnd, place: &RecordPlace) {
        let mut state = lock(&self.state);
        state.is_ending = true;
        state.death = Some(death.clone());
        let alone = state.running.len() == 1 && !state.has_strays;
        for (_, running) in state.running.drain() {
            let _ = running.ended.send(Err(death.cause(alone, place)));
        }
        drop(state);
        self.gone.cancel();
    }

    /// The tasks of which attempts have run in it.
    pub(super) fn tasks(&self) -> BTreeSet<TaskId> {
        lock(&self.state).tasks.clone()
    }

    /// The cause of its end, once it is gone.
    pub(super) fn death(&self) -> Option<ProcessEnd> {
        lock(&self.state).death.clone()
    }

    /// From now on, it gets no new attempts.
    pub(super) fn close(&self) {
        lock(&self.state).is_ending = true;
    }

    /// Whether it gets no new attempts: it is gone, or about to be.
    pub(super) fn is_ending(&self) -> bool {
        lock(&self.state).is_ending
    }

    /// Whether only threads of abandoned attempts run in it.
    pub(super) fn has_only_strays(&self) -> bool {
        lock(&self.state).has_only_strays()
    }

    /// Whether only threads of abandoned attempts run in it. If so, it gets no new attempts.
    pub(super) fn close_if_only_strays(&self) -> bool {
        let mut state = lock(&self.state);
        let only_strays = state.has_only_strays();
        state.is_ending |= only_strays;
        only_strays
    }
}

impl Running {
    fn new(request: &RunRequest, progress: &Arc<Progress>, ended: oneshot::Sender<Ended>) -> Self {
        let writes_part =
            request.attempt.task.stage == StageId::REDUCE || request.context.partitions == 0;
        // In a store that this worker does not have, no process can have written anything.
        let store = parts::store(&request.context.staging).ok();
        let location = |kind| store.as_ref()?.location(request.attempt, kind);
        Self {
            progress: Arc::clone(progress),
            ended,
            part: writes_part.then(|| location(PartKind::Output)).flatten(),
            bad_records: location(PartKind::BadRecords),
        }
    }

    /// Written files are deleted by name if they are not wanted, and read by the coordinator if
    /// they are.
    fn check(&self, finished: &Finished) -> Result<(), String> {
        let Finished { part, bad_records, .. } = finished;
        if part.as_ref().map(|part| &part.location) != self.part.as_ref() {
            return Err("an output of another kind than it was asked for".into());
        }
        let is_elsewhere = |file: &&PartHandle| Some(&file.location) != self.bad_records.as_ref();
        match bad_records.as_ref().filter(is_elsewhere) {
            Some(elsewhere) => Err(format!("bad records at {}", elsewhere.location)),
            None => Ok(()),
        }
    }
}

impl State {
    fn has_only_strays(&self) -> bool {
        self.has_strays && self.running.is_empty()
    }

    /// The messages for an attempt, without what the process has been sent before.
    fn orders(&mut self, request: &RunRequest) -> Vec<v1::CoordinatorMessage> {
        let mut orders = Vec::new();
        let (job, context) = (request.attempt.task.job, &request.context);
        if !self.context.as_ref().is_some_and(|told| Arc::ptr_eq(told, context)) {
            self.context = Some(Arc::clone(context));
            orders.extend(wire::split_points_to(job, context));
            orders.push(wire::context_to(job, context));
        }
        if let Work::Reduce(outputs) = &request.work
            && !self.outputs.as_ref().is_some_and(|told| Arc::ptr_eq(told, outputs))
        {
            self.outputs = Some(Arc::clone(outputs));
            self.outputs_version += 1;
            orders.push(wire::outputs_to(job, self.outputs_version, outputs));
        }
        orders.push(wire::run_to(request, self.outputs_version));
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stats;
    use crate::shuffle::store::SegmentStore;
    use crate::testing::{self, attempt_id};

    /// A reported file is deleted or published: so it must be the attempt's own, and not merely in
    /// the same folder.
    #[test]
    fn a_process_can_only_report_files_of_its_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SegmentStore::new(folder.path().to_path_buf(), 0));
        let context = testing::attempt(Default::default(), &store, folder.path(), 1).context;
        let request = RunRequest {
            attempt: attempt_id(StageId::REDUCE, 3, 2),
            context,
            work: Work::Reduce(Arc::default()),
            alone: false,
            skip: Vec::new(),
        };
        let running = Running::new(&request, &Arc::default(), oneshot::channel().0);
        let at = |name: &str| {
            let location = Location::of_path(&folder.path().join(name)).unwrap();
            Some(PartHandle { location, bytes: 0, records: 0, crc64: 0, upload: None })
        };
        let check = |part, bad_records| {
            running.check(&Finished { stats: Stats::default(), part, bad_records }).is_ok()
        };
        let own = "part-00003.2";
        assert!(check(at(own), None) && check(at(own), at("bad-reduce-00003.2")));
        for other in ["part-00003.1", "part-00004.2", "..", "", "bad-reduce-00003.2"] {
            assert!(!check(at(other), None), "{other}");
        }
        assert!(!check(None, None) && !check(at(own), at(own)));
    }
}
