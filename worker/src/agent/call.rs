//! One call to a coordinator: how it is opened and closed. The messages are the session's
//! business.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use windrow_proto::v1;
use windrow_proto::v1::sessions_client::SessionsClient;
use windrow_proto::v1::worker_message::Message;
use windrow_security::{explain, limits};

use crate::connector::Connector;
use crate::wire;

/// How long a coordinator may take to answer; a coordinator that is stopped (SIGSTOP) accepts
/// connections and never answers.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to close the call after a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// Reports that may be queued for the coordinator.
const REPORTS_MAX: usize = 64;

/// An open call.
pub(super) struct Call {
    pub(super) orders: Streaming<v1::CoordinatorMessage>,
    pub(super) reports: mpsc::Sender<v1::WorkerMessage>,
}

/// A coordinator's answer to the hello.
pub(super) struct Answered {
    pub(super) call: Call,
    pub(super) welcome: v1::Welcome,
    /// When the hello was sent: the lease that the coordinator grants lasts from then on.
    pub(super) asked: Instant,
}

/// Why there was no welcome.
#[derive(Debug)]
pub(super) enum Failed {
    /// The coordinator refuses this worker, for good.
    Refused(Status),
    /// Another try, or another coordinator, may succeed.
    Unreachable(String),
}

impl Call {
    /// Connects and says hello. The sender that is put into `unheard` must be kept until another
    /// call is open.
    pub(super) async fn open(
        connector: &Connector,
        hello: v1::Hello,
        unheard: &mut Vec<mpsc::Sender<v1::WorkerMessage>>,
    ) -> Result<Answered, Failed> {
        let opening = async {
            let channel = connector.connect().await.map_err(|e| unreachable(explain(&e)))?;
            let asked = Instant::now();
            let (reports, outgoing) = mpsc::channel(REPORTS_MAX);
            unheard.push(reports.clone());
            let hello = v1::WorkerMessage { message: Some(Message::Hello(hello)) };
            // The queue has room, since nothing has been sent yet.
            reports.send(hello).await.map_err(|_| unreachable("the connection was closed"))?;
            let mut client = SessionsClient::new(channel)
                .max_decoding_message_size(limits::ANSWER_BYTES_MAX)
                .max_encoding_message_size(limits::REPORT_BYTES_MAX);
            let answer = client.open(ReceiverStream::new(outgoing)).await.map_err(failed)?;
            let mut orders = answer.into_inner();
            let first = orders.message().await.map_err(failed)?;
            let welcome =
                wire::welcome_from(first).map_err(|error| unreachable(error.to_string()))?;
            Ok(Answered { call: Self { orders, reports }, welcome, asked })
        };
        let answered = timeout(OPEN_TIMEOUT, opening)
            .await
            .unwrap_or_else(|_| Err(unreachable("it does not answer")));
        if answered.is_ok() {
            unheard.pop();
        }
        answered
    }

    /// Closes the call for good. The coordinator takes a closed call for the worker's goodbye, so a
    /// call that is being replaced must be kept open until its successor is open.
    pub(super) async fn goodbye(self) {
        let Self { mut orders, reports } = self;
        drop(reports);
        let hung_up = async { while let Ok(Some(_)) = orders.message().await {} };
        // The worker leaves even if the coordinator does not answer.
        let _ = timeout(GOODBYE_TIMEOUT, hung_up).await;
    }
}

fn unreachable(reason: impl Into<String>) -> Failed {
    Failed::Unreachable(reason.into())
}

/// Another build, a taken folder and a wrong service are permanent; all other failures may be
/// transient.
fn failed(status: Status) -> Failed {
    match status.code() {
        Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => Failed::Refused(status),
        _ => unreachable(explain(&status)),
    }
}
