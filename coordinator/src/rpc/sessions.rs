//! The `Sessions` service: one conversation for each worker.
//!
//! ```text
//!  worker --WorkerMessage-->  Talk  --Report--> driver
//!                                +------Printed-> logs
//!  worker <--CoordinatorMessage-- Replies <--Receipt, Outgoing-- outbox <-- driver
//! ```
//!
//! Receipts go first, also between the fragments of a large order: workers wait for receipts, and
//! must not wait behind an order that can.
//!
//! Both halves end together. When the worker's half ends, the driver is told how, and drops the
//! outbox; when the driver drops the outbox, the reply stream ends and `listen` stops. A half that
//! ends in good order means that the worker has left; one that breaks off leaves it time to come
//! back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use windrow_jobs::WorkerId;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::sessions_server::Sessions;
use windrow_proto::v1::worker_message::Message;
use windrow_security::access::Caller;

use super::convert::{
    Sent, order_to, packed, profile_from, receipt_to, report_from, returning_from, welcome_to,
};
use super::logs::WorkerLogs;
use super::refusal::check_build;
use crate::driver::{
    DriverHandle, JoinError, Joined, Outbox, Returning, SessionEnd, SessionId, Shared,
    WorkerProfile,
};
use crate::logs::LogStore;

/// How long a caller may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a worker whose folder is taken waits until the death of its predecessor is noticed, and
/// how often that is looked for.
pub(crate) const PREDECESSOR_GRACE: Duration = Duration::from_secs(2);
pub(crate) const PREDECESSOR_PAUSE: Duration = Duration::from_millis(50);

/// Serves workers.
pub(crate) struct SessionsService {
    pub(crate) driver: DriverHandle,
    /// Stores the logs of jobs.
    pub(crate) logs: Arc<LogStore>,
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
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let identity = caller.identity().map(|identity| identity.name().to_string());
        let mut messages = request.into_inner();
        let joining = async {
            let (profile, returning, protocol) = self.hello(identity, &mut messages).await?;
            let name = profile.name.clone();
            Ok((name, self.join(profile, returning).await?, protocol))
        };
        let joined: Result<_, Status> = joining.await;
        let (name, joined, protocol) = joined.inspect_err(|status| {
            tracing::warn!(reason = status.message(), "a worker was refused");
        })?;
        let welcome = welcome_to(&joined, protocol, self.lease, self.heartbeat);
        let Joined { worker, session, outbox, over, .. } = joined;
        let logs =
            WorkerLogs { driver: self.driver.clone(), logs: Arc::clone(&self.logs), worker, name };
        let talk = Talk { driver: self.driver.clone(), logs, caller, worker, session };
        tokio::spawn(talk.listen(messages, over));
        Ok(Response::new(Replies { welcome: Some(welcome), outbox, sending: None }))
    }
}

