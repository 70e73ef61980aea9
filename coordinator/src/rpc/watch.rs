//! The stream behind `Watch`.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use windrow_jobs::JobId;
use windrow_proto::v1;

use super::convert::job_status;
use super::driver_turns::DriverTurns;
use super::refusal::stands_still;
use crate::driver::{DriverHandle, Stopped};

/// Shortest time between two statuses, except for the final one, which is sent at once.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two statuses: the elapsed time changes even when nothing else does.
const PERIOD: Duration = Duration::from_secs(1);

/// Sends the job's status now, after changes, every second, and at its end, which ends the stream.
/// Each takes a permit of the watcher.
pub(super) async fn watch_job(
    driver: DriverHandle,
    (turns, watcher): (DriverTurns, Option<String>),
    job: JobId,
    mut changes: watch::Receiver<bool>,
    statuses: mpsc::Sender<Result<v1::JobStatus, Status>>,
) {
    loop {
        let over = *changes.borrow_and_update();
        let status = turns.ask(watcher.as_deref(), status(&driver, job)).await.flatten();
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

async fn status(
    driver: &DriverHandle,
    job: JobId,
) -> Result<Result<v1::JobStatus, Status>, Stopped> {
    if driver.stands_still().await? {
        return Ok(Err(stands_still()));
    }
    let snapshot = driver.job(job).await?;
    Ok(match snapshot {
        Some(snapshot) => Ok(job_status(&snapshot)),
        None => Err(Status::not_found(format!("{job} has been forgotten"))),
    })
}

/// Waits for the job's end, or for a change, but then not before `earliest`.
async fn next_change(changes: &mut watch::Receiver<bool>, earliest: Instant) {
    if changes.changed().await.is_err() || *changes.borrow() {
        return;
    }
    tokio::select! {
        () = sleep_until(earliest) => {}
        _ = changes.wait_for(|over| *over) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;
    use crate::driver::{self, Settings};
    use crate::failpoint::Failpoint;
    use crate::journal::Opened;

    /// The limit applies also to a stream that began long ago.
    #[tokio::test(start_paused = true)]
    async fn each_status_takes_a_permit_of_its_watcher() {
        let settings = Settings {
            scheduler: windrow_scheduler::Config::default(),
            state: None,
            failpoint: Failpoint::default(),
            snapshot_after: None,
        };
        let driver = driver::start(Opened::in_memory().unwrap(), settings);
        let turns = DriverTurns::default();
        let questions: Vec<_> = (0..2)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(
                    async move { turns.ask(Some("ann"), pending::<Result<(), _>>()).await },
                )
            })
            .collect();
        tokio::task::yield_now().await;
        let watch = |who: &str| {
            let (_changes, changes) = watch::channel(false);
            let (sender, statuses) = mpsc::channel(1);
            let watcher = (turns.clone(), Some(who.to_string()));
            tokio::spawn(watch_job(driver.clone(), watcher, JobId(7), changes, sender));
            statuses
        };
        let mut of_ann = watch("ann");
        assert!(watch("bob").recv().await.is_some_and(|status| status.is_err()), "no such job");
        assert!(timeout(PERIOD * 60, of_ann.recv()).await.is_err(), "ann asks twice already");
        questions[0].abort();
        assert!(of_ann.recv().await.is_some_and(|status| status.is_err()), "no such job");
    }
}
