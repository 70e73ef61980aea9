//! A client of a cluster: submits, watches, lists and cancels jobs, at whichever of its
//! coordinators answers.
//!
//! Embedded mode talks to its own coordinator through the same client, over memory. The client
//! retries only the first question, to a coordinator that hangs up; all other retries are the
//! caller's decision.
//!
//! From its first submission on, a client keeps to one cluster: another cluster, at the same
//! address or at another address of the list, does not know the job, and uses its number for
//! another one.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Status, Streaming};
use windrow_jobs::{JobIdentity, JobName};
use windrow_proto::v1;
use windrow_proto::v1::blobs_client::BlobsClient;
use windrow_proto::v1::jobs_client::JobsClient;
use windrow_security::{Dialer, NotAnAddress, explain, limits, retry_while_hung_up};

/// Longest wait for one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a sign of life: a coordinator that is stopped accepts connections and never
/// answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// What the last attempt may take after a wait is over: long enough for one that is there.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a connection that is quiet is checked, and how long its answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// First pause after a failed attempt to connect; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is not one, or not one for these credentials.
    #[error(transparent)]
    Url(#[from] NotAnAddress),
    /// Nobody answers there, or another service does.
    #[error("no windrow coordinator answers at {url}: {message}")]
    Unreachable {
        /// Where.
        url: String,
        /// What the last attempt said.
        message: String,
    },
    /// Another cluster answers than the one that knows the job.
    #[error(
        "the coordinator at {url} belongs to another cluster ({theirs}) than the one asked before ({ours})"
    )]
    OtherCluster {
        /// Where.
        url: String,
        /// The cluster that was asked before.
        ours: String,
        /// The cluster that answers.
        theirs: String,
    },
    /// The coordinator knows nothing by the name that it was asked for; the message is for the
    /// user.
    #[error("{message}")]
    NotFound {
        /// What it said.
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
    /// The cluster of the one that answered last; empty before the first has.
    answered: Arc<Mutex<String>>,
    /// The cluster to keep to, from the first submission on.
    kept: Arc<OnceLock<String>>,
}

/// A job that a cluster has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its number in its cluster, for people.
    pub number: u64,
    /// Its name for ever.
    pub identity: JobIdentity,
    /// Whether it was accepted when the same submission was told before.
    pub before: bool,
}

impl Accepted {
    /// This job and no other.
    pub fn name(&self) -> JobName {
        JobName::Identity(self.identity)
    }
}

/// One that may be the cluster's coordinator.
struct Coordinator {
    url: String,
    jobs: JobsClient<Channel>,
    blobs: BlobsClient<Channel>,
}

impl Client {
    /// Finds the coordinator at `urls` (separated by commas). Retries with backoff for `patience`;
    /// `on_retry` hears of each failure.
    pub async fn connect(
        urls: &str,
        dialer: &Dialer,
        patience: Duration,
        mut on_retry: impl FnMut(&ClientError, Duration),
    ) -> Result<Self, ClientError> {
        let coordinators = urls.split(',').map(|url| Coordinator::at(url.trim(), dialer));
        let coordinators = coordinators.collect::<Result<_, _>>()?;
        let client = Self::of(coordinators);
        let deadline = Instant::now() + patience;
        let mut pause = BACKOFF_MIN;
        loop {
            let found = if patience.is_zero() {
                client.find().await
            } else {
                client.find_within(deadline.saturating_duration_since(Instant::now())).await
            };
            let Err(error) = found else { return Ok(client) };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error);
            }
            let next = pause.min(left);
            on_retry(&error, next);
            sleep(next).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    /// A client over a channel that stands already. `url` is for messages.
    pub fn over(channel: Channel, url: &str) -> Self {
        Self::of(Arc::new([Coordinator::over(channel, url)]))
    }

    fn of(coordinators: Arc<[Coordinator]>) -> Self {
        let (current, answered, kept) = Default::default();
        Self { coordinators, current, answered, kept }
    }

