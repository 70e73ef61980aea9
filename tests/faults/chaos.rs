//! Jobs of all kinds, some at the same time, while workers and the coordinator are killed, stopped
//! and restarted at random. Every job ends with the output of a run without faults.
//!
//! It ends after every kind of job, enough faults of each kind, and some redone work; with
//! `WINDROW_CHAOS_SECONDS` it runs for that long. `WINDROW_CHAOS_SEED` chooses the faults: the same
//! seed gives the same faults in the same order, but what they hit depends on the machine. A
//! failure prints its seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::small_job::assert_manifest;
use crate::conformance::path;
use crate::support::{
    Cluster, ClusterOptions, Dir, Environment, Mode, Process, Random, case, eventually,
    generated_words, read_parts,
};

pub fn tests() -> Vec<Trial> {
    vec![case("faults::chaos", chaos)]
}

const WORKERS: usize = 4;
/// A new checkpoint every few jobs.
const COORDINATOR_ENV: Environment = &[("WINDROW_SNAPSHOT_AFTER", "50")];
/// Shorter than some of the stops.
const LEASE: &str = "2s";
const JOBS_AT_ONCE: usize = 3;
/// Longest pause between two faults, and longest fault, in milliseconds.
const PAUSE_MS_MAX: u64 = 2_000;
const DOWN_MS_MAX: u64 = 3_000;

/// The least number of faults.
const FAULTS_MIN: usize = 15;
/// If these have not happened by then, something is wrong.
const SECONDS_MAX: u64 = 180;

fn chaos() {
    let seconds = from_environment("WINDROW_CHAOS_SECONDS");
    let seed =
        from_environment("WINDROW_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let _repeat = HowToRepeat(seed);
    let kinds = Kinds::new();
    // Workers read each other's files, or fetch over gRPC.
    let own_hosts = seed.is_multiple_of(2) && rustix::process::geteuid().is_root();
    let options = ClusterOptions {
        lease: LEASE,
        own_hosts,
        coordinator_env: COORDINATOR_ENV,
        ..Default::default()
    };
    let mut victims = Victims::new(Cluster::with_options(WORKERS, options), Random::new(seed));
    let mut running = Vec::new();
    let (mut begun, mut ended) = (0, 0);
    let start = Instant::now();
    let mut redone = 0;
    loop {
        let has_seen_enough = ended >= kinds.kinds.len() && redone > 0 && victims.were_all_hurt();
        let goes_on = match seconds {
            Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
            None => !has_seen_enough && start.elapsed() < Duration::from_secs(SECONDS_MAX),
        };
        if !goes_on && running.is_empty() {
            break;
        }
        while running.len() < JOBS_AT_ONCE && goes_on {
            running.push(kinds.start(&victims.cluster, begun));
            begun += 1;
        }
        if goes_on {
            victims.hurt();
        } else {
            victims.heal();
        }
        eventually("a fault's time or a job's end", || {
            running.iter_mut().any(Running::has_ended) || victims.is_time()
        });
        let (over, still): (Vec<_>, Vec<_>) =
            running.into_iter().map(|mut job| (job.has_ended(), job)).partition(|(over, _)| *over);
        running = still.into_iter().map(|(_, job)| job).collect();
        for (_, job) in over {
            redone += kinds.judge(job, &victims.cluster);
            ended += 1;
        }
    }
    victims.heal_all();
    victims.cluster.wait_for_workers(WORKERS);
    kinds.judge(kinds.start(&victims.cluster, begun), &victims.cluster);
    let Victims { kills, stops, coordinators, .. } = victims;
    eprintln!(
        "chaos: {ended} jobs over {kills} kills and {stops} stops, {coordinators} of them of the coordinator; {redone} \
         attempts were lost and redone"
    );
    // Fewer jobs would prove nothing, however long it ran.
    assert!(ended >= kinds.kinds.len(), "{ended} jobs");
    assert!(kills > 0 && stops > 0 && coordinators > 0, "{kills}, {stops}, {coordinators}");
    assert!(redone > 0, "no fault met any work");
}

/// Prints how to repeat the test, if it fails.
struct HowToRepeat(u64);

impl Drop for HowToRepeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "chaos has failed; the same faults again: WINDROW_CHAOS_SEED={} cargo test --test integration chaos",
                self.0
            );
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The kinds of jobs, and their outputs without faults.
struct Kinds {
    _input: Dir,
    kinds: Vec<Kind>,
}

