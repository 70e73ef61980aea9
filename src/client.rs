//! A client of a coordinator: submits, watches, lists and cancels jobs.
//!
//! Embedded mode talks to its own coordinator through the same client, over memory.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use windrow_proto::v1;
use windrow_proto::v1::jobs_client::JobsClient;

/// Longest wait for one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// First pause after a failed attempt to connect; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Largest answer: the list of a thousand jobs.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one.
    #[error("'{url}' is not a coordinator URL such as http://127.0.0.1:7171: {message}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        message: String,
    },
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

/// A connection to a coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    url: String,
    jobs: JobsClient<Channel>,
}

impl Client {
    /// Connects to `url`, trying again with a growing pause for `patience`; `on_retry` hears of each failure.
    pub async fn connect(
        url: &str,
        patience: Duration,
        mut on_retry: impl FnMut(&ClientError, Duration),
    ) -> Result<Self, ClientError> {
        let endpoint = Endpoint::from_shared(url.to_string())
            .map_err(|error| ClientError::Url { url: url.to_string(), message: error.to_string() })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        let deadline = Instant::now() + patience;
        let mut pause = BACKOFF_MIN;
        loop {
            let error = match endpoint.connect().await {
                Ok(channel) => return Ok(Self::over(channel, url)),
                Err(error) => {
                    ClientError::Unreachable { url: url.to_string(), message: deepest(&error) }
                }
            };
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
        Self {
            url: url.to_string(),
            jobs: JobsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        }
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, build: v1::Build, spec: v1::JobSpec) -> Result<u64, ClientError> {
        let request =
            v1::SubmitRequest { build: Some(build), spec: Some(spec), ..Default::default() };
        let reply = self.jobs.clone().submit(request).await.map_err(|e| self.error(e))?;
        Ok(reply.into_inner().job)
    }

    /// The job's status now and at each change, until its last.
    pub async fn watch(&self, job: u64) -> Result<Streaming<v1::JobStatus>, ClientError> {
        let stream = self.jobs.clone().watch(v1::WatchRequest { job }).await;
        Ok(stream.map_err(|e| self.error(e))?.into_inner())
    }

    /// One job.
    pub async fn get(&self, job: u64) -> Result<v1::JobStatus, ClientError> {
        let reply = self.jobs.clone().get(v1::GetRequest { job }).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// All jobs that the coordinator remembers, oldest first.
    pub async fn list(&self) -> Result<Vec<v1::JobStatus>, ClientError> {
        let reply = self.jobs.clone().list(v1::ListRequest {}).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner().jobs)
    }

    /// Cancels a job and returns its status afterwards.
    pub async fn cancel(&self, job: u64) -> Result<v1::JobStatus, ClientError> {
        let reply = self.jobs.clone().cancel(v1::CancelRequest { job }).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner())
    }

    /// The workers that are there now.
    pub async fn workers(&self) -> Result<Vec<v1::WorkerStatus>, ClientError> {
        let reply = self.jobs.clone().workers(v1::WorkersRequest {}).await;
        Ok(reply.map_err(|e| self.error(e))?.into_inner().workers)
    }

    /// What a failed call means.
    pub fn error(&self, status: Status) -> ClientError {
        match status.code() {
            // Transport failures arrive as Unavailable, Unknown or Cancelled, never from our services.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
                ClientError::Unreachable { url: self.url.clone(), message: deepest(&status) }
            }
            code => ClientError::Refused {
                usage: code == Code::InvalidArgument,
                message: status.message().to_string(),
            },
        }
    }
}

/// The innermost cause: "connection refused" rather than "transport error".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
