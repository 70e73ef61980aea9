//! Stops a publication when its job is cancelled.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const GOES_ON: u8 = 0;
const STOPPED: u8 = 1;
const WRITES_MANIFEST: u8 = 2;

const _: () = assert!(STOPPED != WRITES_MANIFEST, "the states exclude each other");

/// The stop of one publication. Cheap to clone; clones share it.
///
/// A publication is either stopped, or writes its manifest, and never both. So a successful stop
/// means at once that nothing becomes visible, however long the file system takes to undo the rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Stops the publication before its next file. False if it is too late.
    pub(crate) fn stop(&self) -> bool {
        let stopped = self.exchange(STOPPED);
        debug_assert!(
            !stopped || self.is_stopped(),
            "the job is reported as cancelled from here on"
        );
        stopped
    }

    /// Whether the publication has been stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOPPED
    }

    /// A transient error if the publication has been stopped.
    pub(super) fn go_on(&self) -> io::Result<()> {
        match self.is_stopped() {
            true => Err(io::Error::other("the publication was cancelled")),
            false => Ok(()),
        }
    }

    /// Begins the manifest, after which the publication cannot be stopped; false if it has been.
    pub(crate) fn may_write_manifest(&self) -> bool {
        self.exchange(WRITES_MANIFEST)
    }

    fn exchange(&self, to: u8) -> bool {
        debug_assert_ne!(to, GOES_ON, "a stopped publication does not resume by itself");
        let exchanged = self.0.compare_exchange(GOES_ON, to, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok() || exchanged == Err(to)
    }

    /// The publication has failed, with nothing visible: it can be stopped again until it is
    /// retried.
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
