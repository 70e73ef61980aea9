//! Obeys the worker: runs attempts, and reports their progress and their ends.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, FailureCause, JobId, JobIdentity, Registry};
use windrow_proto::v1;
use windrow_proto::v1::from_child::Message as Said;
use windrow_proto::v1::to_child::Message as Heard;
use windrow_security::{LocalUsers, Tls};

use super::end;
use crate::channel::{MessageReader, MessageWriter, TO_CHILD_BYTES_MAX, receive_descriptor, split};
use crate::executor::{ExecutorConfig, InProcess};
use crate::model::{Finished, Progress, RunRequest};
use crate::orphans::Orphans;
use crate::shuffle::FetchTimeouts;
use crate::shuffle::transport::{ShuffleServer, ShuffleTls};
use crate::wire::{self, Order};
use crate::wire::{AnnouncedJob, Reader};

/// How often progress is reported to the worker.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How often orphans of user code are reaped.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// How long attempts get to remove their temporary files when the job is over. The worker waits a
/// little longer.
const END_GRACE: Duration = Duration::from_millis(700);

/// Messages and connections that may be queued.
const WAITING_MAX: usize = 64;

type Ended = (AttemptId, Result<Finished, FailureCause>);

/// The state of this process.
struct Serving {
    job: JobIdentity,
    /// `None` in an open cluster.
    tls: Option<Tls>,
    executor: Arc<InProcess>,
    server: ShuffleServer,
    writer: MessageWriter<v1::FromChild>,
    running: HashMap<AttemptId, Running>,
    tasks: JoinSet<Ended>,
    /// What the worker has announced of the job.
    announced: AnnouncedJob,
    /// The identity under which this process reads map outputs.
    reader: Reader,
}

struct Running {
    progress: Arc<Progress>,
    cancel: CancellationToken,
}

/// Serves the worker at the other end of `stream`, and other workers on connections received on
/// `socket`, until the worker asks for the end, or is gone.
pub(super) async fn serve(
    socket: OwnedFd,
    stream: UnixStream,
    registry: Arc<Registry>,
    orphans: Arc<Orphans>,
) -> io::Result<()> {
    let (mut reader, writer) = split::<v1::ToChild, v1::FromChild>(stream, TO_CHILD_BYTES_MAX);
    let Some(v1::ToChild { message: Some(Heard::Start(start)) }) = reader.next().await? else {
        return Err(senseless("it says nothing of the job"));
    };
    let mut serving = Serving::new(start, registry, writer)?;
    serving.say(Said::Ready(v1::ChildReady {})).await?;
    let mut messages = messages(reader);
    let mut connections = connections(socket)?;
    let mut progress = interval(PROGRESS_INTERVAL);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reaping = interval(REAP_INTERVAL);
    reaping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(Heard::End(_)) => {
                    serving.end().await;
                    return Ok(());
                }
                Some(message) => serving.obey(message)?,
                None => return Ok(()),
            },
            Some(connection) = connections.recv() => serving.server.serve(serving.job, connection),
            Some(ended) = serving.tasks.join_next() => serving.report(ended).await?,
            _ = progress.tick() => serving.tell_progress().await?,
            _ = reaping.tick() => {
                // This closure's thread never ends for idleness, so there always is one.
                let orphans = Arc::clone(&orphans);
                tokio::task::spawn_blocking(move || orphans.reap());
            }
        }
    }
}

/// The worker's messages, each read whole by a task of its own: reading is not cancel safe.
fn messages(mut reader: MessageReader<v1::ToChild>) -> mpsc::Receiver<Heard> {
    let (sender, messages) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        while let Ok(Some(v1::ToChild { message: Some(message) })) = reader.next().await {
            if sender.send(message).await.is_err() {
                break;
            }
        }
    });
    messages
}

/// The connections received on `socket`, by a thread of its own.
fn connections(socket: OwnedFd) -> io::Result<mpsc::Receiver<TcpStream>> {
    let (sender, connections) = mpsc::channel(WAITING_MAX);
    let runtime = tokio::runtime::Handle::current();
    let take = move || {
        let _on_runtime = runtime.enter();
        while let Ok(Some(descriptor)) = receive_descriptor(&socket) {
            let connection = StdTcpStream::from(descriptor);
            let prepared = connection.set_nonblocking(true);
            // A connection that cannot be used is closed, which its other end notices.
            if let Ok(connection) = prepared.and_then(|()| TcpStream::from_std(connection))
                && sender.blocking_send(connection).is_err()
            {
                break;
            }
        }
        // The worker is gone. This thread notices even if user code starves all others.
        let _ = end();
    };
    std::thread::Builder::new().name("windrow-connections".into()).spawn(take)?;
    Ok(connections)
}

