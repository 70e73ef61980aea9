//! What can happen in the world, at a moment of its own.

use windrow_jobs::{AttemptId, JobId};
use windrow_scheduler::journal::{Answer, CallId, Key};
use windrow_scheduler::{Event, Time};

use crate::network::{Connection, Message};
use crate::output::Publication;
use crate::store::{Records, Whole};

/// Something that is going to happen. Everything is named by its index.
#[derive(Clone)]
pub enum Happening {
    /// A client asks for its job.
    Ask(usize),
    /// Somebody wants a job to stop.
    Cancel(JobId),
    /// The first message of a connection reaches the coordinator.
    Hello(usize),
    /// A heartbeat arrives by a connection; when it was sent.
    Heard(usize, Time, Event),
    /// A message reaches a coordinator.
    Arrive(usize, Event),
    /// A coordinator notices that a connection is broken.
    Broken(usize, usize),
    /// The store does what it was asked for.
    Apply(u64),
    Answered(usize, CallId, Box<Answer<Records, Whole, ()>>),
    /// An object of the store is deleted.
    Vanish(Key),
    /// A coordinator goes on.
    Pump(usize),
    Beat(usize),
    Publish(usize, Publication),
    StartCoordinator {
        unless_there: bool,
    },
    /// A machine starts a process.
    Start {
        machine: u64,
    },
    /// A message reaches a process.
    Deliver(usize, Message),
    Heartbeat(usize),
    /// A process was not welcomed in time by this connection.
    Unwelcome(usize, Option<usize>),
    /// A process notices that its connection is broken.
    Reset(usize, usize),
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
    Crash,
    Pause,
    Usurp,
}

impl Happening {
    /// The coordinator to which it happens, if any.
    pub fn addressee(&self, connections: &[Connection]) -> Option<usize> {
        match self {
            Self::Hello(connection) | Self::Heard(connection, ..) => {
                Some(connections[*connection].coordinator)
            }
            Self::Arrive(index, _)
            | Self::Broken(index, _)
            | Self::Answered(index, ..)
            | Self::Pump(index)
            | Self::Beat(index)
            | Self::Publish(index, _) => Some(*index),
            _ => None,
        }
    }
}
