//! The scenario of a seed: the size of the cluster, the jobs, and the rates of the faults.

use std::num::NonZeroU32;
use std::time::Duration;

use windrow_jobs::{BadRecordBudget, PlatformNeeds, Share};
use windrow_scheduler::{Config, JobPlan, SplitPlan};

use crate::simulation::rng::Rng;

/// Faults occur until then.
pub const STORM: Duration = Duration::from_secs(60);
/// After the storm, every job must end within this time: some timeouts, pauses and retries in a
/// row.
pub const CALM: Duration = Duration::from_secs(600);

pub struct Scenario {
    pub config: Config,
    pub machines: u64,
    pub jobs: Vec<(Duration, JobPlan)>,
    pub faults: Faults,
}

/// Probabilities in thousandths; most seeds have only some kinds of faults.
#[derive(Debug)]
pub struct Faults {
    pub delay_max_ms: u64,
    /// A message is lost, or arrives twice.
    pub lose: u64,
    pub double: u64,
    /// An attempt fails, never ends, or takes long.
    pub fail: u64,
    pub hang: u64,
    pub slow: u64,
    /// A fetch fails.
    pub fetch: u64,
    /// A job is cancelled; a job can never be published.
    pub cancel: u64,
    pub publish: u64,
    /// A step of a publication fails; an output folder cannot be taken over.
    pub publish_step: u64,
    pub folder: u64,
    /// How many times, during the storm, a process dies, stalls, is cut off, drains, or loses an
    /// output.
    pub deaths: u64,
    pub stalls: u64,
    pub cuts: u64,
    pub drains: u64,
    pub rots: u64,
    /// How many times a coordinator crashes or pauses, or another one takes over.
    pub crashes: u64,
    pub pauses: u64,
    pub usurps: u64,
    /// A coordinator crashes, or pauses, between two effects.
    pub crash_between: u64,
    pub pause_between: u64,
    /// Faults of the store: it refuses a call, applies it and reports an error, applies it later,
    /// says that the object exists although it does not, is slow, or is silent for longer than a
    /// lease. At a crash, the last write may be torn.
    pub refuse: u64,
    pub fail_applied: u64,
    pub defer: u64,
    pub conflict: u64,
    pub slow_store: u64,
    pub hang_store: u64,
    pub torn: u64,
    /// Attempts that kill their child process.
    pub dies: u64,
    /// Every other job has poison records, which kill child processes.
    pub deadly: u64,
    /// Every other job has a record that kills workers.
    pub poison: u64,
    /// Two of three jobs have nondeterministic maps.
    pub nondeterministic: u64,
    /// Every other job has maps that combine the same pairs differently each time.
    pub spills: u64,
    /// On the first machine, every attempt fails.
    pub bad_machine: u64,
    /// Records after which a state is written.
    pub snapshot_after: u64,
    /// Machines do not restart ended processes until the storm is over, or ever.
    pub no_restarts: bool,
    pub abandoned: bool,
    /// Not all machines can run all jobs.
    pub two_platforms: bool,
    /// Two clients want the same output folder.
    pub shared_outputs: bool,
}

impl Scenario {
    pub fn draw(rng: &mut Rng) -> Self {
        let config = Config {
            backoff_max: Duration::from_secs(5),
            losses_max: rng.between(3, 20) as u32,
            deaths_max: rng.between(2, 10) as u32,
            poison_max: rng.between(1, 3) as u32,
            fetch_failures_max: rng.between(5, 50) as u32,
            backup_after: Some(rng.millis(1_000, 10_000)),
            publish_failures_max: rng.between(2, 10) as u32,
            // In some seeds, jobs are forgotten soon.
            ended_jobs_max: if rng.chance(300) { rng.between(1, 3) as usize } else { 1_000 },
            seed: rng.next(),
            quick_task: rng.millis(0, 3_000),
            tasks_per_block: NonZeroU32::MIN.saturating_add(rng.between(0, 5) as u32),
            ..Config::default()
        };
        // Some clusters are larger.
        let (machines_min, machines_max, jobs_max, maps_max) =
            if rng.chance(30) { (6, 12, 8, 60) } else { (1, 6, 4, 24) };
        let faults = Faults::draw(rng);
        let job = |rng: &mut Rng| (rng.millis(0, 20_000), plan(rng, maps_max, &faults));
        let jobs = (0..rng.between(1, jobs_max)).map(|_| job(rng)).collect();
        Self { config, machines: rng.between(machines_min, machines_max), jobs, faults }
    }
}

impl Faults {
    fn draw(rng: &mut Rng) -> Self {
        // In some seeds, few coordinators live long.
        let often = if rng.chance(250) { 5 } else { 1 };
        let mut some = |max: u64| if rng.chance(500) { rng.below(max + 1) } else { 0 };
        Self {
            delay_max_ms: 2 + some(3_000),
            lose: some(50),
            double: some(300),
            fail: some(200),
            hang: some(50),
            slow: some(200),
            fetch: some(200),
            cancel: some(300),
            publish: some(200),
            publish_step: some(50),
            folder: some(400),
            deaths: some(12),
            stalls: some(8),
            cuts: some(8),
            drains: some(4),
            rots: some(20),
            crashes: some(6 * often),
            pauses: some(4 * often),
            usurps: some(4 * often),
            crash_between: some(10),
            pause_between: some(5),
            refuse: some(200),
            fail_applied: some(200),
            defer: some(100),
            conflict: some(100),
            slow_store: some(100),
            hang_store: some(40),
            torn: some(1_000),
            dies: some(100),
            deadly: some(1),
            poison: some(3) / 3,
            nondeterministic: some(1),
            spills: some(1),
            bad_machine: some(3) / 3,
            snapshot_after: 1 + some(100),
            no_restarts: some(9) > 6,
            abandoned: some(9) > 7,
            two_platforms: some(3) > 1,
            shared_outputs: some(3) > 1,
        }
    }
}

fn plan(rng: &mut Rng, maps_max: u64, faults: &Faults) -> JobPlan {
    let splits = rng.between(0, maps_max);
    let arch = if faults.two_platforms { ["", "odd", "even"][rng.below(3) as usize] } else { "" };
    JobPlan {
        splits: (0..splits).map(|_| SplitPlan { bytes: 100, affinity: rng.next() }).collect(),
        partitions: rng.below(8) as u32,
        max_attempts: rng.between(2, 6) as u32,
        task_timeout: Duration::from_secs(20),
        worker_wait: Duration::from_secs(30),
        priority: rng.below(3) as i32,
        submitter: splits % 3,
        skip_bad_records: match rng.below(3) {
            0 => None,
            1 => Some(BadRecordBudget::Records(rng.below(6))),
            _ => Share::new(0.05).ok().map(BadRecordBudget::Share),
        },
        needs: PlatformNeeds { arch: arch.into(), ..PlatformNeeds::default() },
    }
}
