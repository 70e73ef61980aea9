//! Faults: workers die, stall, are cut off, lose outputs, and drain; coordinators crash, pause, and
//! are replaced.

use windrow_scheduler::Event;

use crate::simulation::happening::{Fault, Happening};
use crate::simulation::world::World;

impl World {
    pub fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Crash | Fault::Pause => self.strike_coordinator(fault),
            Fault::Usurp => self.start_coordinator(),
            _ => self.strike_process(fault),
        }
    }

    fn strike_coordinator(&mut self, fault: Fault) {
        let there: Vec<_> = (0..self.coordinators.len())
            .filter(|&index| !self.coordinators[index].is_gone())
            .collect();
        if there.is_empty() {
            return;
        }
        let index = *self.rng.pick(&there);
        if matches!(fault, Fault::Crash) {
            return self.crash(index);
        }
        let pause = self.rng.millis(200, 25_000);
        self.pause(index, pause);
    }

    fn strike_process(&mut self, fault: Fault) {
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
                self.processes[index].leaving = true;
                if let Some(worker) = self.processes[index].worker {
                    self.send(index, Event::WorkerDraining { worker });
                }
            }
            _ => {
                let outputs: Vec<_> = self.processes[index].outputs.iter().copied().collect();
                if !outputs.is_empty() {
                    let output = *self.rng.pick(&outputs);
                    self.processes[index].outputs.remove(&output);
                }
            }
        }
    }

    /// Drops all messages for a while: in, out, or both ways. The connection may break by it.
    fn cut(&mut self, index: usize) {
        let ends = self.now + self.rng.millis(500, 20_000);
        let ways = self.rng.below(3);
        let process = &mut self.processes[index];
        if ways != 0 {
            process.cut_in_until = ends;
        }
        if ways != 1 {
            process.cut_out_until = ends;
        }
        if let Some(id) = self.processes[index].connection.filter(|_| self.rng.chance(500)) {
            self.break_connection(id);
        }
    }

    /// Ends a process with all its data. Its machine may start another.
    pub fn die(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if !process.alive {
            return;
        }
        process.alive = false;
        process.outputs.clear();
        process.running.clear();
        let machine = process.machine;
        if let Some(id) = process.connection {
            self.break_connection(id);
        }
        let abandoned = self.faults.abandoned && !self.storm();
        let waits = self.faults.no_restarts && self.storm();
        if !abandoned && !waits {
            let after = self.rng.millis(100, 10_000);
            self.later(after, Happening::Start { machine });
        }
    }
}
