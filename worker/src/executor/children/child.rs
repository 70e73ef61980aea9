//! One process of a job, as its worker sees it: what runs in it, and what is said to it.

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

/// How long it may take to stop what it was asked to stop. It gives threads up after less.
const CANCEL_GRACE: Duration = Duration::from_secs(3);
/// Messages that an attempt takes at most: split points, context, the outputs to read, and what to
/// do.
const ORDERS_MAX: usize = 4;
/// How long it may take to have room for a message.
const TELL_TIME_MAX: Duration = Duration::from_secs(30);
/// Before it is looked whether it has stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How long it may take to leave after it was asked to.
const END_GRACE: Duration = Duration::from_secs(1);

type Ended = Result<Finished, FailureCause>;

/// A process that has been started, until it is gone.
pub(super) struct Child {
    /// No other process of this worker has the same.
    pub(super) serial: u32,
    pub(super) pid: Pid,
    messages: mpsc::Sender<v1::ToChild>,
    descriptors: Descriptors,
    state: Mutex<State>,
    /// Has it killed.
    pub(super) stop: Stop,
    /// Fires when it is gone and all that ran in it has ended.
    pub(super) gone: CancellationToken,
}

#[derive(Default)]
struct State {
    running: HashMap<AttemptId, Running>,
    /// What it has been told that all tasks need.
    context: Option<Arc<JobContext>>,
    /// Those that the last reduce attempt was given.
    outputs: Option<Arc<Vec<WorkerOutputs>>>,
    outputs_version: u64,
    /// Whether threads go on in it whose attempts were given up.
    has_strays: bool,
    /// Whether it gets nothing new, since it is about to be gone.
    is_ending: bool,
    death: Option<ProcessEnd>,
    /// Of which attempts have run in it.
    tasks: BTreeSet<TaskId>,
}

struct Running {
    progress: Arc<Progress>,
    ended: oneshot::Sender<Ended>,
    /// Where it must have written, if its output is final.
    part: Option<Location>,
    /// Where it may have written what it has skipped.
    quarantine: Option<Location>,
}

