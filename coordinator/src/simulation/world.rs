//! The world around the coordinators: one heap of happenings in virtual time. Every choice is drawn
//! from one seed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use windrow_jobs::JobId;
use windrow_scheduler::{Config, JobPlan, Time};

use crate::driver::DriverState;
use crate::output::OutputPaths;
use crate::simulation::client::Client;
use crate::simulation::coordinator::Coordinator;
use crate::simulation::happening::{Fault, Happening};
use crate::simulation::invariants::epochs::Epochs;
use crate::simulation::invariants::history::History;
use crate::simulation::invariants::promises::Promises;
use crate::simulation::invariants::{ends, size, visible};
use crate::simulation::network::Connection;
use crate::simulation::output::Output;
use crate::simulation::process::Process;
use crate::simulation::recorder;
use crate::simulation::rng::Rng;
use crate::simulation::scenario::{CALM, Faults, STORM, Scenario};
use crate::simulation::store::Store;

/// More than any world needs whose time goes on.
const TURNS_MAX: u64 = 200_000;

pub struct World {
    pub now: Time,
    pub rng: Rng,
    pub config: Config,
    pub faults: Faults,
    pub processes: Vec<Process>,
    pub coordinators: Vec<Coordinator>,
    pub connections: Vec<Connection>,
    pub clients: Vec<Client>,
    pub store: Store,
    pub output: Output,
    pub epochs: Epochs,
    pub history: History,
    pub promises: Promises,
    /// The state of a coordinator whose crash lost nothing.
    pub left: Option<DriverState>,
    /// Where each accepted job writes.
    pub places: BTreeMap<JobId, OutputPaths>,
    pub trace: Option<Vec<String>>,
    pub machines: u64,
    storm: bool,
    heap: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
}

