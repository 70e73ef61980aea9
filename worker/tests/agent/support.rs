//! A coordinator that does as a test says, and the worker that talks to it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
use windrow_jobs::Registry;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::sessions_server::{Sessions, SessionsServer};
use windrow_proto::v1::worker_message::Message as FromWorker;
use windrow_worker::{Connector, WorkerConfig, WorkerError};

const DEADLINE: Duration = Duration::from_secs(20);

/// A session as the coordinator sees it, before it has answered.
pub struct Session {
    pub hello: v1::Hello,
    messages: Streaming<v1::WorkerMessage>,
    replies: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
}

impl Session {
    pub async fn say(&self, message: FromCoordinator) {
        let message = v1::CoordinatorMessage { message: Some(message) };
        self.replies.send(Ok(message)).await.unwrap();
    }

    /// Welcomes the worker, and waits for its first heartbeat.
    pub async fn welcome(&mut self, worker: u64) {
        let welcome =
            v1::Welcome { worker, lease_ms: 10_000, heartbeat_ms: 20, ..Default::default() };
        self.say(FromCoordinator::Welcome(welcome)).await;
        assert!(matches!(self.next().await, Some(FromWorker::Heartbeat(_))));
    }

    pub async fn refuse(self, status: Status) {
        self.replies.send(Err(status)).await.unwrap();
    }

    /// The next message, or `None` when the worker has hung up.
    pub async fn next(&mut self) -> Option<FromWorker> {
        let message = timeout(DEADLINE, self.messages.message()).await.expect("no message");
        message.ok()?.map(|message| message.message.unwrap())
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
    sessions: mpsc::Receiver<Session>,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Fixture {
    pub fn start() -> Self {
        Self::start_with_failures(0)
    }

    /// A worker whose first connections fail.
    pub fn start_with_failures(failures: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sender, sessions) = mpsc::channel(4);
        let connector = scripted_coordinator(sender, failures);
        let mut config = WorkerConfig::embedded(dir.path().join("worker"));
        config.threads = Some(2);
        config.memory_bytes = Some(64 << 20);
        let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
        let registry = Arc::new(Registry::new(windrow_jobs::ready::all()));
        let run =
            windrow_worker::run(config, registry, build(), connector, drain.clone(), kill.clone());
        Self { dir, drain, kill, sessions, worker: tokio::spawn(run) }
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
        let entries = std::fs::read_dir(self.dir.path().join("worker")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
    }

    /// Writes an input file and creates the staging folder of a word count with one partition.
    pub fn word_count(&self, text: &str) -> WordCount {
        let input = self.dir.path().join("input");
        std::fs::write(&input, text).unwrap();
        let staging = self.dir.path().join("staging");
        std::fs::create_dir_all(&staging).unwrap();
        WordCount { input, staging, bytes: text.len() as u64 }
    }
}

pub fn build() -> v1::Build {
    v1::Build { protocol_version: 1, version: "0.1.0".into(), digest: "abc".into() }
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

/// The assignments of a small job.
pub struct WordCount {
    input: PathBuf,
    pub staging: PathBuf,
    bytes: u64,
}

impl WordCount {
    fn context(&self) -> Option<v1::JobContext> {
        Some(v1::JobContext {
            job: "word-count".into(),
            params: "{}".into(),
            partitions: 1,
            record_bytes_max: 64 << 20,
            staging: self.staging.display().to_string(),
            ..Default::default()
        })
    }

    pub fn map(&self, attempt: u32) -> FromCoordinator {
        let modified = self.input.metadata().unwrap().modified().unwrap();
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        FromCoordinator::AssignMap(v1::AssignMap {
            attempt: attempt_id(v1::Stage::Map, attempt),
            context: self.context(),
            ranges: vec![v1::FileRange {
                path: self.input.display().to_string(),
                start: 0,
                end: self.bytes,
                file_bytes: self.bytes,
                modified_unix_ns: modified.as_nanos() as u64,
                file_number: 0,
            }],
            input: 0,
        })
    }

    pub fn reduce(&self, outputs_version: u64) -> FromCoordinator {
        FromCoordinator::AssignReduce(v1::AssignReduce {
            attempt: attempt_id(v1::Stage::Reduce, 1),
            context: self.context(),
            outputs_version,
        })
    }

    /// The output of map attempt 1, held by the worker with this id.
    pub fn outputs(&self, worker: u64, version: u64) -> FromCoordinator {
        FromCoordinator::MapOutputs(v1::MapOutputs {
            job: 1,
            version,
            workers: vec![v1::WorkerOutputs {
                worker,
                outputs: vec![v1::MapOutput { task: 0, attempt: 1 }],
                ..Default::default()
            }],
        })
    }
}

pub fn attempt_id(stage: v1::Stage, attempt: u32) -> Option<v1::AttemptId> {
    Some(v1::AttemptId { job: 1, stage: stage.into(), task: 0, attempt })
}