impl Serving {
    fn new(
        start: v1::ChildStart,
        registry: Arc<Registry>,
        writer: MessageWriter<v1::FromChild>,
    ) -> io::Result<Self> {
        let files = start.files.into_iter().map(|file| (file.name, file.path.into()));
        windrow_jobs::side_files::set_side_files(files);
        let job = JobIdentity::from_bytes(&start.identity);
        let job = job.ok_or_else(|| senseless("the job has no identity"))?;
        let credentials = start.credentials.map(wire::credentials_from).transpose();
        let tls = credentials.and_then(|found| found.map(Tls::new).transpose());
        let tls = tls.map_err(senseless)?;
        // The worker's own machine has the same name: see `outputs_to`.
        let users = LocalUsers::from_numbers(start.users.map(|users| users.numbers));
        let open = || ShuffleTls::OfUsers(users);
        let reader = Reader { host_number: 1, host: start.host.clone(), ..Reader::default() };
        let config = ExecutorConfig {
            threads: start.threads as usize,
            memory_bytes: start.memory_bytes,
            directory: start.directory.into(),
            host: start.host,
            fetch: FetchTimeouts::of_silence(Duration::from_millis(start.fetch_silence_ms)),
            serial: start.serial,
            outputs_on_disk: start.outputs_on_disk,
            is_only_worker: false,
            tls: tls.clone().map_or_else(open, |tls| ShuffleTls::OfJob(job, tls)),
        };
        let executor = Arc::new(InProcess::beside(config, registry));
        // It may be asked for outputs of a predecessor process.
        let adopted = executor.adopt(JobId(start.job), job);
        adopted.map_err(|cause| io::Error::other(cause.to_string()))?;
        let server = ShuffleServer::start(executor.shuffle_service(), executor.tls().clone());
        let (running, tasks, announced) = Default::default();
        Ok(Self { job, tls, executor, server, writer, running, tasks, announced, reader })
    }

    async fn say(&mut self, message: Said) -> io::Result<()> {
        self.writer.send(&v1::FromChild { message: Some(message) }).await
    }

    fn obey(&mut self, message: Heard) -> io::Result<()> {
        let executor = Arc::clone(&self.executor);
        match message {
            Heard::Start(_) | Heard::End(_) => return Err(senseless("a second start")),
            Heard::Credentials(credentials) => {
                let credentials = wire::credentials_from(credentials).map_err(senseless)?;
                let tls = self.tls.as_ref().ok_or_else(|| senseless("the cluster is open"))?;
                tls.replace(credentials).map_err(senseless)?;
            }
            Heard::Identity(identity) => {
                executor.identity().follow(wire::identity_from(identity));
            }
            Heard::Budget(v1::ChildBudget { memory_bytes }) => {
                executor.set_memory_bytes(memory_bytes);
                tokio::task::spawn_blocking(move || executor.evict_surplus());
            }
            Heard::DiscardOutput(attempt) => {
                let attempt = wire::attempt_from(Some(attempt)).map_err(senseless)?;
                tokio::task::spawn_blocking(move || executor.discard_output(attempt));
            }
            Heard::Order(order) => {
                self.obey_order(wire::order_from(order).map_err(senseless)?)?;
            }
        }
        Ok(())
    }

    fn obey_order(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Context(_, context) if context.identity != self.job => {
                return Err(senseless("the context of another job"));
            }
            Order::Context(_, context) => {
                self.announced.take_context(*context).map_err(senseless)?;
            }
            Order::SplitPoints(_, points) => self.announced.take_split_points(points),
            Order::Outputs(told) => {
                self.announced.take_outputs(told, &self.reader).map_err(senseless)?;
            }
            Order::Map(order) => self.run(self.announced.map(order).map_err(senseless)?),
            Order::Reduce(order) => self.run(self.announced.reduce(order).map_err(senseless)?),
            Order::Cancel(attempt) => {
                if let Some(running) = self.running.get(&attempt) {
                    running.cancel.cancel();
                }
            }
            // The worker may be newer than the job's executable.
            Order::Unknown => {}
            _ => return Err(senseless("an order that is meant for workers")),
        }
        Ok(())
    }

    fn run(&mut self, request: RunRequest) {
        let attempt = request.attempt;
        let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
        let running = Running { progress: Arc::clone(&progress), cancel: cancel.clone() };
        self.running.insert(attempt, running);
        let executor = Arc::clone(&self.executor);
        self.tasks.spawn(async move {
            let ended = executor.run(request, progress, cancel).await;
            (attempt, ended)
        });
    }

    async fn report(&mut self, ended: Result<Ended, JoinError>) -> io::Result<()> {
        // The engine panicked: nothing in this process is reliable any more.
        let (attempt, ended) = ended.map_err(io::Error::other)?;
        self.running.remove(&attempt);
        let has_strays = self.executor.has_strays();
        let report = Some(wire::result_to(attempt, ended));
        self.say(Said::Report(v1::ChildReport { report, has_strays })).await
    }

    async fn tell_progress(&mut self) -> io::Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let running = self.running.iter().map(|(attempt, running)| (*attempt, &*running.progress));
        let progress = wire::progress_to(running, 0);
        self.say(Said::Progress(progress)).await
    }

    /// Stops all attempts, so that they remove their temporary files.
    async fn end(mut self) {
        self.running.values().for_each(|running| running.cancel.cancel());
        let stopped = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(END_GRACE, stopped).await;
    }
}

fn senseless(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}
