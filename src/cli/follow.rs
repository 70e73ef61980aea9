//! Watches a job to its end, through interruptions of the connection and by the user.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windrow_proto::v1;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::Interrupts;
use super::progress::Reporter;
use crate::client::{Client, ClientError};

/// How long a coordinator that was there may be gone before the command gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a cancelled job may take to end before the command goes without it.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Reports `job` until it ends. An interrupt cancels it; a second one leaves at once.
pub(crate) async fn follow(
    client: &Client,
    job: u64,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<Exit, CliError> {
    let status = tokio::select! {
        status = watch(client, job, reporter) => status?,
        () = interrupts.next() => return interrupted(client, job, reporter, interrupts).await,
    };
    let exit = match status.state() {
        v1::JobState::Succeeded => Exit::Success,
        _ => Exit::Failure,
    };
    reporter.finished(&status);
    Ok(exit)
}

async fn interrupted(
    client: &Client,
    job: u64,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<Exit, CliError> {
    reporter.note("interrupted: cancelling the job");
    let cancel = async {
        client.cancel(job).await?;
        watch(client, job, reporter).await
    };
    let status = tokio::select! {
        status = cancel => status?,
        () = sleep(CANCEL_GRACE) => client.get(job).await?,
        () = interrupts.next() => client.get(job).await?,
    };
    reporter.finished(&status);
    Ok(Exit::Interrupted)
}

/// Reports every status until the final one, which it returns.
async fn watch(
    client: &Client,
    job: u64,
    reporter: &mut dyn Reporter,
) -> Result<v1::JobStatus, CliError> {
    let mut lost_since: Option<Instant> = None;
    loop {
        let error = match watch_once(client, job, reporter, &mut lost_since).await {
            Ok(status) => return Ok(status),
            Err(error @ ClientError::Unreachable { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        let since = *lost_since.get_or_insert_with(|| {
            reporter.note(&format!("{error}; trying for {} s", PATIENCE.as_secs()));
            Instant::now()
        });
        if since.elapsed() > PATIENCE {
            return Err(CliError::Other(format!("{error}; job {job} may still be running there")));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn watch_once(
    client: &Client,
    job: u64,
    reporter: &mut dyn Reporter,
    lost_since: &mut Option<Instant>,
) -> Result<v1::JobStatus, ClientError> {
    let mut stream = client.watch(job).await?;
    loop {
        match stream.message().await {
            Ok(Some(status)) if is_final(&status) => return Ok(status),
            Ok(Some(status)) => {
                *lost_since = None;
                reporter.update(&status);
            }
            Ok(None) => {
                return Err(client.error(tonic::Status::unavailable("the connection was closed")));
            }
            Err(error) => return Err(client.error(error)),
        }
    }
}

fn is_final(status: &v1::JobStatus) -> bool {
    use v1::JobState::{Cancelled, Failed, Succeeded};
    matches!(status.state(), Succeeded | Failed | Cancelled)
}
