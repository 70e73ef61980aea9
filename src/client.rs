//! A client of a cluster: submits, watches, lists and cancels jobs, at whichever of its coordinators answers.
//!
//! Embedded mode talks to its own coordinator through the same client, over memory. Nothing is tried again here by itself:
//! who waits, and for how long, is for the caller to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use windrow_proto::v1;
use windrow_proto::v1::blobs_client::BlobsClient;
use windrow_proto::v1::jobs_client::JobsClient;
use windrow_security::{Dialer, NotAnAddress, explain, limits};

/// Longest wait for one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a sign of life: a coordinator that is stopped accepts connections and never answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection that is quiet is checked, and how long its answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// First pause after a failed attempt to connect; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one, or not one for these credentials.
    #[error(transparent)]
    Url(#[from] NotAnAddress),
    /// Nobody answers there.
    #[error("the coordinator at {url} is not reachable: {message}")]
    Unreachable {
        /// Where.
        url: String,
        /// What the last attempt said.
        message: String,
    },
    /// The coordinator refused; the message is for the user.
    #[error("{message}")]
    Refused {
        /// Whether the request itself was wrong.
        usage: bool,
        /// Why.
        message: String,
    },
}

/// A way to a cluster's coordinator. Cheap to clone; clones find it together.
#[derive(Clone)]
pub struct Client {
    coordinators: Arc<[Coordinator]>,
    /// The index of the one that answered last.
    current: Arc<AtomicUsize>,
}

/// One that may be the cluster's coordinator.
struct Coordinator {
    url: String,
    jobs: JobsClient<Channel>,
    blobs: BlobsClient<Channel>,
}