struct Kind {
    arguments: Vec<String>,
    parts: BTreeMap<String, Vec<u8>>,
}

/// A waiting submit, and the folder of its output.
struct Running {
    kind: usize,
    submit: Process,
    dir: Dir,
}

impl Running {
    fn has_ended(&mut self) -> bool {
        !self.submit.is_running()
    }
}

impl Kinds {
    fn new() -> Self {
        let input = Dir::new();
        generated_words(&input, 6, 500_000);
        let words = path(&input.join("in"));
        let join = ["left", "right"].map(|side| {
            let rows = (0..40_000_u64).map(|n| format!("key{}\t{side}{n}\n", n * 7 % 9_973));
            format!("{side}={}", path(&input.write(side, rows.collect::<String>())))
        });
        let slow = ["crash", "--sleeps", "600", "--sleep-ms-max", "800", "--reducers", "3"];
        let all: [(&[&str], &[&str]); 7] = [
            (&["word-count", "--reducers", "3"], &[&words]),
            (&["inverted-index", "--reducers", "2"], &[&words]),
            (&["sort", "--reducers", "3"], &[&words]),
            (&["grep", "word1"], &[&words]),
            (&["paired", "--reducers", "2"], &[&join[0], &join[1]]),
            (
                &["word-count", "--memory", "1MiB", "--compress", "zstd", "--reducers", "5"],
                &[&words],
            ),
            (&slow, &[&words]),
        ];
        let kinds = all.iter().map(|(job, inputs)| Kind::new(job, inputs)).collect();
        Self { _input: input, kinds }
    }

    /// Takes the kinds in turn.
    fn start(&self, cluster: &Cluster, number: usize) -> Running {
        let kind = number % self.kinds.len();
        let dir = Dir::new();
        let submit = cluster.start_submit(self.kinds[kind].to(&dir));
        Running { kind, submit, dir }
    }

    /// Returns how many attempts were lost with a worker.
    #[track_caller]
    fn judge(&self, job: Running, cluster: &Cluster) -> u64 {
        let Kind { arguments, parts } = &self.kinds[job.kind];
        let output = job.submit.finish();
        assert_eq!(
            output.code(),
            Some(0),
            "{arguments:?} said: {}{}, the coordinator: {}",
            output.stdout,
            output.stderr,
            cluster.coordinator.stderr()
        );
        let folder = job.dir.join("out");
        assert!(read_parts(&folder) == *parts, "{arguments:?} gave another output");
        assert_manifest(&folder);
        // "tasks     map 6/6, reduce 3/3, 0 failed and 2 lost attempts"
        let words: Vec<&str> = output.stdout.split_ascii_whitespace().collect();
        let lost = words.windows(2).find(|pair| pair[1] == "lost");
        lost.map_or(0, |pair| pair[0].parse().unwrap())
    }
}

impl Kind {
    fn new(job: &[&str], inputs: &[&str]) -> Self {
        let mut arguments: Vec<String> = job.iter().map(ToString::to_string).collect();
        arguments.extend(["--split-size".into(), "250KB".into(), "--input".into()]);
        arguments.extend(inputs.iter().map(ToString::to_string));
        let mut kind = Self { arguments, parts: BTreeMap::new() };
        let dir = Dir::new();
        Mode::Embedded.run(kind.to(&dir)).expect_code(0);
        kind.parts = read_parts(&dir.join("out"));
        kind
    }

