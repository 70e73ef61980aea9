//! The `Sessions` service: one conversation a worker.
//!
//! ```text
//!  worker --WorkerMessage--> listen() --Report--> driver
//!  worker <--CoordinatorMessage-- Replies <--Outgoing-- outbox <-- driver
//! ```
//!
//! Both halves end together: when the worker's half ends, the driver is told that it left and drops the outbox; when the
//! driver drops the outbox, the reply stream ends and `listen` stops.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use windrow_jobs::WorkerId;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as Reply;
use windrow_proto::v1::sessions_server::Sessions;
use windrow_proto::v1::worker_message::Message;

use super::convert::{message_to, profile_from, report_from};
use super::refusal::check_build;
use crate::driver::{DriverHandle, Joined, Outgoing, WorkerProfile};

/// How long a caller may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a worker that finds its folder taken waits for a predecessor whose death is just being noticed.
const PREDECESSOR_GRACE: Duration = Duration::from_secs(2);
const PREDECESSOR_PAUSE: Duration = Duration::from_millis(50);

/// Talks with workers.
pub(crate) struct SessionsService {
    pub(crate) driver: DriverHandle,
    pub(crate) build: v1::Build,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
}

#[tonic::async_trait]
impl Sessions for SessionsService {
    type OpenStream = Replies;

    async fn open(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Replies>, Status> {
        let mut messages = request.into_inner();
        let hello = self.hello(&mut messages).await.inspect_err(|status| {
            tracing::warn!(reason = status.message(), "a worker was refused");
        })?;
        let Joined { worker, outbox, over } = self.join(hello).await.inspect_err(|status| {
            tracing::warn!(reason = status.message(), "a worker was refused");
        })?;
        tokio::spawn(listen(self.driver.clone(), worker, messages, over));
        let welcome = v1::Welcome {
            worker: worker.0,
            lease_ms: self.lease.as_millis() as u64,
            heartbeat_ms: self.heartbeat.as_millis() as u64,
        };
        Ok(Response::new(Replies { welcome: Some(welcome), outbox }))
    }
}

impl SessionsService {
    async fn hello(
        &self,
        messages: &mut Streaming<v1::WorkerMessage>,
    ) -> Result<WorkerProfile, Status> {
        let first = timeout(HELLO_TIMEOUT, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(v1::WorkerMessage { message: Some(Message::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("a session begins with hello"));
        };
        check_build("worker", hello.build.as_ref(), &self.build)?;
        Ok(profile_from(hello)?)
    }

    async fn join(&self, profile: WorkerProfile) -> Result<Joined, Status> {
        let deadline = Instant::now() + PREDECESSOR_GRACE;
        loop {
            match self.driver.join(profile.clone()).await? {
                Ok(joined) => return Ok(joined),
                Err(_) if Instant::now() < deadline => sleep(PREDECESSOR_PAUSE).await,
                Err(already_there) => return Err(already_there.into()),
            }
        }
    }
}

/// Passes on what the worker says until the session is over. A slow driver makes it wait, and so the worker.
async fn listen(
    driver: DriverHandle,
    worker: WorkerId,
    mut messages: Streaming<v1::WorkerMessage>,
    over: CancellationToken,
) {
    let reason = tokio::select! {
        () = over.cancelled() => return,
        reason = pass_on(&driver, worker, &mut messages) => reason,
    };
    // A driver that has stopped needs no telling.
    let _ = driver.left(worker, reason).await;
}

/// Returns why the session ended.
async fn pass_on(
    driver: &DriverHandle,
    worker: WorkerId,
    messages: &mut Streaming<v1::WorkerMessage>,
) -> String {
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it has left".to_string(),
            Err(status) => return format!("its connection broke: {}", status.message()),
        };
        match report_from(message) {
            Ok(report) => {
                if driver.report(worker, report).await.is_err() {
                    return "the coordinator is stopping".to_string();
                }
            }
            Err(malformed) => return malformed.to_string(),
        }
    }
}

/// What the worker gets to hear: welcome first, then its outbox.
pub(crate) struct Replies {
    welcome: Option<v1::Welcome>,
    outbox: mpsc::Receiver<Outgoing>,
}

impl Stream for Replies {
    type Item = Result<v1::CoordinatorMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(welcome) = self.welcome.take() {
            let message = Some(Reply::Welcome(welcome));
            return Poll::Ready(Some(Ok(v1::CoordinatorMessage { message })));
        }
        Poll::Ready(ready!(self.outbox.poll_recv(cx)).map(message_to))
    }
}
