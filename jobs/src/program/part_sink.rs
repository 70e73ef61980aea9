//! Where finished output goes.

use crate::failure::FailureCause;

/// Takes finished output, many records at a time.
pub trait PartSink {
    /// Takes whole records, ready to be written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause>;
}
