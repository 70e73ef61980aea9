//! The worker's side of its conversation with the coordinator.
//!
//! ```text
//!  run() --- serves shuffle data for as long as it lives
//!    |
//!    +-- session --- hello, welcome --- orders --> Attempts --> executor
//!    |      ^                                          |
//!    |      +-- heartbeats and reports <---------------+
//!    +-- backoff, when the call breaks; then another call, here or to the next coordinator
//! ```
//!
//! When a call breaks, nothing is lost: attempts go on, outputs stay, and reports wait until they
//! can be sent. Only the answer to the next hello says whether the session goes on. If not, all
//! work is dropped before anything new begins. The agent decides nothing about tasks and runs no
//! user code.

mod attempts;
mod backoff;
mod call;
mod config;
mod lease;
mod listener;
mod machine;
mod membership;
mod open;
mod platform;
mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{JobId, Registry};
use windrow_proto::v1;

pub use config::{WorkerConfig, WorkerError};

use crate::cgroup::default_memory_bytes;
use crate::connector::Connector;
use crate::executor::{Executor, PrintedLogs};
use crate::wire::{self, AnnouncedJob, Reader};
use attempts::Attempts;
use backoff::Backoff;
use call::Call;
use listener::ShuffleListener;
use membership::Membership;
use open::Opened;
use session::End;

/// Map attempts at once: one computes while the other reads.
const MAP_SLOTS: u32 = 2;

/// A worker, between and during its sessions.
struct Agent {
    executor: Arc<Executor>,
    connector: Connector,
    /// The part of the hello that never changes.
    hello: v1::Hello,
    stops: Stops,
    membership: Membership,
    attempts: Attempts,
    /// Receives the output that jobs print.
    logs: PrintedLogs,
    /// What the coordinator has announced of each job.
    jobs: BTreeMap<JobId, AnnouncedJob>,
    /// The identity under which this worker reads map outputs.
    reader: Reader,
    /// The broken call, not closed before another call is open: the coordinator would take its end
    /// for a goodbye.
    broken_call: Option<Call>,
    /// Senders of calls whose hello was not answered. They stay open: if the hello arrives late,
    /// the end of the call must not pass for a goodbye.
    unheard: Vec<mpsc::Sender<v1::WorkerMessage>>,
}

/// Stops a worker. Clones stop the same worker.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    /// Drains the worker: it takes no new work, finishes its attempts, and leaves when nobody needs
    /// its data any more, which only the coordinator knows.
    pub drain: CancellationToken,
    /// Kills the worker: it cancels all running attempts, and leaves.
    pub kill: CancellationToken,
}

/// Runs a worker until it has been drained or killed. While the coordinator cannot be reached, it
/// says so and keeps trying.
///
/// # Errors
///
/// When its folder or its socket cannot be used, or the coordinator refuses it for good.
pub async fn run(
    config: WorkerConfig,
    registry: Arc<Registry>,
    build: v1::Build,
    connector: Connector,
    stops: Stops,
) -> Result<(), WorkerError> {
    let threads = config.threads.unwrap_or_else(machine::cores).max(1);
    let memory_bytes = config.memory_bytes.unwrap_or_else(default_memory_bytes);
    machine::warn_of_memory(memory_bytes);
    let Opened { executor, losses, logs, isolation, directory } =
        open::open(&config, threads, memory_bytes, registry, &build, &connector).await?;
    let shuffle = match config.listen {
        Some(address) if address.ip().is_unspecified() && config.advertise.is_none() => {
            return Err(WorkerError::UnspecifiedAddress { address });
        }
        Some(address) => Some(ShuffleListener::start(address, Arc::clone(&executor)).await?),
        None => None,
    };
    let bound = shuffle.as_ref().map_or_else(String::new, ShuffleListener::address);
    let (host, folder) = (config.host.clone(), directory.clone());
    let reader = Reader { host, directory: folder, ..Reader::default() };
    let hello = v1::Hello {
        build: Some(build),
        name: config.name,
        shuffle_address: config.advertise.unwrap_or(bound),
        host: config.host,
        directory: directory.display().to_string(),
        map_slots: MAP_SLOTS,
        reduce_slots: threads,
        threads,
        memory_bytes,
        instance: machine::instance(),
        r#return: None,
        platform: Some(platform::platform()),
        isolation: wire::isolation_to(isolation).into(),
        says_released: true,
    };
    let mut agent = Agent {
        attempts: Attempts::new(Arc::clone(&executor), losses),
        logs,
        executor,
        connector,
        hello,
        stops,
        membership: Membership::default(),
        jobs: BTreeMap::new(),
        reader,
        broken_call: None,
        unheard: Vec::new(),
    };
    let result = agent.keep_joining().await;
    drop(shuffle);
    agent.attempts.drop_all().await;
    result
}

impl Agent {
    async fn keep_joining(&mut self) -> Result<(), WorkerError> {
        let mut backoff = Backoff::new();
        let mut refusals = 0;
        loop {
            match session::run(self).await {
                End::Drained | End::Killed => return Ok(()),
                End::Refused(status) => {
                    refusals += 1;
                    if refusals == self.connector.addresses() {
                        let coordinator = self.connector.name().to_string();
                        return Err(WorkerError::Refused { coordinator, status });
                    }
                    tracing::warn!(
                        "the coordinator {} refuses this worker: {}; trying the next one",
                        self.connector.name(),
                        windrow_jobs::one_line(status.message())
                    );
                    self.connector.turn();
                }
                End::Lost { was_open, reason } => {
                    refusals = 0;
                    if was_open {
                        backoff = Backoff::new();
                    }
                    if !self.pause(&mut backoff, was_open, &reason).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits before the next try: with the same coordinator if there was a session, else with the
    /// next one. False if the worker is to leave instead.
    async fn pause(&self, backoff: &mut Backoff, was_open: bool, reason: &str) -> bool {
        let has_nothing = self.attempts.is_empty();
        let pause = if has_nothing { backoff.long() } else { backoff.short() };
        tracing::warn!(
            "{} the coordinator {}: {}; trying again in {:.1} s",
            if was_open { "lost" } else { "cannot reach" },
            self.connector.name(),
            windrow_jobs::one_line(reason),
            pause.as_secs_f64()
        );
        if !was_open {
            self.connector.turn();
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            // While the worker holds outputs, they may be needed, and no coordinator is there to
            // say otherwise.
            () = self.stops.drain.cancelled(), if has_nothing => false,
            () = self.stops.kill.cancelled() => false,
        }
    }

    /// The first message of a call: this worker's identity, and what it still holds from the last
    /// call.
    fn hello(&mut self) -> v1::Hello {
        let inventory = self.attempts.inventory();
        let member = self.membership.current();
        let r#return = member
            .map(|member| wire::return_to(member.worker, &member.cluster, member.epoch, inventory));
        v1::Hello { r#return, ..self.hello.clone() }
    }
}
