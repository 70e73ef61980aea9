//! Replay equals live: where a crash loses nothing, the next coordinator finds exactly what the last one knew, but for what
//! every takeover forgets.

use std::sync::Arc;

use windrow_scheduler::journal::{Epoch, Nonce, Recovered};
use windrow_scheduler::{Config, Decider, State};

use super::{check, size};
use crate::books::Books;

/// Compares what a crashed coordinator knew with what its successor has found.
pub fn check_replay(
    mut left: State<Books>,
    found: &State<Books>,
    config: &Config,
) -> Result<(), String> {
    let mut history = left.catalog.history.clone();
    history.push(0);
    check(found.catalog.history == history, || {
        let last = |history: &[u64]| history.iter().rev().take(5).copied().collect::<Vec<_>>();
        format!("replay: events {:?}, not {:?}", last(&found.catalog.history), last(&history))
    })?;
    // What the last one would be if it took over from itself. Only heartbeats move the clock without a record.
    left.now = found.now;
    let left = Arc::new(left);
    let recovered = Recovered { snapshot: Some(left), ..Recovered::empty(Epoch(1), Nonce(0)) };
    let again = Decider::recover(recovered, config.clone(), Books::new(config.clone()));
    let (live, replayed) = (&again.state().scheduler, &found.scheduler);
    check(size::encode(live)? == size::encode(replayed)?, || {
        format!("replay: {replayed:?}\nis not {live:?}")
    })
}
