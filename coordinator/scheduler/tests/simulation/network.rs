//! Connections between workers and coordinators. Messages on them are delayed, lost, doubled and reordered; what was under
//! way when a connection broke may still arrive. Only the welcome comes first, and is never lost: else there is no session.

use std::time::Duration;

use windrow_jobs::WorkerId;
use windrow_scheduler::journal::Epoch;
use windrow_scheduler::{Effect, Event, Inventory, RequestId, Time, WorkerOffer};

use crate::happening::Happening;
use crate::invariants::leases;
use crate::world::World;

pub struct Connection {
    pub process: usize,
    pub coordinator: usize,
    pub hello: Hello,
    open: bool,
    welcome_arrives: Time,
}

/// What a worker says first.
#[derive(Clone, Debug)]
pub struct Hello {
    pub offer: WorkerOffer,
    pub returns: Option<(WorkerId, Inventory)>,
    pub sent: Time,
}

/// How a coordinator reaches a worker.
pub struct Link {
    pub connection: usize,
    /// Nothing is sent before the answer to hello.
    pub welcomed: bool,
}

/// What a coordinator sends to a worker.
#[derive(Clone, Debug)]
pub struct Message {
    pub connection: usize,
    pub epoch: Epoch,
    pub worker: WorkerId,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    Welcome,
    /// A heartbeat that was sent then has been heard.
    Ack(Time),
    Order(Effect),
}

/// Clients have even numbers, connections odd ones.
pub fn request_of_connection(connection: usize) -> RequestId {
    RequestId(connection as u64 * 2 + 1)
}

impl World {
    /// A worker reaches for a coordinator. False when there is none that answers.
    pub fn open_connection(&mut self, process: usize, hello: Hello) -> Option<usize> {
        let coordinator = self.pick_coordinator()?;
        let connection = self.connections.len();
        let welcome_arrives = Time(Duration::MAX);
        self.connections.push(Connection {
            process,
            coordinator,
            hello,
            open: true,
            welcome_arrives,
        });
        if self.now >= self.processes[process].cut_out_until {
            let delay = self.rng.millis(1, 100);
            self.later(delay, Happening::Hello(connection));
        }
        Some(connection)
    }

    /// A coordinator that decides: mostly the one that came last.
    pub fn pick_coordinator(&mut self) -> Option<usize> {
        let deciding: Vec<_> = (0..self.coordinators.len())
            .filter(|&index| self.coordinators[index].decider().is_some())
            .collect();
        let newest = *deciding.last()?;
        Some(if self.rng.chance(750) { newest } else { *self.rng.pick(&deciding) })
    }

    /// A worker's first message arrives.
    pub fn hello(&mut self, id: usize) -> Result<(), String> {
        let Connection { coordinator, hello, open, .. } = &self.connections[id];
        if !open {
            return Ok(());
        }
        let (coordinator, hello) = (*coordinator, hello.clone());
        let request = request_of_connection(id);
        let event = match hello.returns {
            None => Event::WorkerJoined { request, offer: hello.offer },
            Some((worker, inventory)) => {
                // From now on, whatever becomes of the former connection does not matter.
                let link = Link { connection: id, welcomed: false };
                self.coordinators[coordinator].links.insert(worker, link);
                Event::WorkerReturned { request, worker, inventory }
            }
        };
        self.handle(coordinator, event)
    }

    /// A worker has been taken in, or back.
    pub fn welcome(&mut self, coordinator: usize, epoch: Epoch, id: usize, worker: WorkerId) {
        let links = &mut self.coordinators[coordinator].links;
        if links.get(&worker).is_some_and(|link| link.connection > id) {
            // The answer comes too late: the worker has tried again meanwhile.
            return self.break_connection(id);
        }
        links.insert(worker, Link { connection: id, welcomed: true });
        let connection = &mut self.connections[id];
        let process = connection.process;
        let cut = self.processes[process].cut_in_until.since(self.now);
        let delay = cut + self.rng.millis(1, 100);
        self.connections[id].welcome_arrives = self.now + delay;
        let message = Message { connection: id, epoch, worker, body: Body::Welcome };
        self.later(delay, Happening::Deliver(process, message));
        if !self.connections[id].open {
            self.coordinator_notices(id);
        }
    }

    /// A worker that comes too late joins anew, by the same connection.
    pub fn too_late(&mut self, coordinator: usize, id: usize) {
        let Connection { hello, .. } = &self.connections[id];
        let offer = hello.offer.clone();
        if let Some((worker, _)) = hello.returns {
            self.coordinators[coordinator].links.remove(&worker);
        }
        let event = Event::WorkerJoined { request: request_of_connection(id), offer };
        self.later(Duration::ZERO, Happening::Arrive(coordinator, event));
    }

