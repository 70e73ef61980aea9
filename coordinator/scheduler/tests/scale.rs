//! What the scheduler's state and its tables cost as jobs grow, in virtual time, without faults.
//! How fast it decides: `cargo bench --bench control_plane -- --decider`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use windrow_model::{AttemptId, Counters, Platform, PlatformNeeds, WorkerId};
use windrow_scheduler::{
    AttemptProgress, AttemptStats, Config, Effect, Event, JobPlan, MapOutputs, Outcome, RequestId,
    Scheduler, SplitPlan, SubmissionId, Time, WorkerOffer,
};

const HEARTBEAT: Duration = Duration::from_secs(1);
const TASK: Duration = Duration::from_secs(10);

/// A cluster whose workers do what they are told, in time.
struct Cluster {
    scheduler: Scheduler,
    workers: u64,
    /// Attempts by the moment at which they are done.
    ends: BTreeSet<(Time, AttemptId, WorkerId)>,
    running: BTreeMap<WorkerId, BTreeSet<AttemptId>>,
    events: u64,
    /// The tables of map outputs that reducers were given, each as often as it is not the one given
    /// before.
    tables: Vec<Arc<MapOutputs>>,
    /// Virtual ones that have passed.
    seconds: u32,
    outcome: Option<Outcome>,
}

impl Cluster {
    fn new(workers: u64, maps: u64, reduces: u32) -> Self {
        let mut cluster = Self {
            scheduler: Scheduler::new(Config::default()),
            workers,
            ends: BTreeSet::new(),
            running: BTreeMap::new(),
            events: 0,
            tables: Vec::new(),
            seconds: 1,
            outcome: None,
        };
        let start = Time::default();
        for identity in 0..workers {
            let name = format!("worker-{identity}");
            let offer = WorkerOffer {
                name,
                identity,
                map_slots: 2,
                reduce_slots: 2,
                platform: Platform::default(),
            };
            cluster.handle(start, Event::WorkerJoined { request: RequestId(identity), offer });
        }
        let split = |affinity| SplitPlan { bytes: 1 << 28, affinity };
        let plan = JobPlan {
            splits: (0..maps).map(split).collect(),
            partitions: reduces,
            max_attempts: 4,
            task_timeout: Duration::from_secs(60),
            worker_wait: Duration::from_secs(60),
            priority: 0,
            submitter: 0,
            skip_bad_records: None,
            needs: PlatformNeeds::default(),
        };
        let submission = SubmissionId(1);
        cluster.handle(start, Event::Submit { request: RequestId(0), submission, plan });
        cluster
    }

    fn handle(&mut self, now: Time, event: Event) {
        let mut effects = Vec::new();
        self.scheduler.handle(now, &event, &mut effects);
        self.events += 1;
        for effect in effects {
            match effect {
                Effect::Assign { worker, attempt, outputs, .. } => {
                    if let Some(table) = outputs {
                        let given =
                            self.tables.last().is_some_and(|last| Arc::ptr_eq(last, &table));
                        self.tables.extend((!given).then_some(table));
                    }
                    let spread = Duration::from_micros(self.events % 1_000_000);
                    self.ends.insert((now + TASK + spread, attempt, worker));
                    self.running.entry(worker).or_default().insert(attempt);
                }
                Effect::Publish { job, .. } => {
                    self.handle(now, Event::Published { job, result: Ok(()) });
                }
                Effect::Ended { outcome, .. } => self.outcome = Some(outcome),
                _ => {}
            }
        }
    }

    /// Lives until the job has ended, or all maps are done. Each worker is heard of once a second.
    fn run(&mut self, until_maps_are_done: bool) {
        while self.outcome.is_none() {
            let until = Time(HEARTBEAT * self.seconds);
            while let Some(&(at, attempt, worker)) = self.ends.first().filter(|end| end.0 <= until)
            {
                self.ends.pop_first();
                self.done(at, attempt, worker);
            }
            for worker in (1..=self.workers).map(WorkerId) {
                self.heartbeat(until, worker);
            }
            let maps = self.scheduler.jobs().next().map(|job| job.map);
            if until_maps_are_done && maps.is_some_and(|maps| maps.done == maps.tasks) {
                return;
            }
            self.seconds += 1;
        }
    }

    fn done(&mut self, now: Time, attempt: AttemptId, worker: WorkerId) {
        if let Some(running) = self.running.get_mut(&worker) {
            running.remove(&attempt);
        }
        let counters = Counters::from_iter([("records", 1_000_000)]);
        let stats = AttemptStats { input_records: 1_000_000, counters, ..AttemptStats::default() };
        self.handle(now, Event::AttemptDone { worker, attempt, stats });
    }

    fn heartbeat(&mut self, now: Time, worker: WorkerId) {
        let steps = self.events;
        let progress = |&attempt| AttemptProgress { attempt, records: steps, bytes: steps, steps };
        let running = self.running.get(&worker).into_iter().flatten().map(progress).collect();
        self.handle(now, Event::Heartbeat { worker, running });
    }
}

/// Twice the maps and twice the reduces take twice the state, not four times.
#[test]
fn the_state_grows_with_the_sum_of_maps_and_reduces() {
    let bytes = |scale: u32| {
        let mut cluster = Cluster::new(10, 40 * u64::from(scale), 40 * scale);
        cluster.run(true);
        postcard::to_allocvec(&cluster.scheduler).unwrap().len()
    };
    let (one, four) = (bytes(1), bytes(4));
    assert!(four < one * 5, "{one} bytes, then {four}");
}

/// All reducers are told where the outputs are by one table, which is made once: O(maps) in all,
/// not O(maps x reduces).
#[test]
fn reducers_share_one_table() {
    let mut cluster = Cluster::new(10, 200, 100);
    cluster.run(false);
    assert_eq!(cluster.outcome, Some(Outcome::Succeeded));
    assert_eq!(cluster.tables.len(), 1);
    assert_eq!(cluster.tables[0].outputs.len(), 200);
}

/// A task that is done, with the counters that its winner has counted, is written down in a few
/// dozen bytes; in memory see `task.rs`.
#[test]
fn a_task_takes_few_bytes() {
    let bytes = |maps| {
        let mut cluster = Cluster::new(10, maps, 1);
        cluster.run(true);
        postcard::to_allocvec(&cluster.scheduler).unwrap().len()
    };
    let a_task = (bytes(2_000) - bytes(1_000)) / 1_000;
    assert!(a_task <= 100, "{a_task} bytes");
}
