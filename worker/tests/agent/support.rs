//! A scripted coordinator, and the worker that talks to it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use windrow_jobs::prelude::*;
use windrow_jobs::{JobIdentity, Registry, StageId};
use windrow_proto::planes::planes;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::sessions_server::{Sessions, SessionsServer};
use windrow_proto::v1::worker_message::Message as FromWorker;
use windrow_proto::{PROTOCOL_VERSION, runs, v1};
use windrow_worker::{Connector, Stops, WorkerConfig, WorkerError};

const DEADLINE: Duration = Duration::from_secs(20);

/// A session, as the coordinator sees it before its answer.
pub struct Session {
    pub hello: v1::Hello,
    messages: Streaming<v1::WorkerMessage>,
    replies: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
}

/// Messages to send at once.
pub trait Messages {
    fn all(self) -> Vec<FromCoordinator>;
}

impl Messages for FromCoordinator {
    fn all(self) -> Vec<FromCoordinator> {
        vec![self]
    }
}

impl<const N: usize> Messages for [FromCoordinator; N] {
    fn all(self) -> Vec<FromCoordinator> {
        self.into()
    }
}

impl Session {
    pub async fn say(&self, messages: impl Messages) {
        for message in messages.all() {
            let message = v1::CoordinatorMessage { message: Some(message) };
            self.replies.send(Ok(message)).await.unwrap();
        }
    }

    /// Sends a message of a kind that workers do not know.
    pub async fn say_unknown(&self) {
        self.replies.send(Ok(v1::CoordinatorMessage { message: None })).await.unwrap();
    }

    /// Welcomes the worker as a new one, and waits for its first heartbeat.
    pub async fn welcome(&mut self, worker: u64) {
        self.say(FromCoordinator::Welcome(welcome(worker))).await;
        assert!(matches!(self.next().await, Some(FromWorker::Heartbeat(_))));
    }

    /// Welcomes a worker that returns to its session.
    pub async fn welcome_back(&self) {
        let worker =
            self.hello.r#return.as_ref().expect("the worker has no session to return to").worker;
        let welcome = v1::Welcome { returned: true, ..welcome(worker) };
        self.say(FromCoordinator::Welcome(welcome)).await;
    }

    /// Notes the report of an attempt.
    pub async fn note(&self, attempt: Option<v1::AttemptId>, won: bool) {
        self.say(FromCoordinator::Noted(v1::Noted { attempt, won })).await;
    }

    pub async fn refuse(self, status: Status) {
        self.replies.send(Err(status)).await.unwrap();
    }

    /// The next message, or `None` when the worker has closed the call. Heartbeats are
    /// acknowledged.
    pub async fn next(&mut self) -> Option<FromWorker> {
        let message = timeout(DEADLINE, self.messages.message()).await.expect("no message");
        let message = message.ok()??.message.unwrap();
        if let FromWorker::Heartbeat(v1::Heartbeat { sequence, .. }) = message {
            let acknowledged = FromCoordinator::HeartbeatAck(v1::HeartbeatAck { sequence });
            let message = v1::CoordinatorMessage { message: Some(acknowledged) };
            // The worker may be closing the call.
            let _ = self.replies.send(Ok(message)).await;
        }
        Some(message)
    }

    /// The next message that is not a heartbeat.
    pub async fn next_report(&mut self) -> Option<FromWorker> {
        loop {
            match self.next().await {
                Some(FromWorker::Heartbeat(_)) => {}
                report => return report,
            }
        }
    }
}

/// The welcome of a new worker in cluster "c", by a coordinator of epoch 5.
pub fn welcome(worker: u64) -> v1::Welcome {
    v1::Welcome {
        worker,
        lease_ms: 10_000,
        heartbeat_ms: 20,
        cluster: "c".to_string(),
        epoch: 5,
        returned: false,
        ..Default::default()
    }
}

/// Hands each session to the test.
struct Script(mpsc::Sender<Session>);

