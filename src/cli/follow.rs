//! Watches a job to its end, over restarts of the coordinator and interruptions by the user.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use windrow_proto::v1;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::{Interrupt, Interrupts};
use super::patience::Patience;
use super::progress::Reporter;
use crate::client::{Client, ClientError};

/// How long a cancelled job may take to end before the command goes without it.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How long a last question may take.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// Reports `job` until it ends. An interrupt cancels it; a second one leaves at once. Where the terminal is gone, the job is left
/// to itself.
pub(crate) async fn follow(
    patience: &Patience<'_>,
    job: u64,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<Exit, CliError> {
    let status = tokio::select! {
        status = watch(patience, job, reporter) => status?,
        interrupt = interrupts.next() => {
            if interrupt == Interrupt::HungUp {
                reporter.note(&format!("the terminal is gone; job {job} goes on: \"windrow status {job}\" shows it later"));
                return Ok(Exit::Interrupted);
            }
            interrupted(patience.client, job, reporter, interrupts).await;
            return Ok(Exit::Interrupted);
        }
    };
    let exit = match status.state() {
        v1::JobState::Succeeded => Exit::Success,
        _ => Exit::Failure,
    };
    reporter.finished(&status);
    Ok(exit)
}

/// Cancels the job if there is anybody to tell, and says what became of it.
async fn interrupted(
    client: &Client,
    job: u64,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) {
    reporter.note("interrupted: cancelling the job");
    let cancel = async {
        client.find().await?;
        client.cancel(job).await?;
        watch_once(client, job, reporter).await
    };
    let ended = tokio::select! {
        ended = cancel => Some(ended),
        () = sleep(CANCEL_GRACE) => None,
        _ = interrupts.next() => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => timeout(ANSWER_GRACE, client.get(job)).await.ok(),
    };
    let why = match ended {
        Some(Ok(status)) if is_final(&status) => return reporter.finished(&status),
        Some(Ok(_)) => "the job has not ended yet".to_string(),
        Some(Err(error)) => error.to_string(),
        None => "the coordinator does not answer".to_string(),
    };
    reporter.note(&format!(
        "{why}; job {job} may still be running: \"windrow cancel {job}\" stops it later"
    ));
}

/// Reports every status until the final one, which it returns.
async fn watch(
    patience: &Patience<'_>,
    job: u64,
    reporter: &mut dyn Reporter,
) -> Result<v1::JobStatus, CliError> {
    loop {
        let error = match watch_once(patience.client, job, reporter).await {
            Ok(status) => return Ok(status),
            Err(error @ ClientError::Unreachable { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = patience.outlast(error, |text| reporter.note(text)).await {
            return Err(CliError::Other(format!(
                "{error}; job {job} may still be running: \"windrow status {job}\" shows it later"
            )));
        }
    }
}

/// Likewise, as long as the connection lasts.
async fn watch_once(
    client: &Client,
    job: u64,
    reporter: &mut dyn Reporter,
) -> Result<v1::JobStatus, ClientError> {
    let mut stream = client.watch(job).await?;
    loop {
        match stream.message().await {
            Ok(Some(status)) if is_final(&status) => return Ok(status),
            Ok(Some(status)) => reporter.update(&status),
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
