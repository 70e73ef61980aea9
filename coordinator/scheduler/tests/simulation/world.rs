//! The world around the scheduler: one heap of happenings in virtual time, a network that delays, loses, doubles
//! and reorders, and a driver that carries effects out. Every choice is drawn from one seed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use windrow_jobs::{AttemptId, FailureCause, JobId};
use windrow_scheduler::{Effect, Event, JobPlan, RequestId, Scheduler, Time};

use crate::invariants::{self, Invariant, Ledger, Truth};
use crate::process::Process;
use crate::rng::Rng;
use crate::scenario::{CALM, Faults, STORM, Scenario};

/// Something that is going to happen. Processes are named by their index.
#[derive(Clone, Debug)]
pub enum Happening {
    Submit(JobPlan),
    /// A message reaches the coordinator.
    Arrive(Event),
    /// A message reaches a process.
    Deliver(usize, Effect),
    /// A machine starts a process.
    Start {
        machine: u64,
    },
    Heartbeat(usize),
    /// A reducer reads its inputs.
    Read(usize, AttemptId),
    /// An attempt has come to its end.
    Finish(usize, AttemptId),
    /// A fault strikes somebody.
    Strike(Fault),
    StormEnds,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Death,
    Stall,
    Cut,
    Drain,
    Rot,
}

pub struct World {
    pub now: Time,
    pub rng: Rng,
    pub faults: Faults,
    pub processes: Vec<Process>,
    pub truth: Truth,
    machines: u64,
    storm: bool,
    heap: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    scheduler: Scheduler,
    ledger: Ledger,
    invariants: Vec<Box<dyn Invariant>>,
    /// Submissions that are still to come.
    submissions: usize,
    trace: Option<Vec<String>>,
}

