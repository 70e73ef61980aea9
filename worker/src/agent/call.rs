//! One call to a coordinator: how it is opened and hung up. What is said on it is the session's
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

/// How long a coordinator may take to answer; one that is stopped accepts connections and never
/// does.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to hang up after a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// Reports that may wait for the coordinator.
const REPORTS_MAX: usize = 64;

/// A call that stands.
pub(super) struct Call {
    pub(super) orders: Streaming<v1::CoordinatorMessage>,
    pub(super) reports: mpsc::Sender<v1::WorkerMessage>,
}

/// What a coordinator answered to hello.
pub(super) struct Answered {
    pub(super) call: Call,
    pub(super) welcome: v1::Welcome,
    /// When it was said hello to: what it grants lasts from then on.
    pub(super) asked: Instant,
}

/// Why there was no welcome.
#[derive(Debug)]
pub(super) enum Failed {
    /// The coordinator does not want this worker, now or later.
    Refused(Status),
    /// Another try, or another coordinator, may do better.
    Unreachable(String),
}

impl Call {
    /// Connects and says hello. What is put into `unheard` must be kept until another call stands.
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
            // There is room: nothing has been sent yet.
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

    /// Hangs up for good. The coordinator takes that for the worker's leaving, so that a call that
    /// is only to be replaced by another one must be kept until that one stands.
    pub(super) async fn goodbye(self) {
        let Self { mut orders, reports } = self;
        drop(reports);
        let hung_up = async { while let Ok(Some(_)) = orders.message().await {} };
        // If it does not take leave, the worker goes without.
        let _ = timeout(GOODBYE_TIMEOUT, hung_up).await;
    }
}

fn unreachable(reason: impl Into<String>) -> Failed {
    Failed::Unreachable(reason.into())
}

/// Another build, a taken folder or a wrong service stay what they are; all else may pass.
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
