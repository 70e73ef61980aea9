//! One session with the coordinator, from hello to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use windrow_jobs::{JobId, WorkerId};
use windrow_proto::v1;
use windrow_proto::v1::sessions_client::SessionsClient;
use windrow_proto::v1::worker_message::Message;

use super::Agent;
use super::attempts::Attempts;
use crate::executor::{RunRequest, Work, WorkerOutputs};
use crate::rpc::convert::{self, Order};

/// How long the coordinator may take to answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Reports that may wait for the coordinator.
const REPORTS_MAX: usize = 64;
/// Largest message that is taken: the list of a job's map outputs, with a few bytes for each of up to a million.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Shortest time between heartbeats, whatever the coordinator asks for.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The coordinator let the worker go.
    Drained,
    /// The worker was told to stop at once.
    Killed,
    /// The coordinator does not want this worker, now or later.
    Refused(Status),
    /// It broke, or never came about.
    Lost {
        /// Whether there was a welcome.
        was_open: bool,
        /// What happened.
        reason: String,
    },
}

/// A session that stands.
struct Session<'a> {
    agent: &'a Agent,
    orders: Streaming<v1::CoordinatorMessage>,
    reports: mpsc::Sender<v1::WorkerMessage>,
    heartbeat: Interval,
    attempts: Attempts,
    /// By job: the version, and where its map outputs lie.
    outputs: BTreeMap<JobId, (u64, Arc<Vec<WorkerOutputs>>)>,
    draining: Draining,
}

/// Whether the worker wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    No,
    /// The coordinator is still to be told.
    Wanted,
    Told,
}

/// Runs one session to its end. Then nothing of it runs, and nothing is kept.
pub(super) async fn run(agent: &Agent) -> End {
    let opened = tokio::select! {
        opened = Session::open(agent) => opened,
        () = agent.kill.cancelled() => return End::Killed,
        // Nothing is held that others could need.
        () = agent.drain.cancelled() => return End::Drained,
    };
    let mut session = match opened {
        Ok(session) => session,
        Err(end) => return end,
    };
    let end = session.converse().await;
    let Session { attempts, orders, reports, .. } = session;
    // Hangs up first: the coordinator can give the work to others at once.
    drop((orders, reports));
    attempts.stop().await;
    agent.forget_all().await;
    end
}

impl<'a> Session<'a> {
    async fn open(agent: &'a Agent) -> Result<Self, End> {
        let channel = agent.connector.connect().await.map_err(|error| lost(deepest(&error)))?;
        let (reports, outgoing) = mpsc::channel(REPORTS_MAX);
        let hello = v1::WorkerMessage { message: Some(Message::Hello(agent.hello.clone())) };
        // There is room: nothing has been sent yet.
        reports.send(hello).await.map_err(|_| lost("the connection was closed".to_string()))?;
        let mut client = SessionsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opening = async {
            let mut orders = client.open(ReceiverStream::new(outgoing)).await?.into_inner();
            let first = orders.message().await?;
            Ok::<_, Status>((orders, first))
        };
        let (orders, first) = timeout(OPEN_TIMEOUT, opening)
            .await
            .map_err(|_| lost("it does not answer".to_string()))?
            .map_err(refused_or_lost)?;
        let welcome = convert::welcome_from(first).map_err(|error| lost(error.to_string()))?;
        let worker = WorkerId(welcome.worker);
        agent.executor.set_worker_id(worker);
        tracing::info!(%worker, coordinator = agent.connector.name(), "joined");
        let period = Duration::from_millis(welcome.heartbeat_ms).max(HEARTBEAT_MIN);
        let mut heartbeat = interval(period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let attempts = Attempts::new(Arc::clone(&agent.executor), &reports);
        let outputs = BTreeMap::new();
        Ok(Self { agent, orders, reports, heartbeat, attempts, outputs, draining: Draining::No })
    }

    /// Obeys orders, reports results, and shows that it is alive, until the session ends.
    async fn converse(&mut self) -> End {
        loop {
            let end = tokio::select! {
                order = self.orders.message() => match order {
                    Ok(Some(order)) => self.obey(order).await,
                    Ok(None) => Some(broken("the coordinator has closed the session".to_string())),
                    Err(status) => Some(broken(status.message().to_string())),
                },
                () = self.attempts.reported() => None,
                _ = self.heartbeat.tick() => {
                    self.beat();
                    None
                }
                () = self.agent.drain.cancelled(), if self.draining == Draining::No => {
                    self.draining = Draining::Wanted;
                    self.beat();
                    None
                }
                () = self.agent.kill.cancelled() => Some(End::Killed),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Says what can be said without waiting. A heartbeat that finds no room is not missed: the coordinator has enough
    /// to read, and whatever it reads renews the lease.
    fn beat(&mut self) {
        if self.draining == Draining::Wanted {
            let message = Some(Message::Draining(v1::Draining {}));
            if self.reports.try_send(v1::WorkerMessage { message }).is_ok() {
                self.draining = Draining::Told;
            }
        }
        let _ = self.reports.try_send(self.attempts.heartbeat());
    }

    /// Does as the coordinator says; the session may be over then.
    async fn obey(&mut self, order: v1::CoordinatorMessage) -> Option<End> {
        let order = match convert::order_from(order) {
            Ok(order) => order,
            Err(malformed) => return Some(broken(malformed.to_string())),
        };
        match order {
            Order::Run(request) => self.attempts.start(request),
            Order::Reduce { attempt, context, outputs_version } => {
                match self.outputs.get(&attempt.task.job) {
                    Some((version, outputs)) if *version == outputs_version => {
                        let work = Work::Reduce(Arc::clone(outputs));
                        self.attempts.start(RunRequest { attempt, context, work });
                    }
                    _ => return Some(broken(format!("{attempt} came without its map outputs"))),
                }
            }
            Order::Outputs { job, version, outputs } => {
                self.outputs.insert(job, (version, Arc::new(outputs)));
            }
            Order::Cancel(attempt) => self.attempts.cancel(attempt),
            Order::Release(job) => {
                self.attempts.cancel_job(job);
                self.outputs.remove(&job);
                self.agent.forget(job);
            }
            Order::Drained => return Some(End::Drained),
            Order::Heard => {}
        }
        None
    }
}

fn lost(reason: String) -> End {
    End::Lost { was_open: false, reason }
}

fn broken(reason: String) -> End {
    End::Lost { was_open: true, reason }
}

/// Another build, a taken folder or a wrong service stay what they are; all else may pass.
fn refused_or_lost(status: Status) -> End {
    match status.code() {
        Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => End::Refused(status),
        _ => lost(deepest(&status)),
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
