//! The happenings of the world, each at its own moment.

use windrow_jobs::{AttemptId, FailureCause, JobId};
use windrow_scheduler::journal::{Answer, CallId, Key};
use windrow_scheduler::{Event, Time, Unpublished};

use crate::driver::{DriverAttachment, DriverRecord, DriverState};
use crate::output::OutputPaths;
use crate::simulation::network::{Connection, Message};
use crate::simulation::output::Publication;

/// Something that is going to happen. All things are named by index.
#[derive(Clone)]
pub enum Happening {
    /// A client sends its request.
    Ask(usize),
    /// A user cancels a job.
    Cancel(JobId),
    /// A client's request reaches a coordinator, or its wish to cancel.
    Asked(usize, usize),
    CancelAsked(usize, JobId),
    /// The first message of a connection reaches the coordinator, which may answer until then.
    Hello(usize, Time),
    /// A worker's message arrives by a connection; with the time at which it was sent.
    Said(usize, Time, Event),
    /// The same, after it waited in the socket of a paused coordinator.
    Unread(Box<Happening>),
    /// A worker's answer to a release arrives, with its ticket: the processes of the job have
    /// ended.
    Released(usize, JobId, u64),
    /// A coordinator notices that a connection is broken.
    Broken(usize, usize),
    /// The store applies a call.
    Apply(u64),
    Answered(usize, CallId, Box<Answer<DriverRecord, DriverState, DriverAttachment>>),
    /// An object of the store is deleted.
    Vanish(Key),
    /// A coordinator resumes.
    Wake(usize),
    /// An operation of a coordinator beside its driver.
    TakeFolder(usize, JobId, OutputPaths, bool),
    Publish(usize, Publication),
    CleanUp(usize, JobId, OutputPaths, bool),
    /// The result of such an operation.
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
    /// A process got no answer in time on this connection.
    Unwelcome(usize, Option<usize>),
    /// A process notices that its connection is broken.
    Reset(usize, usize),
    /// A reducer reads its inputs.
    Read(usize, AttemptId),
    /// An attempt ends.
    Finish(usize, AttemptId),
    /// The processes of a job have ended on a worker.
    End(usize, JobId, u64),
    /// A fault occurs.
    Strike(Fault),
    StormEnds,
}

/// The result of an operation beside the driver.
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
    /// The coordinator concerned, if any.
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

    /// Whether it waits while the coordinator's driver takes no commands.
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
