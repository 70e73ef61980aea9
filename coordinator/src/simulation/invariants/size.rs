//! The state is O(maps + reduces), and survives serialization. The size of the journal is bounded,
//! whatever came before.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrow_scheduler::Scheduler;
use windrow_scheduler::journal::Recovered;

use super::{Ledger, check};
use crate::driver::{DriverAttachment, DriverRecord, DriverState};

/// Limits of the state's bytes: for itself, and for each task, worker and job.
const BASE_BYTES_MAX: usize = 500;
const BYTES_PER_ENTRY_MAX: usize = 250;

pub fn check_size(state: &DriverState) -> Result<(), String> {
    let ledger = &state.catalog.recorder.ledger;
    let tasks: usize =
        ledger.jobs.values().map(|job| job.plan.splits.len() + job.plan.partitions as usize).sum();
    let entries = tasks + ledger.sessions.len() + ledger.jobs.len() * (1 + ledger.sessions.len());
    let bytes = encode_whole(&state.scheduler)?.len();
    let max = BASE_BYTES_MAX + BYTES_PER_ENTRY_MAX * entries;
    check(bytes <= max, || format!("size: {bytes} bytes for {entries} entries"))
}

/// The objects in the store at the end: a log that is not cut yet, a log that is being cut, the
/// blocks of a state and of its predecessor, and little else.
pub fn check_objects(objects: usize, snapshot_after: u64, ledger: &Ledger) -> Result<(), String> {
    let splits_and_tasks =
        ledger.jobs.values().map(|job| 2 * job.plan.splits.len() + job.plan.partitions as usize);
    let blocks = splits_and_tasks.sum::<usize>() / ledger.config.tasks_per_block.get() as usize;
    let max = 3 * snapshot_after as usize + 60 + 2 * blocks;
    check(objects <= max, || {
        format!(
            "size: {objects} objects where logs have {snapshot_after} and states {blocks} blocks"
        )
    })
}

/// The state after serialization and back.
pub fn through_bytes(
    mut recovered: Recovered<DriverRecord, DriverState, DriverAttachment>,
) -> Result<Recovered<DriverRecord, DriverState, DriverAttachment>, String> {
    if let Some(state) = recovered.snapshot.take() {
        let mut state = Arc::unwrap_or_clone(state);
        let bytes = encode(&state.scheduler)?;
        state.scheduler =
            postcard::from_bytes(&bytes).map_err(|error| format!("size: not readable: {error}"))?;
        check(encode(&state.scheduler)? == bytes, || "size: not the same when read".into())?;
        recovered.snapshot = Some(Arc::new(state));
    }
    Ok(recovered)
}

/// Serializes all of the scheduler, including its attachments.
pub fn encode_whole(scheduler: &Scheduler) -> Result<Vec<u8>, String> {
    let mut scheduler = scheduler.clone();
    scheduler.take_blocks(&BTreeMap::new());
    encode(&scheduler)
}

/// Serializes the scheduler without its attachments.
fn encode(scheduler: &Scheduler) -> Result<Vec<u8>, String> {
    postcard::to_allocvec(scheduler).map_err(|error| format!("size: not writable: {error}"))
}
