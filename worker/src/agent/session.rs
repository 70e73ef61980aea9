//! A session with the coordinator, for the length of one call.
//!
//! While the call is open, the worker has a lease; when the lease expires, the call counts as
//! broken, whatever the connection's state. So nothing is reported without a lease.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tonic::Status;
use windrow_jobs::WorkerId;
use windrow_proto::fragments::Fragments;
use windrow_proto::v1;
use windrow_proto::v1::worker_message::Message;

use super::Agent;
use super::call::{Answered, Call, Failed};
use super::lease::Lease;
use super::membership::Welcomed;
use crate::wire::{self, Malformed, Order};

/// Shortest time between heartbeats, whatever interval the coordinator asks for.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// How a call ended.
#[derive(Debug)]
pub(super) enum End {
    /// The coordinator let the worker go.
    Drained,
    /// The worker was told to stop at once.
    Killed,
    /// The coordinator refuses this worker, for good.
    Refused(Status),
    /// The call broke, or was never opened.
    Lost {
        /// Whether there was a welcome.
        was_open: bool,
        /// The reason.
        reason: String,
    },
}

/// A session whose call is open.
struct Session<'a> {
    agent: &'a mut Agent,
    call: Call,
    lease: Lease,
    heartbeat: Interval,
    draining: Draining,
    /// The fragments of an order so far.
    fragments: Fragments,
    /// Number of orders of kinds that this worker does not know.
    unknown: u64,
}

/// Whether the worker wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    No,
    /// The coordinator has not been told yet.
    Wanted,
    Told,
}

/// Opens a call and serves it until it ends. Attempts go on after that, and their outputs stay.
pub(super) async fn run(agent: &mut Agent) -> End {
    let hello = agent.hello();
    let has_nothing = agent.attempts.is_empty();
    let answered = tokio::select! {
        answered = Call::open(&agent.connector, hello, &mut agent.unheard) => answered,
        () = agent.stops.kill.cancelled() => return End::Killed,
        () = agent.stops.drain.cancelled(), if has_nothing => return End::Drained,
    };
    let Answered { call, welcome, asked } = match answered {
        Ok(answered) => answered,
        Err(Failed::Refused(status)) => return End::Refused(status),
        Err(Failed::Unreachable(reason)) => return End::Lost { was_open: false, reason },
    };
    let welcomed = match agent.membership.welcome(&welcome) {
        Ok(welcomed) => welcomed,
        Err(unwelcome) => return End::Lost { was_open: false, reason: unwelcome.to_string() },
    };
    // The coordinator has another call now, and no longer takes the end of this one for a goodbye.
    agent.broken_call = None;
    agent.unheard.clear();
    let mut session = Session::new(agent, call, &welcome, asked);
    session.begin(welcomed, &welcome).await;
    let end = session.converse().await;
    let call = session.call;
    match end {
        End::Drained | End::Killed => call.goodbye().await,
        End::Refused(_) | End::Lost { .. } => agent.broken_call = Some(call),
    }
    end
}

impl<'a> Session<'a> {
    fn new(agent: &'a mut Agent, call: Call, welcome: &v1::Welcome, asked: Instant) -> Self {
        let lease = Lease::granted(asked, Duration::from_millis(welcome.lease_ms));
        let mut heartbeat =
            interval(Duration::from_millis(welcome.heartbeat_ms).max(HEARTBEAT_MIN));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let fragments = Fragments::default();
        Self { agent, call, lease, heartbeat, draining: Draining::No, fragments, unknown: 0 }
    }

    /// Resumes where the last call broke, or starts from nothing.
    async fn begin(&mut self, welcomed: Welcomed, welcome: &v1::Welcome) {
        let worker = WorkerId(welcome.worker);
        let coordinator = self.agent.connector.name();
        match welcomed {
            Welcomed::Back => {
                tracing::info!(%worker, coordinator, "back");
                self.agent.attempts.tell_again();
            }
            Welcomed::Anew => {
                tracing::info!(%worker, coordinator, "joined");
                self.drop_all().await;
            }
        }
        self.agent.reader.worker = Some(worker);
        self.agent.reader.host_number = welcome.host;
        let ends = self.lease.ends();
        self.agent.executor.identity().set(&welcome.cluster, worker, ends);
    }

    /// Drops all work under a former id before any work under the new one begins. That may take
    /// longer than the coordinator waits for a sign of life, so heartbeats go on.
    async fn drop_all(&mut self) {
        let Self { agent, call, lease, heartbeat, .. } = self;
        agent.executor.identity().clear();
        agent.jobs.clear();
        let dropped = agent.attempts.drop_all();
        tokio::pin!(dropped);
        loop {
            tokio::select! {
                () = &mut dropped => return,
                _ = heartbeat.tick() => {
                    let sequence = lease.beat(Instant::now());
                    let beat = wire::heartbeat_to(std::iter::empty(), sequence);
                    let _ = call.reports.try_send(beat);
                }
            }
        }
    }

