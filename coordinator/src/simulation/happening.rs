//! What can happen in the world, at a moment of its own.

use windrow_jobs::{AttemptId, FailureCause, JobId};
use windrow_scheduler::journal::{Answer, CallId, Key};
use windrow_scheduler::{Event, Time, Unpublished};

use crate::driver::{DriverPart, DriverRecord, DriverState};
use crate::output::OutputPaths;
use crate::simulation::network::{Connection, Message};
use crate::simulation::output::Publication;

/// Something that is going to happen. Everything is named by its index.
#[derive(Clone)]
pub enum Happening {
    /// A client asks for its job.
    Ask(usize),
    /// Somebody wants a job to stop.
    Cancel(JobId),
    /// The question of a client reaches a coordinator, or its wish to cancel a job.
    Asked(usize, usize),
    CancelAsked(usize, JobId),
    /// The first message of a connection reaches the coordinator, which tries until then.
    Hello(usize, Time),
    /// What a worker has said arrives by a connection; when it was sent.
    Said(usize, Time, Event),
    /// The same, after it has waited in the socket of a coordinator that was paused.
    Unread(Box<Happening>),
    /// That the processes of a job have ended, with the ticket of its release, likewise arrives by
    /// a connection.
    Released(usize, JobId, u64),
    /// A coordinator notices that a connection is broken.
    Broken(usize, usize),
    /// The store does what it was asked for.
    Apply(u64),
    Answered(usize, CallId, Box<Answer<DriverRecord, DriverState, DriverPart>>),
    /// An object of the store is deleted.
    Vanish(Key),
    /// A coordinator goes on.
    Wake(usize),
    /// What a coordinator does beside its driver.
    TakeFolder(usize, JobId, OutputPaths, bool),
    Publish(usize, Publication),
    CleanUp(usize, JobId, OutputPaths, bool),
    /// And what has become of it.
    Done(usize, Done),
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
    /// The processes of a job have ended on a worker.
    End(usize, JobId, u64),
    /// A fault strikes somebody.
    Strike(Fault),
    StormEnds,
}

/// The result of something that a coordinator has done beside its driver.
#[derive(Clone)]
pub enum Done {
    FolderTaken(JobId, Result<(), FailureCause>),
    Published(JobId, Result<(), Unpublished>),
    CleanedUp(JobId),
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
            Self::Unread(said) => said.addressee(connections),
            Self::Hello(connection, _)
            | Self::Said(connection, ..)
            | Self::Released(connection, ..) => Some(connections[*connection].coordinator),
            Self::Asked(index, _)
            | Self::CancelAsked(index, _)
            | Self::Broken(index, _)
            | Self::Answered(index, ..)
            | Self::Wake(index)
            | Self::TakeFolder(index, ..)
            | Self::Publish(index, _)
            | Self::CleanUp(index, ..)
            | Self::Done(index, _) => Some(*index),
            _ => None,
        }
    }

    /// Whether it waits outside while the coordinator's driver takes no commands.
    pub fn is_command(&self) -> bool {
        matches!(
            self,
            Self::Hello(..)
                | Self::Said(..)
                | Self::Unread(_)
                | Self::Released(..)
                | Self::Asked(..)
                | Self::CancelAsked(..)
                | Self::Broken(..)
                | Self::Done(..)
        )
    }
}
