//! How user code is run: its panics are caught, records on which it fails may be skipped, and a
//! failure of the engine passes through it.

mod bad_record_policy;
pub(crate) mod panic;

pub use bad_record_policy::{BadRecordPolicy, Breadcrumb};

pub(crate) use bad_record_policy::UNDONE_BYTES_MAX;

use crate::error::Error;
use crate::failure::FailureCause;

/// The error that user code gets for a failure of the engine.
#[cold]
pub(crate) fn hidden(cause: &FailureCause) -> Error {
    Error::new(cause.to_string())
}
