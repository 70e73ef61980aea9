//! Many sessions of a worker that finishes each task at once.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use windrow_proto::fragments::Fragments;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as Order;
use windrow_proto::v1::sessions_client::SessionsClient;
use windrow_proto::v1::worker_message::Message as Report;

use crate::Result;
use crate::counted::connect;

/// Waits of sessions from a report to the next attempt, by its stage.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// For map attempts.
    pub maps: Vec<Duration>,
    /// For reduce attempts, which may have to wait for the last map.
    pub reduces: Vec<Duration>,
}

/// All sessions; they end when this is dropped.
pub struct Sessions {
    bytes: Arc<AtomicU64>,
    waits: Arc<Mutex<Waits>>,
    _running: JoinSet<()>,
}

impl Sessions {
    /// Opens this many, each over its own connection; attempts take `task`.
    pub async fn open(address: &str, count: usize, task: Duration) -> Result<Self> {
        let (bytes, waits) = (Arc::default(), Arc::<Mutex<Waits>>::default());
        let mut running = JoinSet::new();
        for number in 0..count {
            let session = Session::open(address, number, task, (&bytes, &waits)).await?;
            running.spawn(session.work());
        }
        Ok(Self { bytes, waits, _running: running })
    }

    /// All bytes that the coordinator has sent to them.
    pub fn bytes_received(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// All waits, sorted.
    pub fn waits(&self) -> Waits {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waits.maps.sort_unstable();
        waits.reduces.sort_unstable();
        waits
    }
}

struct Session {
    reports: mpsc::Sender<v1::WorkerMessage>,
    orders: Streaming<v1::CoordinatorMessage>,
    fragments: Fragments,
    heartbeat: Duration,
    /// Folders for parts, by job.
    staging: BTreeMap<u64, PathBuf>,
    waits: Arc<Mutex<Waits>>,
    reported: Option<Instant>,
    /// How long each attempt takes.
    task: Duration,
    /// Reports of running attempts, and when they are due.
    working: VecDeque<(Instant, Report)>,
}

impl Session {
    async fn open(
        address: &str,
        number: usize,
        task: Duration,
        (bytes, waits): (&Arc<AtomicU64>, &Arc<Mutex<Waits>>),
    ) -> Result<Self> {
        let (reports, outgoing) = mpsc::channel(64);
        let hello = v1::WorkerMessage { message: Some(Report::Hello(hello(number))) };
        reports.send(hello).await?;
        let mut client = SessionsClient::new(connect(address, bytes).await?);
        let mut orders = client.open(ReceiverStream::new(outgoing)).await?.into_inner();
        let welcome = orders.message().await?.and_then(|first| first.message);
        let Some(Order::Welcome(welcome)) = welcome else { return Err("no welcome".into()) };
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
        Ok(Self {
            reports,
            orders,
            fragments: Fragments::default(),
            heartbeat,
            staging: BTreeMap::new(),
            waits: Arc::clone(waits),
            reported: None,
            task,
            working: VecDeque::new(),
        })
    }

    async fn work(mut self) {
        let mut heartbeat = interval(self.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sequence = 0;
        loop {
            let next_done = self.working.front().map(|(done, _)| *done);
            let due = next_done.unwrap_or_else(Instant::now).into();
            let report = tokio::select! {
                order = self.orders.message() => match order {
                    Ok(Some(order)) => {
                        let report = self.obey(order);
                        let done = Instant::now() + self.task;
                        self.working.extend(report.map(|report| (done, report)));
                        None
                    }
                    // The coordinator has been killed, so the measurement is over.
                    Ok(None) | Err(_) => return,
                },
                () = sleep_until(due), if next_done.is_some() => {
                    self.reported = Some(Instant::now());
                    self.working.pop_front().map(|(_, report)| report)
                }
                _ = heartbeat.tick() => {
                    sequence += 1;
                    Some(Report::Heartbeat(v1::Heartbeat { running: Vec::new(), sequence }))
                }
            };
            if let Some(message) = report {
                let message = v1::WorkerMessage { message: Some(message) };
                if self.reports.send(message).await.is_err() {
                    return;
                }
            }
        }
    }

    fn obey(&mut self, order: v1::CoordinatorMessage) -> Option<Report> {
        match order.message? {
            Order::Fragment(fragment) => {
                let whole = self.fragments.add(&fragment).ok()??;
                self.obey(whole)
            }
            Order::JobContext(context) => {
                self.staging.insert(context.id, context.staging.into());
                None
            }
            Order::AssignMap(v1::AssignMap { attempt, .. }) => {
                self.note_wait(|waits| &mut waits.maps);
                let stats = Some(stats(self.task));
                Some(Report::MapDone(v1::MapDone { attempt, stats, ..Default::default() }))
            }
            Order::AssignReduce(v1::AssignReduce { attempt, .. }) => {
                self.note_wait(|waits| &mut waits.reduces);
                Some(Report::ReduceDone(self.reduce(attempt?)?))
            }
            _ => None,
        }
    }

    fn note_wait(&mut self, of_kind: impl FnOnce(&mut Waits) -> &mut Vec<Duration>) {
        if let Some(reported) = self.reported.take() {
            let waited = reported.elapsed();
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            of_kind(&mut waits).push(waited);
        }
    }

    /// Writes an empty part.
    fn reduce(&self, attempt: v1::AttemptId) -> Option<v1::ReduceDone> {
        let staging = self.staging.get(&attempt.job)?;
        let path = staging.join(format!("part-{:05}.{}", attempt.task, attempt.attempt));
        std::fs::write(&path, b"").ok()?;
        let part = v1::Part { location: path.display().to_string(), ..Default::default() };
        Some(v1::ReduceDone {
            attempt: Some(attempt),
            stats: Some(stats(self.task)),
            part: Some(part),
            bad_records: None,
        })
    }
}

fn stats(task: Duration) -> v1::AttemptStats {
    let elapsed_ms = task.as_millis() as u64;
    v1::AttemptStats { audit: Some(v1::Audit::default()), elapsed_ms, ..Default::default() }
}

/// A worker with one slot, so that a report is followed by at most one attempt.
fn hello(number: usize) -> v1::Hello {
    v1::Hello {
        build: Some(build()),
        name: format!("worker-{number}"),
        shuffle_address: format!("10.0.{}.{}:7171", number / 256, number % 256),
        host: format!("machine-{number}"),
        directory: "/var/lib/windrow/jobs".into(),
        map_slots: 1,
        reduce_slots: 1,
        threads: 1,
        memory_bytes: 1 << 30,
        instance: format!("process-{number}"),
        platform: Some(v1::Platform { arch: std::env::consts::ARCH.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// Of this protocol.
pub fn build() -> v1::Build {
    v1::Build {
        protocol_version: windrow_proto::PROTOCOL_VERSION,
        protocol_min: windrow_proto::PROTOCOL_MIN,
        version: env!("CARGO_PKG_VERSION").into(),
        digest: "0".repeat(64),
    }
}
