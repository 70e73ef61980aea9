//! Whether a publication may go on, told by whoever cancels its job.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const GOES_ON: u8 = 0;
const STOPPED: u8 = 1;
const WRITES_MANIFEST: u8 = 2;

const _: () = assert!(STOPPED != WRITES_MANIFEST, "one of both, and never both");

/// One publication's. Cheap to clone; clones are about the same publication.
///
/// Either it is stopped, or it writes its manifest, and never both: so whoever has stopped it may
/// say at once that nothing becomes visible, however long the file system takes to take it back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Stops the publication before its next file. False if it is too late for that.
    pub(crate) fn stop(&self) -> bool {
        let stopped = self.exchange(STOPPED);
        debug_assert!(
            !stopped || self.is_stopped(),
            "its job is said to be cancelled from here on"
        );
        stopped
    }

    /// Whether it has been stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOPPED
    }

    /// An error if it has been stopped, which may pass.
    pub(super) fn go_on(&self) -> io::Result<()> {
        match self.is_stopped() {
            true => Err(io::Error::other("its publication was cancelled")),
            false => Ok(()),
        }
    }

    /// From here on it cannot be stopped, unless it has been.
    pub(crate) fn may_write_manifest(&self) -> bool {
        self.exchange(WRITES_MANIFEST)
    }

    fn exchange(&self, to: u8) -> bool {
        debug_assert_ne!(to, GOES_ON, "what was stopped does not go on by itself");
        let exchanged = self.0.compare_exchange(GOES_ON, to, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok() || exchanged == Err(to)
    }

    /// It has failed, with nothing visible: it can be stopped again until it is tried once more.
    pub(super) fn has_failed(&self) {
        let _ =
            self.0.compare_exchange(WRITES_MANIFEST, GOES_ON, Ordering::AcqRel, Ordering::Acquire);
        debug_assert_ne!(
            self.0.load(Ordering::Acquire),
            WRITES_MANIFEST,
            "a job that waits to be published again could not be cancelled"
        );
    }
}