/// An attempt that runs in a process; if nobody waits for it any more, it is cancelled.
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
        // Room first, so that orders go out in the order in which they are thought of, or not at
        // all.
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
            tracing::warn!(%attempt, pid = self.pid.as_raw_nonzero(), "a process does not answer; it is killed");
            self.stop.kill();
        }
        // It may have succeeded before it heard of it.
        Ok(stopped.ok().and_then(Result::ok).unwrap_or(Err(FailureCause::Cancelled)))
    }

    /// If it does not listen any more, it is about to be gone. One that reads nothing for long is
    /// not waited for: what runs in it is killed for its silence sooner or later.
    async fn tell(&self, message: Message) {
        let message = v1::ToChild { message: Some(message) };
        if timeout(TELL_TIME_MAX, self.messages.send(message)).await.is_err() {
            tracing::warn!(
                pid = self.pid.as_raw_nonzero(),
                "a process does not take what it is told"
            );
        }
    }

    /// Tells without waiting. Where the process reads so little that there is no room, it will be
    /// killed for not stopping.
    fn cancel(&self, attempt: AttemptId) {
        let message = Some(Message::Order(wire::cancel_to(attempt)));
        let _ = self.messages.try_send(v1::ToChild { message });
    }

    /// Has it delete an output that may be in its memory.
    pub(super) async fn discard_output(&self, attempt: AttemptId) {
        self.tell(Message::DiscardOutput(wire::attempt_to(attempt))).await;
    }

    /// What it is to show from now on.
    pub(super) async fn give_credentials(&self, credentials: v1::ChildCredentials) {
        self.tell(Message::Credentials(credentials)).await;
    }

    /// Hands it a connection, which it serves from then on. After an error, nobody has it.
    pub(super) async fn hand_over(&self, connection: &TcpStream) -> io::Result<()> {
        self.descriptors.send(connection.as_fd()).await
    }

    /// Whether it is gone, or will be in a moment; then returns when it is.
    pub(super) async fn is_ending_soon(&self) -> bool {
        timeout(END_GRACE, self.gone.cancelled()).await.is_ok()
    }

    /// Lets it leave, or sees to it. Returns when it is gone.
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

    /// Ends it without a word. It is [`gone`](Self::gone) soon.
    pub(super) fn kill(&self) {
        self.close();
        self.stop.kill();
    }

    /// Returns when it does nothing more after it was killed, which is before it is
    /// [`gone`](Self::gone) if it has much memory.
    pub(super) async fn stopped(&self) {
        let pid = self.pid;
        let has_stopped = async || spawn_blocking(move || has_stopped(pid)).await.unwrap_or(false);
        while !self.gone.is_cancelled() && !has_stopped().await {
            let _ = timeout(LOOK_AGAIN, self.gone.cancelled()).await;
        }
    }

    /// Listens to it for as long as it speaks.
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
                // As one ends that is killed before it has read all.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = heard {
                // What runs in it ends with it.
                tracing::warn!(
                    pid = self.pid.as_raw_nonzero(),
                    error,
                    "a process of a job makes no sense; it is killed"
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
                // Before anybody hears of it: the process may be gone in a moment.
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

    /// Ends what ran in it, with what it died of; `place` is where user code was, if that is known.
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

    /// What it died of, once it is gone.
    pub(super) fn death(&self) -> Option<ProcessEnd> {
        lock(&self.state).death.clone()
    }

    /// From now on, it gets nothing new.
    pub(super) fn close(&self) {
        lock(&self.state).is_ending = true;
    }

    /// Whether it gets nothing new: it is gone, or about to be.
    pub(super) fn is_ending(&self) -> bool {
        lock(&self.state).is_ending
    }

    /// Whether nothing runs in it but threads of attempts that were given up.
    pub(super) fn has_only_strays(&self) -> bool {
        lock(&self.state).has_only_strays()
    }

    /// Whether nothing runs in it but threads of attempts that were given up. If so, it gets
    /// nothing new.
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
        let store = parts::store(&request.context.staging);
        let location = |kind| store.location(request.attempt, kind);
        Self {
            progress: Arc::clone(progress),
            ended,
            part: writes_part.then(|| location(PartKind::Output)).flatten(),
            quarantine: location(PartKind::BadRecords),
        }
    }

    /// What was written is deleted by name if it is not wanted, and read by the coordinator if it
    /// is.
    fn check(&self, finished: &Finished) -> Result<(), String> {
        let Finished { part, quarantine, .. } = finished;
        if part.as_ref().map(|part| &part.location) != self.part.as_ref() {
            return Err("an output that is not what was asked for".into());
        }
        let is_elsewhere = |file: &&PartHandle| Some(&file.location) != self.quarantine.as_ref();
        match quarantine.as_ref().filter(is_elsewhere) {
            Some(elsewhere) => Err(format!("bad records at {}", elsewhere.location)),
            None => Ok(()),
        }
    }
}

impl State {
    fn has_only_strays(&self) -> bool {
        self.has_strays && self.running.is_empty()
    }

    /// What to tell the process: what it has been told before is left out.
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

    /// What is named is deleted, or published: so it must be the attempt's own, and not only lie
    /// where that does.
    #[test]
    fn a_process_names_no_file_but_that_of_its_attempt() {
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
        let check = |part, quarantine| {
            running.check(&Finished { stats: Stats::default(), part, quarantine }).is_ok()
        };
        let own = "part-00003.2";
        assert!(check(at(own), None) && check(at(own), at("bad-reduce-00003.2")));
        for other in ["part-00003.1", "part-00004.2", "..", "", "bad-reduce-00003.2"] {
            assert!(!check(at(other), None), "{other}");
        }
        assert!(!check(None, None) && !check(at(own), at(own)));
    }
}
