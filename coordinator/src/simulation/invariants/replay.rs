//! Replay equals live: after a crash that loses nothing, the next coordinator recovers exactly the
//! state of the last one, except for what every takeover resets.

use std::sync::Arc;

use windrow_scheduler::journal::{Epoch, Nonce, Recovered};
use windrow_scheduler::{Config, Decider};

use super::{check, size};
use crate::driver::{Catalog, DriverState};

/// An epoch after all epochs in which attachments were written.
const AFTER_ALL: Epoch = Epoch(u64::MAX / 2);

/// Compares the state of a crashed coordinator with what its successor has recovered.
pub fn check_replay(
    mut left: DriverState,
    found: &DriverState,
    config: &Config,
) -> Result<(), String> {
    // The state that the last one would have if it took over from itself. Only heartbeats move the
    // clock without a record.
    left.now = found.now;
    let (new, attachments) = (Catalog::new(left.catalog.cluster), left.catalog.attachments());
    let left = Arc::new(left);
    let recovered =
        Recovered { snapshot: Some(left), attachments, ..Recovered::empty(AFTER_ALL, Nonce(0)) };
    let again = Decider::recover(recovered, config.clone(), new);
    let (live, replayed) = (again.state(), found);
    let (ours, theirs) = (&live.catalog.recorder.history, &replayed.catalog.recorder.history);
    check(ours == theirs, || {
        format!("replay: {} events, not the same {}", theirs.len(), ours.len())
    })?;
    check(live.catalog == replayed.catalog, || {
        format!("replay: {:?}\nis not {:?}", replayed.catalog, live.catalog)
    })?;
    check(size::encode_whole(&live.scheduler)? == size::encode_whole(&replayed.scheduler)?, || {
        format!("replay: {:?}\nis not {:?}", replayed.scheduler, live.scheduler)
    })
}