    fn to(&self, dir: &Dir) -> Vec<String> {
        [&self.arguments[..], &["--output".into(), path(&dir.join("out"))]].concat()
    }
}

/// The processes of a cluster, some of them down.
struct Victims {
    cluster: Cluster,
    random: Random,
    next_fault: Instant,
    /// The faults to undo, and when.
    down: Vec<(Instant, Victim, Fault)>,
    kills: usize,
    stops: usize,
    /// The faults of the coordinator.
    coordinators: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Coordinator,
    Worker(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
}

impl Victims {
    fn new(cluster: Cluster, random: Random) -> Self {
        let (kills, stops, coordinators) = (0, 0, 0);
        let next_fault = Instant::now();
        Self { cluster, random, next_fault, down: Vec::new(), kills, stops, coordinators }
    }

    /// Whether there were enough faults, and some of each kind.
    fn were_all_hurt(&self) -> bool {
        let Self { kills, stops, coordinators, .. } = self;
        kills + stops >= FAULTS_MIN && [kills, stops, coordinators].iter().all(|count| **count > 0)
    }

    /// Whether [`Self::hurt`] or [`Self::heal`] has something to do.
    fn is_time(&self) -> bool {
        let now = Instant::now();
        now >= self.next_fault || self.down.iter().any(|(until, ..)| now >= *until)
    }

    /// Injects a fault, if it is time.
    fn hurt(&mut self) {
        self.heal();
        if Instant::now() < self.next_fault {
            return;
        }
        self.next_fault = self.after(PAUSE_MS_MAX);
        let victim = match self.random.below(WORKERS as u64 + 1) {
            0 => Victim::Coordinator,
            n => Victim::Worker(n as usize - 1),
        };
        let fault = if self.random.below(4) == 0 { Fault::Stop } else { Fault::Kill };
        // Often restarted at once: leftovers of the killed process must not be in the way.
        let until =
            if self.random.below(2) == 0 { Instant::now() } else { self.after(DOWN_MS_MAX) };
        if self.down.iter().all(|(_, other, _)| *other != victim) {
            match (fault, self.process(victim)) {
                (Fault::Kill, process) => process.kill(),
                (Fault::Stop, process) => process.signal(Signal::STOP),
            }
            self.down.push((until, victim, fault));
            match fault {
                Fault::Kill => self.kills += 1,
                Fault::Stop => self.stops += 1,
            }
            self.coordinators += usize::from(victim == Victim::Coordinator);
        }
    }

    /// Undoes all faults, before their time.
    fn heal_all(&mut self) {
        self.down.iter_mut().for_each(|(until, ..)| *until = Instant::now());
        self.heal();
        assert!(self.down.is_empty(), "a process stays down");
    }

    /// Undoes the faults whose time is over.
    fn heal(&mut self) {
        let now = Instant::now();
        let (back, still): (Vec<_>, Vec<_>) =
            self.down.drain(..).partition(|(until, ..)| now >= *until);
        self.down = still;
        for (_, victim, fault) in back {
            match (fault, victim) {
                (Fault::Stop, victim) => self.process(victim).signal(Signal::CONT),
                (Fault::Kill, Victim::Coordinator) => {
                    self.cluster.restart_coordinator_with(COORDINATOR_ENV);
                }
                (Fault::Kill, Victim::Worker(n)) => {
                    let command = self.cluster.worker_command(n);
                    self.cluster.workers[n] = Process::start(command);
                }
            }
        }
    }

    fn process(&mut self, victim: Victim) -> &mut Process {
        match victim {
            Victim::Coordinator => &mut self.cluster.coordinator,
            Victim::Worker(n) => &mut self.cluster.workers[n],
        }
    }

    fn after(&mut self, ms_max: u64) -> Instant {
        Instant::now() + Duration::from_millis(self.random.below(ms_max))
    }
}
