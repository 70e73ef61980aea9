//! The stream behind `Watch`.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use windrow_jobs::JobId;
use windrow_proto::v1;

use super::convert::job_status;
use super::refusal::stands_still;
use crate::driver::DriverHandle;

/// Shortest time between two statuses, but for the final one, which comes at once.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two statuses: the clock goes on even when nothing else does.
const PERIOD: Duration = Duration::from_secs(1);

/// Sends the job's status now, after changes, every second, and at its end, which ends the stream.
pub(super) async fn watch_job(
    driver: DriverHandle,
    job: JobId,
    mut changes: watch::Receiver<bool>,
    statuses: mpsc::Sender<Result<v1::JobStatus, Status>>,
) {
    loop {
        let over = *changes.borrow_and_update();
        let status = status(&driver, job).await;
        let last = over || status.is_err();
        if statuses.send(status).await.is_err() || last {
            return;
        }
        let now = Instant::now();
        tokio::select! {
            () = next_change(&mut changes, now + PAUSE) => {}
            () = sleep_until(now + PERIOD) => {}
            () = statuses.closed() => return,
        }
    }
}

async fn status(driver: &DriverHandle, job: JobId) -> Result<v1::JobStatus, Status> {
    if driver.stands_still().await? {
        return Err(stands_still());
    }
    let snapshot = driver.job(job).await?;
    let snapshot =
        snapshot.ok_or_else(|| Status::not_found(format!("{job} has been forgotten")))?;
    Ok(job_status(&snapshot))
}

/// Waits for the end, or for another change and until `earliest`.
async fn next_change(changes: &mut watch::Receiver<bool>, earliest: Instant) {
    if changes.changed().await.is_err() || *changes.borrow() {
        return;
    }
    tokio::select! {
        () = sleep_until(earliest) => {}
        _ = changes.wait_for(|over| *over) => {}
    }
}
