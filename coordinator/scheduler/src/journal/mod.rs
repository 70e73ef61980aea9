//! The journal's protocol, without a store: which objects are to be created, and what the answers
//! mean.
//!
//! The journal is a set of small objects, each of which is created with put-if-absent: whoever
//! creates an object first has it for good. That is what fences coordinators from each other.
//! Besides, the store must show what was created and deleted to whoever asks afterwards (read after
//! write), as local file systems, S3, GCS and Azure do.
//!
//! ```text
//!  epochs/00000007      a licence: who decides in epoch 7
//!  log/00000007/0       records          one append each, batched; a few are created at once
//!  log/00000007/1       records
//!  log/00000007/2       a seal           epoch 8 has begun; epoch 7 finds its next slot taken,
//!                                        and knows
//!  states/00000007      the state in which log 7 begins: all that happened below it; written
//!                       beside the log, later
//!  parts/00000005/3     something large that is written once, and named by records and states:
//!                       a job's plan, or its tasks
//! ```
//!
//! History is the concatenation of all logs, each up to its seal; a state stands for all logs below
//! it. [`Takeover`] begins an epoch: it takes the next licence, seals what is open, and finds the
//! last state and the records since. [`Appender`] writes logs, and cuts a long one by beginning the
//! next epoch itself. Both resolve ambiguous answers by reading back: an object is *mine* when it
//! bears my nonce. After an error, whatever it was, nothing goes on before that is known.
//!
//! # When an append counts
//! When its object and all before it in the log are there, **and a list after that shows the
//! coordinator's licence as the newest one**. That is what lets old seals be deleted. A sweep
//! deletes, in this order:
//!
//! 1. writes a state, and waits until it is durable;
//! 2. deletes all licences and states below it, and parts that nobody names, and waits until they
//!    are gone;
//! 3. deletes all logs below it, with their seals.
//!
//! So whoever slept finds the seal in its next slot, or, if that is gone, a later licence: the
//! newest one is never swept. Thus the journal has O(1) objects after any number of epochs, without
//! an assumption about clocks. The price is one small list for each group of appends.
//!
//! # Interleavings that look dangerous
//! - *A coordinator sleeps for days in the middle of an append.* Its successors have swept its log.
//!   It creates the slot again, and finds a later licence. Its own may be there again, by a request
//!   that had failed and was applied late: that says nothing.
//! - *A taker, or a coordinator that cuts its log, sleeps before it creates its licence*, and that
//!   number was used and swept meanwhile. It creates it anew. It lists after every creation of a
//!   licence, finds a later one, and looks again, or stops.
//! - *A taker sleeps after that*, wakes up when all was swept, takes a deleted slot for the end of
//!   a log, creates a seal in it, and recovers too little. It tells nobody: its first append does
//!   not count, for there is a later licence.
//! - *A log is swept while a taker reads it.* Only a later epoch's owner sweeps it, after a state
//!   that the next list shows. A listed object that is missing leads to another list, never to a
//!   seal; and a log is only sealed when all logs above it are void, so that none of their owners
//!   can have swept it.
//! - *A writer dies with several objects in flight.* Any of them may be there, missing, or torn.
//!   What lies after the first gap was not acknowledged and does not count. Each object says what
//!   was durable when it was asked for (`holds`), so that a gap in what *was* acknowledged is known
//!   as damage.
//! - *A sleeper wakes up while it sweeps or writes a state.* It only deletes what its own state
//!   stands for, and a state only says what the logs below it said; later states name none of the
//!   parts that it deletes. Harmless however late.
//!
//! Neither clocks nor the order of messages matter for safety. Nothing here knows bytes, files or
//! what records say.

mod appender;
mod call;
mod creation;
mod history;
mod keeper;
mod line;
mod object;
mod takeover;

pub use appender::Appender;
pub use call::{Answer, Call, CallId, Fenced, JournalError, Listing, Sweep, SweepStage};
pub use object::{Body, Content, Epoch, Key, Nonce, Object, PartId, Slot};
pub use takeover::{Recovered, Takeover};