/// Everything that happened, if it was to be written down, and the first thing that should not have.
pub struct Run {
    pub trace: Vec<String>,
    pub violation: Option<String>,
    /// How jobs ended, to see that seeds reach all kinds of ends.
    pub outcomes: Vec<&'static str>,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let Scenario { config, machines, jobs, faults } = Scenario::draw(&mut rng);
        let mut world = Self {
            now: Time::default(),
            rng,
            faults,
            processes: Vec::new(),
            truth: Truth::default(),
            machines,
            storm: true,
            heap: BTreeMap::new(),
            sequence: 0,
            ledger: Ledger::new(config.clone()),
            scheduler: Scheduler::new(config),
            invariants: invariants::all(),
            submissions: jobs.len(),
            trace: traced.then(Vec::new),
        };
        world.plan_storm(jobs);
        world
    }

    fn plan_storm(&mut self, jobs: Vec<(Duration, JobPlan)>) {
        self.note(|world| format!("{} machines, {:?}", world.machines, world.faults));
        for (after, plan) in jobs {
            self.later(after, Happening::Submit(plan));
        }
        for machine in 0..self.machines {
            let after = self.rng.millis(0, 5_000);
            self.later(after, Happening::Start { machine });
        }
        let Faults { deaths, stalls, cuts, drains, rots, .. } = self.faults;
        for (count, fault) in [
            (deaths, Fault::Death),
            (stalls, Fault::Stall),
            (cuts, Fault::Cut),
            (drains, Fault::Drain),
            (rots, Fault::Rot),
        ] {
            for _ in 0..count {
                let after = self.rng.millis(0, STORM.as_millis() as u64);
                self.later(after, Happening::Strike(fault));
            }
        }
        self.later(STORM, Happening::StormEnds);
    }

    /// Lives until every job has ended and the dust has settled, or until time is up.
    pub fn run(mut self) -> Run {
        // A panic of the scheduler is a violation like any other.
        let live = catch_unwind(AssertUnwindSafe(|| self.live()));
        let violation = live.unwrap_or_else(|_| Err("panicked, see above".into())).err();
        let outcomes = self.ledger.outcomes();
        Run { trace: self.trace.unwrap_or_default(), violation, outcomes }
    }

    fn live(&mut self) -> Result<(), String> {
        let mut quiet_since = None;
        while self.now < Time(STORM + CALM) && self.turn()? {
            if self.submissions > 0 || !self.ledger.all_ended() || self.storm {
                continue;
            }
            // Some more time, for what may come late.
            let since = *quiet_since.get_or_insert(self.now);
            if self.now.since(since) > Duration::from_secs(30) {
                break;
            }
        }
        for invariant in &mut self.invariants {
            invariant.at_end(&self.ledger)?;
        }
        Ok(())
    }

    /// The next thing happens, or the next deadline of the scheduler comes. False when nothing ever will.
    fn turn(&mut self) -> Result<bool, String> {
        let happening = self.heap.first_key_value().map(|(&(at, _), _)| at);
        let deadline = self.scheduler.next_deadline();
        if let Some(at) = deadline.filter(|&at| happening.is_none_or(|other| at < other)) {
            self.now = self.now.max(at);
            self.note(|_| "deadline".to_string());
            let mut effects = Vec::new();
            self.scheduler.handle_deadline(self.now, &mut effects);
            self.carry_out(effects)?;
            return Ok(true);
        }
        let Some(((at, _), happening)) = self.heap.pop_first() else { return Ok(false) };
        self.now = at;
        self.happen(happening)?;
        Ok(true)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Arrive(event) => return self.arrive(event),
            Happening::Submit(plan) => {
                self.submissions -= 1;
                return self.arrive(Event::Submit { request: RequestId(0), plan });
            }
            Happening::StormEnds => self.end_storm(),
            Happening::Start { machine } => self.start_process(machine),
            Happening::Strike(fault) => self.strike(fault),
            Happening::Heartbeat(index)
            | Happening::Deliver(index, _)
            | Happening::Read(index, _)
            | Happening::Finish(index, _) => self.happen_to(index, happening),
        }
        Ok(())
    }

    fn arrive(&mut self, event: Event) -> Result<(), String> {
        self.note(|_| format!("-> {event:?}"));
        for invariant in &mut self.invariants {
            invariant.on_event(self.now, &event, &self.ledger)?;
        }
        self.ledger.on_event(self.now, &event);
        let mut effects = Vec::new();
        self.scheduler.handle(self.now, event, &mut effects);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            self.note(|_| format!("   {effect:?}"));
            for invariant in &mut self.invariants {
                invariant.on_effect(self.now, &effect, &self.ledger, &self.truth)?;
            }
            self.ledger.on_effect(self.now, &effect);
            self.carry_out_one(effect);
        }
        self.scheduler.check_invariants();
        Ok(())
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Accepted { job, .. } => self.perhaps_cancel(job),
            Effect::CancelAnswered { .. } | Effect::Ended { .. } => {}
            Effect::Publish { job, .. } => self.publish(job),
            Effect::Admitted { request, worker } => self.admitted(request, worker, effect),
            Effect::Assign { worker, .. }
            | Effect::CancelAttempt { worker, .. }
            | Effect::Drained { worker }
            | Effect::EndSession { worker, .. }
            | Effect::Release { worker, .. } => self.send_to_worker(worker, effect),
        }
    }

    fn perhaps_cancel(&mut self, job: JobId) {
        if self.strikes(self.faults.cancel) {
            let after = self.rng.millis(0, 40_000);
            let cancel = Event::Cancel { request: RequestId(0), job };
            self.later(after, Happening::Arrive(cancel));
        }
    }

    fn publish(&mut self, job: JobId) {
        let full = FailureCause::Io {
            path: "/out".into(),
            message: "no space left on device".into(),
            disk_full: true,
        };
        let result = if self.strikes(self.faults.publish) { Err(full) } else { Ok(()) };
        self.later_doubled(1_000, Happening::Arrive(Event::Published { job, result }));
    }

    /// The faults stop. Machines start again, unless the cluster was abandoned.
    fn end_storm(&mut self) {
        self.storm = false;
        self.note(|_| "the storm is over".to_string());
        if self.faults.abandoned {
            for index in 0..self.processes.len() {
                self.die(index);
            }
            return;
        }
        for machine in 0..self.machines {
            if !self.processes.iter().any(|process| process.machine == machine && process.alive) {
                self.later(Duration::from_secs(1), Happening::Start { machine });
            }
        }
    }

    /// Whether a fault of this chance strikes now.
    pub fn strikes(&mut self, permille: u64) -> bool {
        self.storm && self.rng.chance(permille)
    }

    pub fn storm(&self) -> bool {
        self.storm
    }

    pub fn later(&mut self, after: Duration, happening: Happening) {
        self.sequence += 1;
        self.heap.insert((self.now + after, self.sequence), happening);
    }

    /// Once, or twice; each time after a delay of its own.
    pub fn later_doubled(&mut self, delay_max_ms: u64, happening: Happening) {
        if self.strikes(self.faults.double) {
            let delay = self.rng.millis(1, delay_max_ms.max(1) * 2);
            self.later(delay, happening.clone());
        }
        let delay = self.rng.millis(1, delay_max_ms.max(1));
        self.later(delay, happening);
    }

    pub fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>9.3} {}", self.now.0.as_secs_f64(), line(self));
            self.trace.get_or_insert_default().push(line);
        }
    }
}