#[tonic::async_trait]
impl Sessions for Script {
    type OpenStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let mut messages = request.into_inner();
        let Some(v1::WorkerMessage { message: Some(FromWorker::Hello(hello)) }) =
            messages.message().await?
        else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (replies, outgoing) = mpsc::channel(64);
        let session = Session { hello, messages, replies };
        self.0.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// A running worker.
pub struct Fixture {
    pub dir: TempDir,
    pub drain: CancellationToken,
    pub kill: CancellationToken,
    /// Opens the mappers of the job "gated".
    pub gate: Arc<Gate>,
    sessions: mpsc::Receiver<Session>,
    worker: JoinHandle<Result<(), WorkerError>>,
}

/// Mappers wait here until the gate is opened.
#[derive(Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn close(&self) {
        *self.is_open.lock().unwrap() = false;
    }

    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

/// A hanging job must not outlive its test.
impl Drop for Fixture {
    fn drop(&mut self) {
        self.gate.open();
    }
}

struct Gated(Arc<Gate>);

impl Mapper for Gated {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        self.0.pass();
        out.emit(line, 1)
    }
}

impl Fixture {
    pub fn start() -> Self {
        Self::start_with_failures(0)
    }

    /// A worker whose first connections fail.
    pub fn start_with_failures(failures: u32) -> Self {
        Self::start_with(|connector| connector, failures)
    }

    /// A worker whose connection to its coordinator is what `connector` makes of it.
    pub fn start_with(connector: impl FnOnce(Connector) -> Connector, failures: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sender, sessions) = mpsc::channel(4);
        let connector = connector(scripted_coordinator(sender, failures));
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = WorkerConfig::tcp(dir.path().join("worker"), listen);
        config.threads = Some(2);
        config.memory_bytes = Some(64 << 20);
        let stops = Stops::default();
        let Stops { drain, kill } = stops.clone();
        let gate = Arc::new(Gate::default());
        let gated = Job::new("gated", Gated(Arc::clone(&gate))).reduce(Sum);
        let jobs = windrow_jobs::ready::all().into_iter().chain([gated]);
        let registry = Arc::new(Registry::new(jobs));
        let run = windrow_worker::run(config, registry, build(), connector, stops);
        Self { dir, drain, kill, gate, sessions, worker: tokio::spawn(run) }
    }

    /// The next session that the worker opens.
    pub async fn session(&mut self) -> Session {
        timeout(DEADLINE, self.sessions.recv()).await.expect("no session").unwrap()
    }

    /// How the worker ended.
    pub async fn ended(&mut self) -> Result<(), WorkerError> {
        timeout(DEADLINE, &mut self.worker).await.expect("the worker does not end").unwrap()
    }

    /// The job folders in the worker's folder.
    pub fn job_folders(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.path().join("worker/jobs")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
    }

    /// Waits until `holds`, while the session continues.
    pub async fn until(&self, session: &mut Session, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            assert!(session.next().await.is_some(), "the worker has closed the call");
        }
    }

    /// Waits until the worker says that it runs this many attempts.
    pub async fn heartbeat_names(&self, session: &mut Session, attempts: usize) {
        loop {
            match session.next().await.expect("the worker has closed the call") {
                FromWorker::Heartbeat(heartbeat) if heartbeat.running.len() == attempts => return,
                FromWorker::Heartbeat(_) => {}
                report => panic!("unexpected: {report:?}"),
            }
        }
    }

    /// Writes an input file and creates the staging folder of a word count with one partition.
    pub fn word_count(&self, text: &str) -> SmallJob {
        self.job("word-count", text)
    }

    /// As `word_count`, for any job. A fixture has one: all jobs have the same id.
    pub fn job(&self, name: &'static str, text: &str) -> SmallJob {
        let input = self.dir.path().join("input");
        std::fs::write(&input, text).unwrap();
        let staging = self.dir.path().join("staging");
        std::fs::create_dir_all(&staging).unwrap();
        SmallJob { name, input, staging, bytes: text.len() as u64 }
    }
}

pub fn build() -> v1::Build {
    v1::Build {
        protocol_version: PROTOCOL_VERSION,
        version: "0.1.0".into(),
        digest: "abc".into(),
        ..Default::default()
    }
}

