//! The journal's protocol, without the store: which objects to create, and what the answers mean.
//!
//! The journal is a set of small objects, each of which is created with put-if-absent: the first
//! creator owns the object for good. That fences coordinators from each other. The store must also
//! be read-after-write consistent for creates, deletes and lists, as local file systems, S3, GCS
//! and Azure are.
//!
//! ```text
//!  epochs/00000007      a licence: its creator decides in epoch 7
//!  log/00000007/0       records          one append each, batched; a few are created at once
//!  log/00000007/1       records
//!  log/00000007/2       a seal           epoch 8 has begun: the owner of epoch 7 finds its
//!                                        next slot taken
//!  states/00000007      a checkpoint: the state in which log 7 begins; written beside the log,
//!                       later
//!  attachments/00000005/3
//!                       a large value, written once and named by records and states: a job's plan,
//!                       or its tasks
//! ```
//!
//! History is the concatenation of all logs, each up to its seal; a state replaces all logs below
//! it. [`Takeover`] begins an epoch: it takes the next licence, seals the open logs, and reads the
//! newest state and the records since. [`Appender`] writes logs, and cuts a long log by beginning
//! the next epoch itself. Both resolve ambiguous writes by reading back: an object with my nonce is
//! *mine*. After any error, they wait for that before they go on.
//!
//! # When an append counts
//! An append is durable when its object and all earlier ones in the log exist, **and a later list
//! shows the coordinator's licence as the newest one**. The second condition allows old seals to be
//! deleted. A sweep, the journal's garbage collection, does this in order:
//!
//! 1. writes a state, and waits until it is durable;
//! 2. deletes all licences and states below it, and attachments that are not named, and waits until
//!    they are gone;
//! 3. deletes all logs below it, with their seals.
//!
//! So a coordinator that was suspended finds the seal in its next slot, or, if that was swept, a
//! later licence: the newest licence is never swept. The journal thus has O(1) objects after any
//! number of epochs, without an assumption about clocks. The price is one small list for each group
//! of appends.
//!
//! # Interleavings that look dangerous
//! - *A coordinator is suspended for days during an append.* Its successors have swept its log. It
//!   creates the slot again, but then finds a later licence. Its own licence may exist again, too,
//!   by a failed request that was applied late: that does not count, since it is not the newest.
//! - *A coordinator is suspended before it creates its licence*, and that number was used and swept
//!   meanwhile. It creates the licence again. But it lists after every creation of a licence, finds
//!   a later one, and starts over, or stops.
//! - *A coordinator is suspended after that list*, and resumes when all was swept. It takes a
//!   deleted slot for the end of a log, creates a seal in it, and recovers too little. No effect of
//!   it comes out: its first append is not durable, since there is a later licence.
//! - *A log is swept while a takeover reads it.* Only the owner of a later epoch sweeps it, after a
//!   state that the next list shows. A listed object that is missing leads to another list, never
//!   to a seal; and a log is sealed only when all logs above it are void, so that none of their
//!   owners can have swept it.
//! - *A writer dies with several objects in flight.* Each of them may exist, be missing, or be a
//!   torn write. Objects after the first gap were not acknowledged and do not count. Each object
//!   says how many were durable when it was sent (`holds`), so that a gap in acknowledged objects
//!   is detected as damage.
//! - *A fenced coordinator resumes in the middle of a sweep or a state.* It deletes only what its
//!   own state replaces, and a state only repeats the logs below it; later states name none of the
//!   attachments that it deletes. So that is harmless however late.
//!
//! Safety depends neither on clocks nor on the order of messages. This module knows nothing of
//! bytes, files or the content of records.

mod append_window;
mod appender;
mod call;
mod checkpointer;
mod history;
mod object;
mod put_if_absent;
mod takeover;

pub use appender::Appender;
pub use call::{Answer, Call, CallId, Fenced, JournalError, Listing, Sweep, SweepStage};
pub use object::{AttachmentId, Body, Content, Epoch, Key, Nonce, Object, Slot};
pub use takeover::{Recovered, Takeover};
