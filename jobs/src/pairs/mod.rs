//! Encoded pairs: batches that pass between the engine and the typed loops, and the groups of a
//! sorted source.

mod groups;
mod prefix;
mod record;
mod record_batch;
mod values;

#[doc(hidden)]
pub use prefix::prefix;
pub use record::{RecordBatches, RecordRef, RecordSink};
pub use values::Values;

pub(crate) use groups::Groups;
pub(crate) use prefix::first_eight;