    /// Looks for a coordinator that answers, at each address once, and stays with it.
    ///
    /// # Errors
    /// The error of the last address that is not reachable, since it may come back; else the error
    /// of the last address.
    pub async fn find(&self) -> Result<(), ClientError> {
        let last = self.current.load(Ordering::Relaxed);
        let mut failed = None;
        for turn in 0..self.coordinators.len() {
            let index = (last + turn) % self.coordinators.len();
            let error = match self.try_one(index).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failed = Some(match (failed, error) {
                (
                    Some(ClientError::Unreachable { url, message }),
                    other @ ClientError::OtherCluster { .. },
                )
                | (
                    Some(other @ ClientError::OtherCluster { .. }),
                    ClientError::Unreachable { url, message },
                ) => ClientError::Unreachable { url, message: format!("{message}; {other}") },
                (_, error) => error,
            });
        }
        failed.map_or(Ok(()), Err)
    }

    /// Like [`find`](Self::find), but gives up when `wait` is over. A short wait is extended, so
    /// that one attempt can be answered.
    ///
    /// # Errors
    /// Those of [`find`](Self::find); and that nobody is reachable, if it is not over by then.
    pub(crate) async fn find_within(&self, wait: Duration) -> Result<(), ClientError> {
        match timeout(wait.max(LAST_ANSWER_TIMEOUT), self.find()).await {
            Ok(found) => found,
            Err(_) => {
                Err(self.current().unreachable("nothing was heard from there in time".into()))
            }
        }
    }

    async fn try_one(&self, index: usize) -> Result<(), ClientError> {
        let coordinator = &self.coordinators[index];
        let theirs = coordinator.in_charge().await?;
        if let (Some(theirs), Some(ours)) = (&theirs, self.kept.get())
            && theirs != ours
        {
            let (url, ours, theirs) = (coordinator.url.clone(), ours.clone(), theirs.clone());
            return Err(ClientError::OtherCluster { url, ours, theirs });
        }
        self.current.store(index, Ordering::Relaxed);
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = theirs.unwrap_or_default();
        Ok(())
    }

    /// From now on, only coordinators of the cluster that answered last will do. Returns that
    /// cluster; it is empty where none was looked for, which is so in embedded mode.
    pub fn keep_to_cluster(&self) -> String {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if answered.is_empty() {
            return answered;
        }
        self.kept.get_or_init(|| answered).clone()
    }