/// The trace, if it was recorded, and the first violation.
pub struct Run {
    pub trace: Vec<String>,
    pub violation: Option<String>,
    /// How jobs ended, to check that seeds reach all kinds of ends.
    pub outcomes: Vec<&'static str>,
    pub takeovers: usize,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let Scenario { config, machines, jobs, faults } = Scenario::draw(&mut rng);
        let mut world = Self {
            now: Time::default(),
            rng,
            config,
            faults,
            processes: Vec::new(),
            coordinators: Vec::new(),
            connections: Vec::new(),
            clients: Vec::new(),
            store: Store::default(),
            output: Output::default(),
            epochs: Epochs::default(),
            history: History::default(),
            promises: Promises::default(),
            left: None,
            places: BTreeMap::new(),
            trace: traced.then(Vec::new),
            machines,
            storm: true,
            heap: BTreeMap::new(),
            sequence: 0,
        };
        world.plan_storm(jobs);
        world
    }

    fn plan_storm(&mut self, jobs: Vec<(Duration, JobPlan)>) {
        self.note(|world| format!("{} machines, {:?}", world.machines, world.faults));
        self.start_coordinator();
        for (after, plan) in jobs {
            let count = self.clients.len();
            let output = if self.faults.shared_outputs { count / 2 } else { count };
            self.clients.push(Client::new(plan, output));
            self.later(after, Happening::Ask(self.clients.len() - 1));
        }
        for machine in 0..self.machines {
            let after = self.rng.millis(0, 5_000);
            self.later(after, Happening::Start { machine });
        }
        let Faults { deaths, stalls, cuts, drains, rots, crashes, pauses, usurps, .. } =
            self.faults;
        for (count, fault) in [
            (deaths, Fault::Death),
            (stalls, Fault::Stall),
            (cuts, Fault::Cut),
            (drains, Fault::Drain),
            (rots, Fault::Rot),
            (crashes, Fault::Crash),
            (pauses, Fault::Pause),
            (usurps, Fault::Usurp),
        ] {
            for _ in 0..count {
                let after = self.rng.millis(0, STORM.as_millis() as u64);
                self.later(after, Happening::Strike(fault));
            }
        }
        self.later(STORM, Happening::StormEnds);
    }

    /// Runs until every job has ended and nothing happens any more, or until time is up.
    pub fn run(mut self) -> Run {
        recorder::watch(self.trace.is_some());
        // A panic of the driver is a violation like any other.
        let live = catch_unwind(AssertUnwindSafe(|| self.live()));
        recorder::stop_watching();
        let violation = live.unwrap_or_else(|_| Err("panicked, see above".into())).err();
        let outcomes = match self.leader() {
            Some(leader) => leader.state().catalog.recorder.ledger.outcomes(),
            None => Vec::new(),
        };
        let takeovers = self.epochs.begun();
        Run { trace: self.trace.unwrap_or_default(), violation, outcomes, takeovers }
    }

    fn live(&mut self) -> Result<(), String> {
        let (mut quiet_since, mut turns) = (None, 0);
        while self.now < Time(STORM + CALM) && self.turn()? {
            turns += 1;
            if turns > TURNS_MAX {
                return Err("ends: it never comes to rest".into());
            }
            if self.storm || !self.all_over() {
                quiet_since = None;
                continue;
            }
            // Some more time for late messages.
            let since = *quiet_since.get_or_insert(self.now);
            if self.now.since(since) > Duration::from_secs(60) {
                break;
            }
        }
        let clients = &self.clients;
        let deciding = self.coordinators.iter().filter(|c| c.driver().is_some()).count();
        ends::check_one_decides(deciding)?;
        let Some(leader) = self.leader() else { return Err("ends: nobody decides".into()) };
        let catalog = &leader.state().catalog;
        ends::check_end(catalog, clients, &self.processes)?;
        let ledger = &catalog.recorder.ledger;
        size::check_objects(self.store.len(), self.faults.snapshot_after, ledger)?;
        // The lock of a job that was never accepted, left by a coordinator that is gone: the next
        // one takes it.
        let may_stay = |coordinator: usize, paths: &OutputPaths| {
            let is_accepted = self.places.values().any(|accepted| accepted == paths);
            !is_accepted && self.coordinators[coordinator].is_gone()
        };
        visible::check_unlocked(self.output.locked(may_stay))?;
        visible::check_end(ledger, &self.output, &self.promises)
    }

    fn all_over(&self) -> bool {
        let heard = self.clients.iter().all(|client| client.heard_end);
        heard
            && self.leader().is_some_and(|leader| {
                let catalog = &leader.state().catalog;
                catalog.recorder.ledger.all_ended() && catalog.unsettled().next().is_none()
            })
    }

    /// Runs the next happening, or the next deadline of a coordinator. False when there is none.
    fn turn(&mut self) -> Result<bool, String> {
        let happening = self.heap.first_key_value().map(|(&(at, _), _)| at);
        let deadlines = self.coordinators.iter().enumerate();
        let deadline = deadlines.filter_map(|(index, c)| Some((c.wakes_at()?, index))).min();
        if let Some((at, index)) = deadline.filter(|(at, _)| happening.is_none_or(|h| *at < h)) {
            self.now = self.now.max(at);
            self.run_driver(index)?;
            return Ok(true);
        }
        let Some(((at, _), happening)) = self.heap.pop_first() else { return Ok(false) };
        self.now = at;
        self.happen(happening)?;
        Ok(true)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        if let Some(coordinator) = happening.addressee(&self.connections) {
            if self.coordinators[coordinator].is_gone() {
                return Ok(());
            }
            let paused = self.coordinators[coordinator].paused_until.since(self.now);
            if !paused.is_zero() {
                // A coordinator that resumes takes a few moments to read its sockets.
                let read_after = self.rng.millis(0, 20);
                let waiting = self.wait_unread(coordinator, happening);
                self.later(paused + read_after, waiting);
                return Ok(());
            }
            let coordinator = &mut self.coordinators[coordinator];
            if happening.is_command() && !coordinator.has_room() {
                coordinator.waits.push_back(happening);
                return Ok(());
            }
        }
        match happening {
            Happening::Ask(client) => self.ask(client),
            Happening::Cancel(job) => self.cancel(job),
            Happening::Asked(index, client) => return self.asked(index, client),
            Happening::CancelAsked(index, job) => return self.cancel_asked(index, job),
            Happening::Hello(connection, until) => return self.hello(connection, until),
            Happening::Said(connection, sent, event) => return self.said(connection, sent, event),
            Happening::Released(id, job, ticket) => return self.released(id, job, ticket),
            Happening::Unread(said) => return self.read_unread(*said),
            Happening::Broken(index, connection) => return self.broken(index, connection),
            Happening::Apply(call) => self.apply(call),
            Happening::Answered(index, id, answer) => return self.answered(index, id, *answer),
            Happening::Vanish(key) => self.vanish(key),
            Happening::Wake(index) => return self.run_driver(index),
            Happening::TakeFolder(index, job, paths, ended) => {
                self.take_folder(index, job, &paths, ended);
            }
            Happening::Publish(index, publication) => return self.publish(index, publication),
            Happening::CleanUp(index, job, paths, succeeded) => {
                self.clean_up(index, job, &paths, succeeded);
            }
            Happening::Done(index, done) => return self.command(index, done.command()),
            Happening::StartCoordinator { unless_there } => {
                if !unless_there || self.coordinators.iter().all(Coordinator::is_gone) {
                    self.start_coordinator();
                }
            }
            Happening::StormEnds => self.end_storm(),
            Happening::Start { machine } => self.start_process(machine),
            Happening::Strike(fault) => self.strike(fault),
            Happening::Deliver(index, _)
            | Happening::Heartbeat(index)
            | Happening::Unwelcome(index, _)
            | Happening::Reset(index, _)
            | Happening::Read(index, _)
            | Happening::Finish(index, _)
            | Happening::End(index, ..) => self.happen_to(index, happening),
        }
        Ok(())
    }

    /// Ends the faults. Machines start again, unless the cluster was abandoned.
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

    /// Whether a fault of this probability occurs now.
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

    /// Schedules a happening once or twice, each time after a delay of its own.
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
