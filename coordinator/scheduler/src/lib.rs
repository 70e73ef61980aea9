//! Windrow's scheduler: a state machine without I/O, clock, threads or randomness.
//!
//! ```text
//!            Event, now                       Effects
//!  driver  ------------->  Scheduler::handle  -------->  driver: sends, writes, answers
//!    |     <-------------  next_deadline: when to call `due`
//!    |       now
//!    +------------------>  due: the deadlines that have passed, as an Event
//! ```
//!
//! A [`Decider`] stands between the two, and holds effects back until their events are durable.
//!
//! A job passes through these stations:
//!
//! ```text
//!  Submit -> map tasks -> all maps done -> reduce tasks -> Publish -> Published -> Release, Ended
//!                ^                             |
//!                +--- a map output is lost ----+
//! ```
//!
//! Each call is one transition, after which free slots are filled and drained workers let go. The
//! modules, from the top; each knows only those below it:
//!
//! ```text
//!  decider      the scheduler with its journal: no effect before its event is durable
//!  scheduler    the dispatch of events
//!  membership   workers that join, disconnect, return, drain, or are lost
//!  placement    which task goes to which worker, and which attempt needs a backup
//!  job          one job: its stages, attempts, outputs, blame and publication
//!  quarantine   when a worker gets no tasks of any job
//!  worker       workers with a session: slots, platforms, health
//!  journal      the protocol by which a log in an object store has one writer
//!  time         deadlines, pauses, and a clock that can stand still
//! ```
//!
//! An attempt is fenced by its id and its worker: a message about any other attempt than the
//! running one, whether late, duplicated or reordered, changes nothing. The state grows with tasks,
//! and with jobs times workers; never with maps times reducers.

mod config;
mod decider;
mod effect;
mod event;
mod hash;
mod invariants;
mod job;
pub mod journal;
mod membership;
mod placement;
mod quarantine;
mod scheduler;
mod time;
mod transition;
mod view;
mod worker;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use decider::{Attachment, Catalog, Decider, JournaledState, Record};
pub use effect::{Effect, JobFailure, MapOutputs, Outcome};
pub use event::{
    AttemptProgress, AttemptStats, Event, Inventory, JobPlan, RequestId, SplitPlan, SubmissionId,
    Unpublished, WorkerOffer,
};
pub use job::stage::CowBlock;
pub use scheduler::Scheduler;
pub use time::{Clock, Time, Timer};
pub use view::{JobState, JobView, SlowestTask, StageView, Waiting, WorkerView};