impl Client {
    /// Finds the coordinator at `urls`, one or several with commas between them, trying again with a growing pause for
    /// `patience`; `on_retry` hears of each failure.
    pub async fn connect(
        urls: &str,
        dialer: &Dialer,
        patience: Duration,
        mut on_retry: impl FnMut(&ClientError, Duration),
    ) -> Result<Self, ClientError> {
        let coordinators = urls.split(',').map(|url| Coordinator::at(url.trim(), dialer));
        let coordinators = coordinators.collect::<Result<_, _>>()?;
        let client = Self { coordinators, current: Arc::default() };
        let deadline = Instant::now() + patience;
        let mut pause = BACKOFF_MIN;
        loop {
            let Err(error) = client.find().await else { return Ok(client) };
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            on_retry(&error, pause);
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    /// A client over a channel that stands already. `url` is for messages.
    pub fn over(channel: Channel, url: &str) -> Self {
        let coordinators = Arc::new([Coordinator::over(channel, url)]);
        Self { coordinators, current: Arc::default() }
    }

    /// Looks for a coordinator that answers, at each address once, and stays with it. The error is that of the last one.
    pub async fn find(&self) -> Result<(), ClientError> {
        let last = self.current.load(Ordering::Relaxed);
        let mut found = Ok(());
        for turn in 0..self.coordinators.len() {
            let index = (last + turn) % self.coordinators.len();
            found = self.coordinators[index].answers().await;
            if found.is_ok() {
                self.current.store(index, Ordering::Relaxed);
                break;
            }
        }
        found
    }

    /// The numbers for a job on the cluster as it is now.
    pub async fn plan(&self, request: v1::PlanRequest) -> Result<v1::PlanReply, ClientError> {
        let reply = self.jobs().plan(request).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// Submits a job and returns its id. Its program and side files have been sent before.
    pub async fn submit(&self, request: v1::SubmitRequest) -> Result<u64, ClientError> {
        let reply = self.jobs().submit(request).await.map_err(|e| self.error(e))?;
        Ok(reply.into_inner().job)
    }

    /// The job's status now and at each change, until its last.
    pub async fn watch(&self, job: u64) -> Result<Streaming<v1::JobStatus>, ClientError> {
        let stream = self.jobs().watch(v1::WatchRequest { job }).await;
        Ok(stream.map_err(|e| self.error(e))?.into_inner())
    }

    /// One job.
    pub async fn get(&self, job: u64) -> Result<v1::JobStatus, ClientError> {
        let reply = self.jobs().get(v1::GetRequest { job }).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// All jobs that the coordinator remembers, oldest first.
    pub async fn list(&self) -> Result<Vec<v1::JobStatus>, ClientError> {
        let reply = self.jobs().list(v1::ListRequest {}).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner().jobs)
    }

    /// Cancels a job and returns its status afterwards.
    pub async fn cancel(&self, job: u64) -> Result<v1::JobStatus, ClientError> {
        let reply = self.jobs().cancel(v1::CancelRequest { job }).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// The workers that are there now.
    pub async fn workers(&self) -> Result<Vec<v1::WorkerStatus>, ClientError> {
        let reply = self.jobs().workers(v1::WorkersRequest {}).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner().workers)
    }

    /// What the processes of a job have printed, one after the other; with a task, those in which attempts of it ran.
    pub async fn logs(
        &self,
        request: v1::LogsRequest,
    ) -> Result<Streaming<v1::ProcessLog>, ClientError> {
        let stream = self.jobs().logs(request).await;
        Ok(stream.map_err(|e| self.error(e))?.into_inner())
    }

    /// What the coordinator has of a program or side file.
    pub async fn offer(&self, request: v1::OfferRequest) -> Result<v1::OfferReply, ClientError> {
        let reply = self.current().blobs.clone().offer(request).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// Sends a program or side file, or the rest of it.
    pub async fn upload(
        &self,
        pieces: impl Stream<Item = v1::UploadPiece> + Send + 'static,
    ) -> Result<v1::UploadReply, ClientError> {
        let reply = self.current().blobs.clone().upload(pieces).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// What a failed call means.
    pub fn error(&self, status: Status) -> ClientError {
        self.current().error(status)
    }

    fn current(&self) -> &Coordinator {
        &self.coordinators[self.current.load(Ordering::Relaxed)]
    }

    fn jobs(&self) -> JobsClient<Channel> {
        self.current().jobs.clone()
    }
}

impl Coordinator {
    /// The one at a URL; it is connected to when it is first asked something.
    fn at(url: &str, dialer: &Dialer) -> Result<Self, ClientError> {
        let endpoint = dialer
            .endpoint(url)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let dialer = dialer.clone();
        let connector = tower::service_fn(move |url| dialer.clone().dial(url));
        Ok(Self::over(endpoint.connect_with_connector_lazy(connector), url))
    }

    fn over(channel: Channel, url: &str) -> Self {
        let blobs = BlobsClient::new(channel.clone());
        let jobs = JobsClient::new(channel)
            .max_decoding_message_size(limits::ANSWER_BYTES_MAX)
            .max_encoding_message_size(limits::REQUEST_BYTES_MAX);
        Self { url: url.to_string(), jobs, blobs }
    }

    /// Whether it answers a question that costs it nothing: no job has this number.
    async fn answers(&self) -> Result<(), ClientError> {
        let mut jobs = self.jobs.clone();
        match timeout(ANSWER_TIMEOUT, jobs.get(v1::GetRequest { job: 0 })).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => match self.error(status) {
                error @ ClientError::Unreachable { .. } => Err(error),
                ClientError::Refused { .. } | ClientError::Url(_) => Ok(()),
            },
            Err(_) => Err(self.unreachable("it does not answer".to_string())),
        }
    }

    fn error(&self, status: Status) -> ClientError {
        match status.code() {
            // As transport failures arrive; of our services, only those that stop say that they are unavailable.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
                self.unreachable(self.with_hint(explain(&status)))
            }
            code => ClientError::Refused {
                usage: code == Code::InvalidArgument,
                message: status.message().to_string(),
            },
        }
    }

    /// A secured coordinator hangs up on those who do not speak TLS, and cannot tell them why.
    fn with_hint(&self, message: String) -> String {
        let hung_up = ["connection closed", "reset", "broken pipe"];
        let hung_up = hung_up.iter().any(|end| message.to_lowercase().contains(end));
        if hung_up && self.url.starts_with("http://") {
            return format!("{message}; if it is a secured one, say https://");
        }
        message
    }

    fn unreachable(&self, message: String) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), message }
    }
}
