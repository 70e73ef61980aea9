//! Every submission becomes a job, every job ends, and every draining worker may leave, within
//! bounded time after the faults have stopped. (`after_end` and `promises` check that a job ends
//! only once.)

use super::check;
use crate::driver::Catalog;
use crate::simulation::client::Client;
use crate::simulation::process::Process;

pub fn check_end(
    catalog: &Catalog,
    clients: &[Client],
    processes: &[Process],
) -> Result<(), String> {
    let waits = processes.iter().find(|process| process.alive && process.leaving);
    check(waits.is_none(), || {
        let worker = waits.and_then(|process| process.worker);
        format!("ends: {worker:?} wants to leave, and was not let go")
    })?;
    for (index, client) in clients.iter().enumerate() {
        check(client.job.is_some(), || format!("ends: submission {index} is not accepted"))?;
        check(client.heard_end, || format!("ends: client {index} waits for {:?}", client.job))?;
    }
    for (id, job) in &catalog.recorder.ledger.jobs {
        check(job.ended.is_some(), || format!("ends: {id} has not ended"))?;
    }
    let left = catalog.unsettled().map(|(job, _)| job).next();
    check(left.is_none(), || format!("ends: what {left:?} has left is not removed"))
}

/// Checks that each fenced coordinator has noticed, even if it had no events: its workers would
/// wait with it for ever.
pub fn check_one_decides(deciding: usize) -> Result<(), String> {
    check(deciding == 1, || format!("ends: {deciding} coordinators decide"))
}
