//! What goes wrong with model workers: they die, stall, are cut off, lose outputs, and leave.

use windrow_scheduler::{Effect, Event};

use crate::world::{Fault, Happening, World};

impl World {
    pub fn strike(&mut self, fault: Fault) {
        let alive: Vec<_> =
            (0..self.processes.len()).filter(|&index| self.processes[index].alive).collect();
        if alive.is_empty() {
            return;
        }
        let index = *self.rng.pick(&alive);
        self.note(|world| format!("{fault:?} of {:?}", world.processes[index].worker));
        match fault {
            Fault::Death => self.die(index),
            Fault::Stall => {
                let stall = self.rng.millis(500, 25_000);
                self.processes[index].stalled_until = self.now + stall;
            }
            Fault::Cut => self.cut(index),
            Fault::Drain => {
                if let Some(worker) = self.processes[index].worker {
                    self.send(index, Event::WorkerDraining { worker });
                }
            }
            Fault::Rot => {
                let outputs: Vec<_> = self.processes[index].outputs.iter().copied().collect();
                if !outputs.is_empty() {
                    let output = *self.rng.pick(&outputs);
                    self.processes[index].outputs.remove(&output);
                }
            }
        }
    }

    /// Nothing passes for a while. The coordinator may notice that the connection is broken, the process does not
    /// until it is told, and goes on.
    fn cut(&mut self, index: usize) {
        let cut = self.rng.millis(500, 20_000);
        self.processes[index].cut_until = self.now + cut;
        if self.rng.chance(300) {
            self.session_ends(index);
            // It notices when the way is free again.
            let Some(worker) = self.processes[index].worker else { return };
            let effect = Effect::EndSession { worker, reason: "reset".into() };
            self.later(cut, Happening::Deliver(index, effect));
        }
    }

    /// A process ends with all that it holds. Its machine may start another.
    pub fn die(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if !process.alive {
            return;
        }
        process.alive = false;
        process.outputs.clear();
        process.running.clear();
        let machine = process.machine;
        // Else only the lease will tell.
        if self.rng.chance(700) {
            self.session_ends(index);
        }
        let abandoned = self.faults.abandoned && !self.storm();
        let waits = self.faults.no_restarts && self.storm();
        if !abandoned && !waits {
            let after = self.rng.millis(100, 10_000);
            self.later(after, Happening::Start { machine });
        }
    }

    pub fn session_ends(&mut self, index: usize) {
        let Some(worker) = self.processes[index].worker else { return };
        let delay = self.rng.millis(1, self.faults.delay_max_ms);
        let reason = "connection reset".to_string();
        self.later(delay, Happening::Arrive(Event::WorkerLeft { worker, reason }));
    }
}