impl SessionsService {
    async fn hello(
        &self,
        identity: Option<String>,
        messages: &mut Streaming<v1::WorkerMessage>,
    ) -> Result<(WorkerProfile, Option<Returning>, u32), Status> {
        let first = timeout(HELLO_TIMEOUT, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello arrived in time"))??;
        let Some(v1::WorkerMessage { message: Some(Message::Hello(mut hello)) }) = first else {
            return Err(Status::invalid_argument("a session begins with hello"));
        };
        let protocol = check_build("worker", hello.build.as_ref(), &self.build)?;
        let returning = returning_from(hello.r#return.take())?;
        Ok((WorkerProfile { identity, ..profile_from(hello)? }, returning, protocol))
    }

    async fn join(
        &self,
        profile: WorkerProfile,
        mut returning: Option<Returning>,
    ) -> Result<Joined, Status> {
        let deadline = Instant::now() + PREDECESSOR_GRACE;
        loop {
            match self.driver.join(profile.clone(), returning.take()).await? {
                Ok(joined) => return Ok(joined),
                Err(JoinError::AlreadyThere { .. } | JoinError::SameIdentity { .. })
                    if Instant::now() < deadline =>
                {
                    sleep(PREDECESSOR_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The worker's half of a session.
struct Talk {
    driver: DriverHandle,
    logs: WorkerLogs,
    caller: Caller,
    worker: WorkerId,
    session: SessionId,
}

impl Talk {
    /// Passes the worker's messages on until the session is over. A slow driver slows the worker
    /// down (backpressure).
    async fn listen(self, mut messages: Streaming<v1::WorkerMessage>, over: CancellationToken) {
        let end = tokio::select! {
            // The driver may have noticed the closed connection first.
            () = over.cancelled() => match self.revoked() {
                Some(end) => end,
                None => return,
            },
            end = self.pass_on(&mut messages) => end,
        };
        // Fails only if the driver has stopped.
        let _ = self.driver.session_ended(self.worker, self.session, end).await;
    }

    /// A revoked worker has left for good: it will not be admitted again.
    fn revoked(&self) -> Option<SessionEnd> {
        let is_shut_out = self.caller.is_shut_out();
        is_shut_out.then(|| {
            SessionEnd::Left("it has been revoked, or its certificate has run out".to_string())
        })
    }

    /// Returns how the session ended. A worker that leaves ends its half of the call in good order.
    async fn pass_on(&self, messages: &mut Streaming<v1::WorkerMessage>) -> SessionEnd {
        let mut unknown = 0_u64;
        loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return SessionEnd::Left("it has left".to_string()),
                Err(status) => {
                    let broken = || SessionEnd::Broken(status.message().to_string());
                    return self.revoked().unwrap_or_else(broken);
                }
            };
            if let Some(Message::Printed(printed)) = message.message {
                self.logs.keep(printed).await;
                continue;
            }
            match report_from(message) {
                Ok(None) => {
                    unknown += 1;
                    if unknown.is_power_of_two() {
                        tracing::warn!(
                            worker = %self.worker,
                            unknown,
                            "ignoring messages of unknown kinds; the worker is newer than this coordinator"
                        );
                    }
                }
                Ok(Some(report)) => {
                    if self.driver.report(self.worker, self.session, report).await.is_err() {
                        return SessionEnd::Broken("the coordinator is stopping".to_string());
                    }
                }
                Err(malformed) => return SessionEnd::Left(malformed.to_string()),
            }
        }
    }
}

/// Messages to the worker: the welcome first, then its outbox.
pub(crate) struct Replies {
    welcome: Option<v1::CoordinatorMessage>,
    outbox: Outbox,
    /// The order that is being sent, and the offset of its next fragment.
    sending: Option<(Arc<Shared>, usize)>,
}

impl Replies {
    fn next_fragment(&mut self) -> Option<v1::CoordinatorMessage> {
        let (shared, from) = self.sending.take()?;
        let (fragment, next) = shared.packed(packed).fragment(from)?;
        self.sending = Some((shared, next));
        Some(v1::CoordinatorMessage { message: Some(FromCoordinator::Fragment(fragment)) })
    }
}

impl Stream for Replies {
    type Item = Result<v1::CoordinatorMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(welcome) = self.welcome.take() {
            return Poll::Ready(Some(Ok(welcome)));
        }
        // After the last receipt, the orders alone tell when the stream ends.
        if let Poll::Ready(Some(receipt)) = self.outbox.receipts.poll_recv(cx) {
            return Poll::Ready(Some(Ok(receipt_to(receipt))));
        }
        loop {
            if let Some(fragment) = self.next_fragment() {
                return Poll::Ready(Some(Ok(fragment)));
            }
            match ready!(self.outbox.orders.poll_recv(cx)).map(order_to) {
                Some(Ok(Sent::Shared(shared))) => self.sending = Some((shared, 0)),
                Some(Ok(Sent::Message(message))) => return Poll::Ready(Some(Ok(*message))),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}