fn scripted_coordinator(sessions: mpsc::Sender<Session>, failures: u32) -> Connector {
    let (accept, incoming) = mpsc::channel::<DuplexStream>(4);
    let server = Server::builder().add_service(SessionsServer::new(Script(sessions)));
    let incoming = ReceiverStream::new(incoming).map(Ok::<_, io::Error>);
    tokio::spawn(server.serve_with_incoming(incoming));
    let failures = Arc::new(AtomicU32::new(failures));
    Connector::new("scripted", move || {
        let (accept, failures) = (accept.clone(), Arc::clone(&failures));
        let connect = tower::service_fn(move |_| {
            let (accept, failures) = (accept.clone(), Arc::clone(&failures));
            async move {
                let fail = |n: u32| n.checked_sub(1);
                if failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fail).is_ok() {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                let (ours, theirs) = tokio::io::duplex(64 << 10);
                accept.send(theirs).await.map_err(io::Error::other)?;
                Ok(TokioIo::new(ours))
            }
        });
        async move { Endpoint::from_static("http://scripted").connect_with_connector(connect).await }
    })
}

/// The identity of the small job.
pub const JOB: JobIdentity = JobIdentity(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// The assignments of a small job.
pub struct SmallJob {
    name: &'static str,
    input: PathBuf,
    pub staging: PathBuf,
    bytes: u64,
}

impl SmallJob {
    fn context(&self) -> FromCoordinator {
        FromCoordinator::JobContext(v1::JobContext {
            id: 1,
            identity: JOB.to_bytes().to_vec().into(),
            job: self.name.into(),
            params: "{}".into(),
            partitions: 1,
            record_bytes_max: 64 << 20,
            staging: self.staging.display().to_string(),
            ..Default::default()
        })
    }

    /// The file of the reduce attempt with this number.
    pub fn part(&self, attempt: u32) -> PathBuf {
        self.staging.join(format!("part-00000.{attempt}"))
    }

    /// A map attempt, after its job's context.
    pub fn map(&self, attempt: u32) -> [FromCoordinator; 2] {
        let modified = self.input.metadata().unwrap().modified().unwrap();
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        let assign = FromCoordinator::AssignMap(v1::AssignMap {
            attempt: attempt_id(StageId::MAP, attempt),
            ranges: vec![v1::InputRange {
                location: self.input.display().to_string(),
                start: 0,
                end: self.bytes,
                file_bytes: self.bytes,
                version: Some(v1::input_range::Version::ModifiedUnixNs(modified.as_nanos() as u64)),
                file_number: 0,
            }],
            ..Default::default()
        });
        [self.context(), assign]
    }

    pub fn reduce(&self, outputs_version: u64) -> [FromCoordinator; 2] {
        self.reduce_attempt(1, outputs_version)
    }

    pub fn reduce_attempt(&self, attempt: u32, outputs_version: u64) -> [FromCoordinator; 2] {
        let assign = FromCoordinator::AssignReduce(v1::AssignReduce {
            attempt: attempt_id(StageId::REDUCE, attempt),
            outputs_version,
            ..Default::default()
        });
        [self.context(), assign]
    }

    /// The output of map attempt 1, held by the worker with this id.
    pub fn outputs(&self, worker: u64, version: u64) -> FromCoordinator {
        FromCoordinator::MapOutputs(v1::MapOutputs {
            job: 1,
            version,
            holders: vec![worker],
            addresses: vec![String::new()],
            hosts: vec![0],
            directories: vec![String::new()],
            holder_planes: planes(&[0]),
            attempt_planes: planes(&[1]),
            ..Default::default()
        })
    }
}

pub fn attempt_id(stage: StageId, attempt: u32) -> Option<v1::AttemptId> {
    Some(v1::AttemptId { job: 1, stage: stage.to_number(), task: 0, attempt })
}

/// Attempts, packed as a worker lists them.
pub fn packed(attempts: impl IntoIterator<Item = Option<v1::AttemptId>>) -> Vec<v1::Attempts> {
    runs::packed(attempts.into_iter().flatten())
}
