//! Windrow's scheduler: a state machine without I/O, clock, threads or randomness.
//!
//! ```text
//!            Event, now                       Effects
//!  driver  ------------->  Scheduler::handle  -------->  driver: sends, writes, answers
//!    |     <-------------  next_deadline: when to ask what is due
//!    |       now
//!    +------------------>  due: what has passed by now, as an Event to be handled
//! ```
//!
//! A [`Decider`] stands between the two, and holds effects back until the journal has their events.
//!
//! A job passes through these stations:
//!
//! ```text
//!  Submit -> map tasks -> all maps done -> reduce tasks -> Publish -> Published -> Release, Ended
//!                ^                             |
//!                +--- a map output is lost ----+
//! ```
//!
//! Each call is one transition, after which free slots are filled and drained workers let go:
//!
//! ```text
//!  scheduler    what comes in, and to whom it goes
//!  jobs, job    jobs and their phases
//!  tasks, task  the tasks of a stage and their states
//!  attempt      start, progress, success, failure
//!  retry        whether and when again
//!  loss         workers and map outputs that are gone
//!  drain        workers that want to go
//!  session      workers that come, break off, and return
//!  takeover     what a new coordinator does first
//!  holder       what a worker holds of a job
//!  death        processes that die, and the records that kill them
//!  backup       attempts that are slow
//!  health       workers that are bad
//!  avoidance    workers that are bad for one job
//!  audit        whether reducers read what maps wrote
//!  publication  when all tasks are done
//!  placement    which task goes to which worker
//!  deadlines    what happens when time has passed
//! ```
//!
//! An attempt is fenced by its id and its worker: messages that speak of any other than the one
//! that runs, whether late, doubled or out of order, change nothing. State grows with tasks and
//! workers, never with their product.

mod attempt;
mod audit;
mod avoidance;
mod backup;
mod bad_records;
mod clock;
mod config;
mod deadlines;
mod death;
mod decider;
mod drain;
mod effect;
mod event;
mod hash;
mod health;
mod holder;
mod invariants;
mod job;
mod jobs;
pub mod journal;
mod kinds;
mod loss;
mod observe;
mod pace;
mod pieces;
mod placement;
mod publication;
mod queue;
mod retry;
mod scheduler;
mod session;
mod shares;
mod step;
mod takeover;
mod tally;
mod task;
mod tasks;
mod time;
mod trouble;
mod view;
mod worker;
mod workers;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use config::Config;
pub use deadlines::Timer;
pub use decider::{Catalog, Decider, Part, Record, State};
pub use effect::{Effect, JobFailure, MapOutputs, Outcome};
pub use event::{
    AttemptProgress, AttemptStats, Event, Inventory, JobPlan, RequestId, SplitPlan, SubmissionId,
    Unpublished, WorkerOffer,
};
pub use pieces::Piece;
pub use scheduler::Scheduler;
pub use time::Time;
pub use view::{JobState, JobView, SlowestTask, StageView, Waiting, WorkerView};