    /// The numbers for a job on the cluster as it is now.
    pub async fn plan(&self, request: v1::PlanRequest) -> Result<v1::PlanReply, ClientError> {
        let reply = self.jobs().plan(request).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// Submits a job. Its program and side files have been sent before. From now on, no other
    /// cluster will do: this one may have accepted the job, whatever is heard of it.
    pub async fn submit(&self, request: v1::SubmitRequest) -> Result<Accepted, ClientError> {
        let request = v1::SubmitRequest { cluster: self.keep_to_cluster(), ..request };
        let reply = self.jobs().submit(request).await.map_err(|e| self.error(e))?;
        self.accepted(&reply.into_inner())
    }

    /// What the coordinator says of a job that it has accepted.
    pub(crate) fn accepted(&self, reply: &v1::SubmitReply) -> Result<Accepted, ClientError> {
        let identity = JobIdentity::from_bytes(&reply.identity);
        let identity =
            identity.ok_or_else(|| self.current().senseless("a job without identity"))?;
        Ok(Accepted { number: reply.job, identity, before: reply.before })
    }

    /// The job's status now and at each change, until its last.
    pub async fn watch(&self, job: JobName) -> Result<Streaming<v1::JobStatus>, ClientError> {
        let stream = self.jobs().watch(v1::WatchRequest { job: Some(name_to(job)) }).await;
        Ok(stream.map_err(|e| self.error(e))?.into_inner())
    }

    /// One job.
    pub async fn get(&self, job: JobName) -> Result<v1::JobStatus, ClientError> {
        let reply = self.jobs().get(v1::GetRequest { job: Some(name_to(job)) }).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// The latest jobs that the coordinator remembers and that fit, oldest first, and whether there
    /// are more.
    pub async fn list(
        &self,
        request: v1::ListRequest,
    ) -> Result<(Vec<v1::JobStatus>, bool), ClientError> {
        let (mut jobs, mut before) = (Vec::new(), request.before);
        loop {
            let limit = request.limit.saturating_sub(jobs.len() as u32);
            let page = v1::ListRequest { before, limit, ..request.clone() };
            let reply = self.jobs().list(page).await.map_err(|e| self.error(e))?.into_inner();
            before = reply.jobs.first().map(|job| job.id);
            let is_last = !reply.more || before.is_none();
            jobs.splice(0..0, reply.jobs);
            if is_last || (request.limit > 0 && jobs.len() >= request.limit as usize) {
                return Ok((jobs, reply.more));
            }
        }
    }

    /// Cancels a job, unless it is too late for that, and returns its status afterwards.
    pub async fn cancel(&self, job: JobName) -> Result<v1::CancelReply, ClientError> {
        let reply = self.jobs().cancel(v1::CancelRequest { job: Some(name_to(job)) }).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// The workers that are there now.
    pub async fn workers(&self) -> Result<Vec<v1::WorkerStatus>, ClientError> {
        let reply = self.jobs().workers(v1::WorkersRequest {}).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner().workers)
    }

    /// What the processes of a job have printed, one after the other; with a task, those in which
    /// attempts of it ran.
    pub async fn logs(
        &self,
        job: JobName,
        task: Option<v1::LogsOfTask>,
    ) -> Result<Streaming<v1::ProcessLog>, ClientError> {
        let request = v1::LogsRequest { job: Some(name_to(job)), task };
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

    /// Whether the coordinator is in charge, and of which cluster, if it tells this caller. If it
    /// refuses the caller, it says why in answer to the request that follows.
    ///
    /// A coordinator with many new connections hangs up on some of them before it knows who they
    /// are; asking once more is harmless.
    async fn in_charge(&self) -> Result<Option<String>, ClientError> {
        let asking = retry_while_hung_up(|| {
            let mut jobs = self.jobs.clone();
            async move { jobs.in_charge(v1::InChargeRequest {}).await }
        });
        match timeout(ANSWER_TIMEOUT, asking).await {
            Ok(Ok(reply)) => Ok(Some(reply.into_inner().cluster)),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                let what = "another service answers there, or a coordinator with another version of the protocol";
                Err(self.unreachable(format!("{what} ({})", status.message())))
            }
            Ok(Err(status)) => match self.error(status) {
                error @ ClientError::Unreachable { .. } => Err(error),
                _ => Ok(None),
            },
            Err(_) => {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Err(self.unreachable(format!("nothing was heard from there in {seconds} s")))
            }
        }
    }

    fn error(&self, status: Status) -> ClientError {
        // A status with a source is no answer: the transport failed, whatever the code says.
        if status.source().is_some() {
            return self.unreachable(self.with_hint(explain(&status)));
        }
        match status.code() {
            // Of our services, only those that stop say that they are unavailable. The others come
            // from what is in between.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
                self.unreachable(self.with_hint(explain(&status)))
            }
            Code::NotFound => ClientError::NotFound { message: status.message().to_string() },
            code => ClientError::Refused {
                usage: code == Code::InvalidArgument,
                message: status.message().to_string(),
            },
        }
    }

    /// A secured coordinator hangs up on clients that do not speak TLS, and cannot tell them why.
    /// Nor can another service.
    fn with_hint(&self, message: String) -> String {
        let strange = ["connection closed", "reset", "broken pipe", "does not speak http/2"];
        let is_strange = strange.iter().any(|end| message.to_lowercase().contains(end));
        if is_strange && self.url.starts_with("http://") {
            return format!(
                "{message}; it may be another service, or a secured cluster: then say https://"
            );
        }
        message
    }

    fn senseless(&self, what: &str) -> ClientError {
        let message = format!("the coordinator at {} answers with {what}", self.url);
        ClientError::Refused { usage: false, message }
    }

    fn unreachable(&self, message: String) -> ClientError {
        let port = self.url.parse::<Uri>().ok().and_then(|url| url.port_u16());
        let message = match (port, self.url.starts_with("https://")) {
            (Some(_), _) => message,
            (None, is_secured) => format!(
                "{message} (port {}, since the URL names none; coordinators listen on 7171 unless told otherwise)",
                if is_secured { 443 } else { 80 }
            ),
        };
        ClientError::Unreachable { url: self.url.clone(), message }
    }
}

fn name_to(job: JobName) -> v1::JobName {
    use v1::job_name::Name;
    v1::JobName {
        name: Some(match job {
            JobName::Number(number) => Name::Number(number.0),
            JobName::Identity(identity) => Name::Identity(identity.to_bytes().to_vec().into()),
        }),
    }
}
