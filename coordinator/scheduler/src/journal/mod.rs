//! The journal's protocol, without a store: which objects are to be created, and what the answers mean.
//!
//! The journal is a sequence of small objects, each of which is created with put-if-absent: whoever creates an object first
//! has it for good. That is all that the store must be able to do, and all that fences coordinators from each other:
//!
//! ```text
//!  epochs/00000007      who decides in epoch 7
//!  log/00000007/0       the state that epoch 7 began with
//!  log/00000007/1       records          one append each, batched
//!  log/00000007/2       records
//!  log/00000007/3       a seal           epoch 8 has begun; epoch 7 finds its next slot taken, and knows
//! ```
//!
//! [`Takeover`] begins an epoch: it takes the next number, seals the epochs before, and finds the last state and the records
//! since. [`Appender`] writes an epoch's log, one object at a time. Both resolve ambiguous answers by reading back: an
//! object is *mine* when it bears my nonce. After an error, whatever it was, nothing goes on before that is known.
//!
//! Seals are never deleted: a coordinator that slept for days must still find its next slot taken.
//!
//! Neither clocks nor the order of messages matter for safety. Nothing here knows bytes, files or what records say.

mod appender;
mod call;
mod object;
mod takeover;

pub use appender::Appender;
pub use call::{Answer, Call, Fenced, JournalError};
pub use object::{Body, Epoch, Key, Nonce, Object, Slot};
pub use takeover::{Recovered, Takeover};