    /// Obeys orders, reports results, and sends heartbeats, until the call ends.
    async fn converse(&mut self) -> End {
        loop {
            let end = tokio::select! {
                biased;
                () = self.agent.stops.kill.cancelled() => Some(End::Killed),
                // Orders come before the lease's end, which they may have put off.
                order = self.call.orders.message() => match order {
                    Ok(Some(order)) => self.obey(order),
                    Ok(None) => Some(broken("the coordinator has closed the session".to_string())),
                    Err(status) => Some(broken(status.message().to_string())),
                },
                () = self.agent.attempts.over() => None,
                is_open = has_room(&self.call.reports), if self.agent.attempts.has_untold() => {
                    if is_open { self.tell() } else { Some(broken("the connection was closed".to_string())) }
                }
                _ = self.heartbeat.tick() => {
                    self.beat();
                    None
                }
                () = sleep_until(self.lease.ends()) => Some(self.lease_ran_out()),
                () = self.agent.stops.drain.cancelled(), if self.draining == Draining::No => {
                    self.draining = Draining::Wanted;
                    self.beat();
                    None
                }
                // Last: no decision waits for printed lines.
                Some(printed) = self.agent.logs.recv(), if self.call.reports.capacity() > 0 => {
                    let message = Some(Message::Printed(printed));
                    let _ = self.call.reports.try_send(v1::WorkerMessage { message });
                    None
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn lease_ran_out(&self) -> End {
        let seconds = self.lease.length().as_secs_f64();
        broken(format!("it has answered no heartbeat for {seconds:.1} s"))
    }

    /// Sends the reports that are due, as far as there is room. The process may have been stopped
    /// for a while, so the lease is checked once more.
    fn tell(&mut self) -> Option<End> {
        if !self.lease.lasts(Instant::now()) {
            return Some(self.lease_ran_out());
        }
        while let Ok(permit) = self.call.reports.try_reserve() {
            permit.send(self.agent.attempts.next_report()?);
        }
        None
    }

    /// Sends what can be sent without waiting. A heartbeat for which there is no room is not
    /// missed: the coordinator has enough to read.
    fn beat(&mut self) {
        if self.draining == Draining::Wanted {
            let message = Some(Message::Draining(v1::Draining {}));
            if self.call.reports.try_send(v1::WorkerMessage { message }).is_ok() {
                self.draining = Draining::Told;
            }
        }
        if let Ok(permit) = self.call.reports.try_reserve() {
            let sequence = self.lease.beat(Instant::now());
            permit.send(self.agent.attempts.heartbeat(sequence));
        }
    }

    /// Carries out an order; returns the end of the call if it is over.
    fn obey(&mut self, order: v1::CoordinatorMessage) -> Option<End> {
        let obeyed = wire::order_from(order).map_err(|error| error.to_string());
        match obeyed.and_then(|order| self.follow(order)) {
            Ok(end) => end,
            Err(malformed) => Some(broken(malformed)),
        }
    }

    fn follow(&mut self, order: Order) -> Result<Option<End>, String> {
        let malformed = |error: Malformed| error.to_string();
        let Agent { attempts, jobs, reader, executor, .. } = &mut *self.agent;
        match order {
            Order::Fragment(fragment) => {
                return match self.fragments.add(&fragment).map_err(|error| error.to_string())? {
                    Some(whole) => self.follow_whole(whole),
                    None => Ok(None),
                };
            }
            Order::Context(job, context) => {
                jobs.entry(job).or_default().take_context(*context).map_err(malformed)?;
            }
            Order::SplitPoints(job, points) => {
                jobs.entry(job).or_default().take_split_points(points);
            }
            Order::Outputs(told) => {
                let job = jobs.entry(told.job).or_default();
                job.take_outputs(told, reader).map_err(malformed)?;
            }
            Order::Map(order) => {
                let job = jobs.entry(order.attempt.task.job).or_default();
                attempts.start(job.map(order).map_err(malformed)?);
            }
            Order::Reduce(order) => {
                let job = jobs.entry(order.attempt.task.job).or_default();
                attempts.start(job.reduce(order).map_err(malformed)?);
            }
            Order::Noted { attempt, won } => attempts.noted(attempt, won),
            Order::Renewed { sequence } => {
                self.lease.acknowledged(sequence);
                executor.identity().renew(self.lease.ends());
            }
            Order::Cancel(attempt) => attempts.cancel(attempt),
            Order::Release { job, ticket } => {
                jobs.remove(&job);
                attempts.release(job, ticket);
            }
            Order::Drained => return Ok(Some(End::Drained)),
            Order::Unknown => self.note_unknown(),
        }
        Ok(None)
    }

    /// Takes an order that came in fragments. Fragments must not be nested.
    fn follow_whole(&mut self, whole: v1::CoordinatorMessage) -> Result<Option<End>, String> {
        match wire::order_from(whole).map_err(|error| error.to_string())? {
            Order::Fragment(_) => Err("a fragment inside a fragment came".to_string()),
            order => self.follow(order),
        }
    }

    fn note_unknown(&mut self) {
        self.unknown += 1;
        if self.unknown.is_power_of_two() {
            tracing::warn!(
                coordinator = self.agent.connector.name(),
                unknown = self.unknown,
                "ignoring messages of kinds that this worker does not know; the coordinator is newer"
            );
        }
    }
}

/// Waits for room in the queue. False if the call is broken.
async fn has_room(reports: &mpsc::Sender<v1::WorkerMessage>) -> bool {
    reports.reserve().await.is_ok()
}

fn broken(reason: String) -> End {
    End::Lost { was_open: true, reason }
}
