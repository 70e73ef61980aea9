//! A coordinator in memory, a client, and workers that the test scripts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tower::{Service, ServiceExt};
use windrow_coordinator::{Coordinator, CoordinatorConfig, ServeError};
use windrow_jobs::Blob;
use windrow_proto::fragments::Fragments;
use windrow_proto::v1::blobs_client::BlobsClient;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::jobs_client::JobsClient;
use windrow_proto::v1::sessions_client::SessionsClient;
use windrow_proto::v1::worker_message::Message as FromWorker;
use windrow_proto::{runs, v1};

/// Longest wait, in virtual time.
const DEADLINE: Duration = Duration::from_secs(60);

/// The largest executable that coordinators accept here.
pub const BLOB_BYTES_MAX: u64 = 1 << 20;

pub fn build() -> v1::Build {
    v1::Build {
        protocol_version: windrow_proto::PROTOCOL_VERSION,
        protocol_min: windrow_proto::PROTOCOL_MIN,
        version: "0.1.0".into(),
        digest: "0123456789abcdef".into(),
    }
}

/// The end of a coordinator.
pub type Serving = tokio::task::JoinHandle<Result<(), ServeError>>;

/// A running coordinator, with a folder for inputs and outputs.
pub struct Cluster {
    pub jobs: JobsClient<Channel>,
    pub blobs: BlobsClient<Channel>,
    pub dir: TempDir,
    pub serving: Serving,
    pub shutdown: CancellationToken,
    channel: Channel,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), None).await
    }

    /// With a journal in the cluster's folder.
    pub async fn start_with_journal() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        Self::start_in(dir, Some(state)).await
    }

    /// Another coordinator takes over, as if the first had been killed: neither it nor its peers
    /// notice. Returns the end of the first one, too.
    pub async fn take_over(self) -> (Self, Serving) {
        let state = self.dir.path().join("state");
        (Self::start_in(self.dir, Some(state)).await, self.serving)
    }

    async fn start_in(dir: TempDir, state: Option<PathBuf>) -> Self {
        let mut config = CoordinatorConfig::new(build());
        config.state = state;
        config.blob_bytes_max = BLOB_BYTES_MAX;
        let executable = File::open("/proc/self/exe").unwrap();
        config.executable = Some((Blob::default(), Arc::new(executable)));
        let coordinator = Coordinator::start(config).await.unwrap();
        let (connections, incoming) = mpsc::channel::<DuplexStream>(4);
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            let incoming = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
            async move { coordinator.serve(incoming, shutdown).await }
        });
        let connector = tower::service_fn(move |_| {
            let connections = connections.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(64 << 10);
                connections.send(theirs).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        });
        let endpoint = Endpoint::from_static("http://memory");
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        let jobs = JobsClient::new(channel.clone());
        let blobs = BlobsClient::new(channel.clone());
        Self { jobs, blobs, dir, serving, shutdown, channel }
    }

    pub fn output(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Names in the output folder; `None` when it does not exist.
    pub fn output_names(&self) -> Option<Vec<String>> {
        let entries = fs::read_dir(self.output()).ok()?;
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        Some(names)
    }

    /// A word count over one small file.
    pub fn word_count(&self, reducers: u32) -> v1::JobSpec {
        let input = self.dir.path().join("in");
        fs::write(&input, "a b a\n").unwrap();
        v1::JobSpec {
            job: "word-count".into(),
            params: "{}".into(),
            inputs: vec![v1::JobInput {
                name: String::new(),
                pattern: input.display().to_string(),
            }],
            output: self.output().display().to_string(),
            options: Some(v1::JobOptions { reducers: Some(reducers), ..Default::default() }),
            program: Some(own_program()),
            files: Vec::new(),
            writable: Vec::new(),
        }
    }

    pub async fn submit(&self, spec: v1::JobSpec) -> Result<u64, Status> {
        self.submit_as(&[], spec).await
    }

    /// Submits with this 16-byte submission name.
    pub async fn submit_as(&self, name: &[u8], spec: v1::JobSpec) -> Result<u64, Status> {
        Ok(self.accepted_as(name, spec).await?.job)
    }

    /// As `submit_as`, with the whole reply.
    pub async fn accepted_as(
        &self,
        name: &[u8],
        spec: v1::JobSpec,
    ) -> Result<v1::SubmitReply, Status> {
        let submission = name.to_vec().into();
        let request = v1::SubmitRequest { submission, ..submission_of(spec) };
        Ok(self.jobs.clone().submit(request).await?.into_inner())
    }

    /// Cancels a job.
    pub async fn cancel(&self, job: Option<v1::JobName>) -> Result<v1::CancelReply, Status> {
        Ok(self.jobs.clone().cancel(v1::CancelRequest { job }).await?.into_inner())
    }

    /// All statuses of a job, until the final one.
    pub async fn watch(&self, job: u64) -> Vec<v1::JobStatus> {
        let request = v1::WatchRequest { job: numbered(job) };
        let stream = self.jobs.clone().watch(request).await.unwrap().into_inner();
        let statuses = stream.map(Result::unwrap).collect();
        timeout(DEADLINE * 100, statuses).await.expect("the job does not end")
    }

    pub async fn final_status(&self, job: u64) -> v1::JobStatus {
        self.watch(job).await.pop().unwrap()
    }

    pub async fn workers(&self) -> Vec<v1::WorkerStatus> {
        let reply = self.jobs.clone().workers(v1::WorkersRequest {}).await.unwrap();
        reply.into_inner().workers
    }

    pub async fn wait_for_workers(&self, n: usize) {
        let joined = async {
            while self.workers().await.len() != n {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, joined).await.expect("workers");
    }

    /// A call whose request ends after these bytes.
    pub async fn half_a_call(&self, method: &str, bytes: &[u8]) -> Status {
        let first = tokio_stream::once(Ok::<_, Status>(Frame::data(Bytes::from(bytes.to_vec()))));
        let body = Body::new(StreamBody::new(first.chain(tokio_stream::pending())));
        let request = tonic::codegen::http::Request::post(format!("http://memory{method}"));
        let request = request.header("content-type", "application/grpc").body(body).unwrap();
        let mut channel = self.channel.clone();
        let answer = channel.ready().await.unwrap().call(request);
        let answer = timeout(DEADLINE * 100, answer).await.expect("the call does not end").unwrap();
        Status::from_header_map(answer.headers()).unwrap()
    }

    /// Opens a session with this Hello.
    pub async fn open(&self, hello: v1::Hello) -> Result<Worker, Status> {
        let (sender, messages) = mpsc::channel(16);
        let hello = v1::WorkerMessage { message: Some(FromWorker::Hello(hello)) };
        sender.send(hello).await.unwrap();
        let mut sessions = SessionsClient::new(self.channel.clone());
        let replies = sessions.open(ReceiverStream::new(messages)).await?.into_inner();
        let mut worker = Worker {
            sender,
            replies,
            welcome: v1::Welcome::default(),
            fragments: Fragments::default(),
            contexts: BTreeMap::new(),
        };
        match worker.next().await {
            FromCoordinator::Welcome(welcome) => worker.welcome = welcome,
            other => panic!("{other:?} instead of welcome"),
        }
        Ok(worker)
    }

    /// Opens another session of the worker in this folder.
    pub async fn come_back(&self, directory: &str, returning: v1::Return) -> Worker {
        self.open(v1::Hello { r#return: Some(returning), ..hello(directory) }).await.unwrap()
    }

    /// Opens the session of the worker in this folder.
    pub async fn worker(&self, directory: &str) -> Worker {
        self.open(hello(directory)).await.unwrap()
    }
}

/// A job as people name it.
pub fn numbered(job: u64) -> Option<v1::JobName> {
    Some(v1::JobName { name: Some(v1::job_name::Name::Number(job)) })
}

/// A job as programs name it.
pub fn identified(accepted: &v1::SubmitReply) -> Option<v1::JobName> {
    Some(v1::JobName { name: Some(v1::job_name::Name::Identity(accepted.identity.clone())) })
}

/// The executable of this test, as the coordinator's own.
fn own_program() -> v1::JobExecutable {
    let executable = v1::Blob { digest: Blob::default().digest.0.to_vec().into(), bytes: 0 };
    v1::JobExecutable { executable: Some(executable), ..Default::default() }
}

/// A submission of a job, as a submitter makes it.
pub fn submission_of(spec: v1::JobSpec) -> v1::SubmitRequest {
    v1::SubmitRequest {
        build: Some(build()),
        spec: Some(spec),
        shape: Some(v1::JobShape::default()),
        ..Default::default()
    }
}

pub fn hello(directory: &str) -> v1::Hello {
    v1::Hello {
        build: Some(build()),
        name: format!("worker in {directory}"),
        shuffle_address: format!("{directory}:1"),
        host: "host".into(),
        directory: directory.into(),
        map_slots: 2,
        reduce_slots: 2,
        threads: 2,
        memory_bytes: 1 << 30,
        instance: format!("the process in {directory}"),
        r#return: None,
        platform: None,
        isolation: 0,
        says_released: false,
    }
}

/// A worker's side of a session.
pub struct Worker {
    sender: mpsc::Sender<v1::WorkerMessage>,
    replies: Streaming<v1::CoordinatorMessage>,
    pub welcome: v1::Welcome,
    fragments: Fragments,
    /// The contexts that it received, by job.
    pub contexts: BTreeMap<u64, v1::JobContext>,
}

impl Worker {
    pub async fn say(&self, message: FromWorker) {
        self.sender.send(v1::WorkerMessage { message: Some(message) }).await.unwrap();
    }

    /// Sends a message of a kind that coordinators do not know.
    pub async fn say_unknown(&self) {
        self.sender.send(v1::WorkerMessage { message: None }).await.unwrap();
    }

    /// The next message that is neither a receipt nor a job's context.
    pub async fn next(&mut self) -> FromCoordinator {
        loop {
            match self.next_of_all().await {
                FromCoordinator::Noted(_)
                | FromCoordinator::HeartbeatAck(_)
                | FromCoordinator::JobContext(_) => {}
                message => return message,
            }
        }
    }

    /// The next receipt of a report; other messages before it are dropped.
    pub async fn next_noted(&mut self) -> v1::Noted {
        loop {
            if let FromCoordinator::Noted(noted) = self.next_of_all().await {
                return noted;
            }
        }
    }

    /// The next message, reassembled from fragments.
    pub async fn next_of_all(&mut self) -> FromCoordinator {
        loop {
            let reply = timeout(DEADLINE, self.replies.message()).await.expect("no message");
            let message = reply.unwrap().expect("the session has ended").message.unwrap();
            let FromCoordinator::Fragment(fragment) = message else { return message };
            let Some(whole) = self.fragments.add(&fragment).unwrap() else { continue };
            let message = whole.message.unwrap();
            if let FromCoordinator::JobContext(context) = &message {
                self.contexts.insert(context.id, context.clone());
            }
            return message;
        }
    }

    /// What it says when it returns with these map outputs, whose reports were noted or not.
    pub fn returning(&self, outputs: &[v1::AssignMap], unanswered: &[v1::AssignMap]) -> v1::Return {
        let attempts =
            |maps: &[v1::AssignMap]| runs::packed(maps.iter().filter_map(|map| map.attempt));
        v1::Return {
            worker: self.welcome.worker,
            cluster: self.welcome.cluster.clone(),
            epoch: self.welcome.epoch,
            running: Vec::new(),
            unanswered: attempts(unanswered),
            outputs: attempts(outputs),
        }
    }

    /// How the session ends; messages before are dropped.
    pub async fn end(&mut self) -> Result<(), Status> {
        loop {
            match timeout(DEADLINE, self.replies.message()).await.expect("no end") {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }

    pub async fn next_map(&mut self) -> v1::AssignMap {
        match self.next().await {
            FromCoordinator::AssignMap(assign) => assign,
            other => panic!("{other:?} instead of a map assignment"),
        }
    }

    pub async fn next_reduce(&mut self) -> v1::AssignReduce {
        match self.next().await {
            FromCoordinator::AssignReduce(assign) => assign,
            other => panic!("{other:?} instead of a reduce assignment"),
        }
    }

    /// A reduce assignment, and the map outputs that come before it.
    pub async fn next_reduce_with_outputs(&mut self) -> v1::AssignReduce {
        let outputs = self.next_outputs().await;
        let reduce = self.next_reduce().await;
        assert_eq!(reduce.outputs_version, outputs.version);
        reduce
    }

    pub async fn next_outputs(&mut self) -> v1::MapOutputs {
        match self.next().await {
            FromCoordinator::MapOutputs(outputs) => outputs,
            other => panic!("{other:?} instead of map outputs"),
        }
    }

    /// Reports a map attempt as done.
    pub async fn finish_map(&self, assign: &v1::AssignMap) {
        let audit = Some(v1::Audit::default());
        let stats = Some(v1::AttemptStats { input_records: 1, audit, ..Default::default() });
        let attempt = assign.attempt;
        self.say(FromWorker::MapDone(v1::MapDone { attempt, stats, ..Default::default() })).await;
    }

    /// Where an attempt writes its part.
    pub fn part(&self, attempt: v1::AttemptId) -> PathBuf {
        let staging = PathBuf::from(&self.contexts[&attempt.job].staging);
        staging.join(format!("part-{:05}.{}", attempt.task, attempt.attempt))
    }

    /// Writes the part of a reduce attempt, and reports it as done.
    pub async fn finish_reduce(&self, assign: &v1::AssignReduce, text: &str) {
        fs::write(self.part(assign.attempt.unwrap()), text).unwrap();
        self.claim_reduce(assign, text).await;
    }

    /// Reports a reduce attempt as done, whether its part is there or not.
    pub async fn claim_reduce(&self, assign: &v1::AssignReduce, text: &str) {
        let attempt = assign.attempt.unwrap();
        let path = self.part(attempt);
        let part = v1::Part {
            location: path.display().to_string(),
            bytes: text.len() as u64,
            records: text.lines().count() as u64,
            crc64: 1, // Read only if a publication is done twice.
            upload: None,
        };
        self.say(FromWorker::ReduceDone(v1::ReduceDone {
            attempt: Some(attempt),
            stats: Some(v1::AttemptStats {
                output_bytes: part.bytes,
                output_records: part.records,
                audit: Some(v1::Audit::default()),
                ..Default::default()
            }),
            part: Some(part),
            bad_records: None,
        }))
        .await;
    }
}