    pub fn order(&mut self, coordinator: usize, epoch: Epoch, worker: WorkerId, effect: Effect) {
        self.send_to_worker(coordinator, epoch, worker, Body::Order(effect));
    }

    pub fn send_to_worker(
        &mut self,
        coordinator: usize,
        epoch: Epoch,
        worker: WorkerId,
        body: Body,
    ) {
        let Some(link) = self.coordinators[coordinator].links.get(&worker) else { return };
        if !link.welcomed {
            return;
        }
        let id = link.connection;
        let process = self.connections[id].process;
        let cut = self.now < self.processes[process].cut_in_until;
        if cut || self.strikes(self.faults.lose) {
            return self.note(|_| format!("   (lost) {body:?}"));
        }
        let message = Message { connection: id, epoch, worker, body };
        let ahead = self.connections[id].welcome_arrives.since(self.now);
        self.deliver_once(ahead, process, message.clone());
        if self.strikes(self.faults.double) {
            self.deliver_once(ahead, process, message);
        }
    }

    fn deliver_once(&mut self, ahead: Duration, process: usize, message: Message) {
        let delay = self.rng.millis(1, self.faults.delay_max_ms);
        self.later(delay.max(ahead), Happening::Deliver(process, message));
    }

    /// A worker says something by the connection that it has.
    pub fn send(&mut self, process: usize, event: Event) {
        let Some(id) = self.processes[process].connection else { return };
        let Connection { coordinator, open, .. } = self.connections[id];
        let cut = self.now < self.processes[process].cut_out_until;
        if !open || cut || self.strikes(self.faults.lose) {
            return self.note(|_| format!("(lost) {event:?}"));
        }
        let happening = match event {
            Event::Heartbeat { .. } => Happening::Heard(id, self.now, event),
            _ => Happening::Arrive(coordinator, event),
        };
        self.later_doubled(self.faults.delay_max_ms, happening);
    }

    /// A heartbeat arrives, and is acknowledged where the worker still has its session by this connection.
    pub fn heard(&mut self, id: usize, sent: Time, event: Event) -> Result<(), String> {
        let coordinator = self.connections[id].coordinator;
        let Event::Heartbeat { worker, .. } = event else { return Ok(()) };
        self.handle(coordinator, event)?;
        let links = &self.coordinators[coordinator].links;
        let current = links.get(&worker).is_some_and(|link| link.connection == id && link.welcomed);
        let Some(decider) = self.coordinators[coordinator].decider() else { return Ok(()) };
        let known = decider.state().scheduler.worker(worker).is_some();
        if current && known {
            let epoch = decider.epoch();
            let silent = self.coordinators[coordinator].unanswered_for(self.now);
            leases::check_acknowledgement(silent, self.config.lease)?;
            self.send_to_worker(coordinator, epoch, worker, Body::Ack(sent));
        }
        Ok(())
    }

    /// A connection breaks. Each side may notice.
    pub fn break_connection(&mut self, id: usize) {
        if !std::mem::take(&mut self.connections[id].open) {
            return;
        }
        // Else only the lease will tell.
        if self.rng.chance(700) {
            self.coordinator_notices(id);
        }
        if self.rng.chance(700) {
            let delay = self.rng.millis(1, 2_000);
            let process = self.connections[id].process;
            self.later(delay, Happening::Reset(process, id));
        }
    }

    fn coordinator_notices(&mut self, id: usize) {
        let delay = self.rng.millis(1, self.faults.delay_max_ms);
        self.later(delay, Happening::Broken(self.connections[id].coordinator, id));
    }

    /// A coordinator notices that a connection is broken. It matters if a worker has no other.
    pub fn broken(&mut self, coordinator: usize, id: usize) -> Result<(), String> {
        let links = &mut self.coordinators[coordinator].links;
        let Some((&worker, _)) = links.iter().find(|(_, link)| link.connection == id) else {
            return Ok(());
        };
        links.remove(&worker);
        let left = self.rng.chance(100);
        let reason = "connection reset".to_string();
        let gone = Event::WorkerLeft { worker, reason };
        let connection = request_of_connection(id);
        let away = Event::WorkerDisconnected { worker, connection };
        self.handle(coordinator, if left { gone } else { away })
    }

    /// A coordinator is gone, with all its connections.
    pub fn coordinator_gone(&mut self, coordinator: usize) {
        self.coordinators[coordinator].links.clear();
        for id in 0..self.connections.len() {
            if self.connections[id].coordinator == coordinator {
                self.break_connection(id);
            }
        }
    }
}
