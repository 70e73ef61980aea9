//! The decider alone, in virtual time: the scheduler with its journal, ten thousand obedient
//! workers, and a store in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use windrow_jobs::{AttemptId, Counters, Platform, PlatformNeeds, WorkerId};
use windrow_scheduler::{
    AttemptProgress, AttemptStats, Catalog, Config, Decider, Effect, Event, JobPlan, Outcome,
    RequestId, Scheduler, SplitPlan, SubmissionId, Time, WorkerOffer,
};

use crate::Result;
use crate::store::Store;

const HEARTBEAT: Duration = Duration::from_secs(1);
const TASK: Duration = Duration::from_secs(10);
/// Most events that a driver decides on before it passes their records to the store.
const TURN: usize = 256;

/// An empty catalog.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Nothing;

impl Catalog for Nothing {
    type Note = ();
    type Attachment = ();

    fn apply(&mut self, _: Time, _: &Event, (): (), _: &[Effect], _: &Scheduler) {}
}

/// What a run costs.
#[derive(Default)]
pub struct Costs {
    /// Including heartbeats.
    pub events: u64,
    /// Time for all events, including checkpoints.
    pub deciding: Duration,
    /// The longest event, and its kind: nothing else is answered meanwhile.
    pub longest: (Duration, &'static str),
    /// Time of the store, beside which a coordinator continues to decide.
    pub storing: Duration,
    /// Bytes written to the store.
    pub stored_bytes: u64,
    /// The most bytes in the store at once.
    pub kept_bytes_max: u64,
}

struct Cluster {
    decider: Decider<Nothing>,
    store: Store,
    workers: u64,
    /// Running attempts by the moment of their end.
    ends: BTreeSet<(Time, AttemptId, WorkerId)>,
    running: BTreeMap<WorkerId, BTreeSet<AttemptId>>,
    events: VecDeque<Event>,
    costs: Costs,
    outcome: Option<Outcome>,
}

/// Runs one job of so many tasks on so many workers.
pub fn run(workers: u64, maps: u64, reduces: u32) -> Result<Costs> {
    let mut store = Store::default();
    let recovered = store.take_over()?;
    let mut cluster = Cluster {
        decider: Decider::recover(recovered, Config::default(), Nothing),
        store,
        workers,
        ends: BTreeSet::new(),
        running: BTreeMap::new(),
        events: (0..workers).map(joins).chain([submits(maps, reduces)]).collect(),
        costs: Costs::default(),
        outcome: None,
    };
    cluster.happen(Time::default())?;
    for second in 1.. {
        cluster.pass(Time(HEARTBEAT * second))?;
        if let Some(outcome) = cluster.outcome.take() {
            return match outcome {
                Outcome::Succeeded => Ok(cluster.costs),
                other => Err(format!("the job did not succeed: {other:?}").into()),
            };
        }
    }
    unreachable!("seconds go on")
}

fn joins(identity: u64) -> Event {
    let offer = WorkerOffer {
        name: format!("worker-{identity}"),
        identity,
        map_slots: 2,
        reduce_slots: 2,
        platform: Platform::default(),
    };
    Event::WorkerJoined { request: RequestId(identity), offer }
}

fn submits(maps: u64, reduces: u32) -> Event {
    let plan = JobPlan {
        splits: (0..maps).map(|affinity| SplitPlan { bytes: 1 << 28, affinity }).collect(),
        partitions: reduces,
        max_attempts: 4,
        task_timeout: Duration::from_secs(60),
        worker_wait: Duration::from_secs(60),
        priority: 0,
        submitter: 0,
        skip_bad_records: None,
        needs: PlatformNeeds::default(),
    };
    Event::Submit { request: RequestId(0), submission: SubmissionId(1), plan }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Submit { .. } => "the submission",
        Event::AttemptDone { .. } => "a report",
        Event::Published { .. } => "the end",
        _ => "another one",
    }
}

impl Cluster {
    /// Ends attempts that are due, and sends each worker's heartbeat.
    fn pass(&mut self, until: Time) -> Result<()> {
        while let Some(&(at, attempt, worker)) = self.ends.first().filter(|end| end.0 <= until) {
            self.ends.pop_first();
            if let Some(running) = self.running.get_mut(&worker) {
                running.remove(&attempt);
            }
            let counters = Counters::from_iter([("records", 1_000_000)]);
            let stats =
                AttemptStats { input_records: 1_000_000, counters, ..AttemptStats::default() };
            self.events.push_back(Event::AttemptDone { worker, attempt, stats });
            if self.events.len() == TURN {
                self.happen(at)?;
            }
        }
        let steps = self.costs.events;
        for worker in (1..=self.workers).map(WorkerId) {
            let progress =
                |&attempt| AttemptProgress { attempt, records: steps, bytes: steps, steps };
            let running = self.running.get(&worker).into_iter().flatten().map(progress).collect();
            self.events.push_back(Event::Heartbeat { worker, running });
        }
        self.happen(until)
    }

    /// Decides on all pending events, and makes them durable.
    fn happen(&mut self, now: Time) -> Result<()> {
        while !self.events.is_empty() || self.decider.is_waiting() {
            for event in self.events.drain(..self.events.len().min(TURN)) {
                let kind = kind(&event);
                let begun = Instant::now();
                self.decider.handle(now, event, ());
                let took = begun.elapsed();
                self.costs.events += 1;
                self.costs.deciding += took;
                self.costs.longest = self.costs.longest.max((took, kind));
            }
            let begun = Instant::now();
            while let Some((id, call)) = self.decider.next_call() {
                self.decider.answer(id, self.store.perform(call)?)?;
            }
            self.costs.storing += begun.elapsed();
            while let Some(effect) = self.decider.next_effect() {
                self.obey(now, effect);
            }
        }
        self.costs.stored_bytes = self.store.bytes_ever;
        self.costs.kept_bytes_max = self.costs.kept_bytes_max.max(self.store.bytes);
        Ok(())
    }

    fn obey(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Assign { worker, attempt, .. } => {
                let spread = Duration::from_micros(self.costs.events % 1_000_000);
                self.ends.insert((now + TASK + spread, attempt, worker));
                self.running.entry(worker).or_default().insert(attempt);
            }
            Effect::Publish { job, .. } => {
                self.events.push_back(Event::Published { job, result: Ok(()) });
            }
            Effect::Ended { outcome, .. } => self.outcome = Some(outcome),
            _ => {}
        }
    }
}
