//! Watches a job to its end, over restarts of the coordinator and interruptions by the user.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use windrow_proto::v1;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::{Interrupt, Interrupts};
use super::patience::Patience;
use super::progress::Reporter;
use crate::client::{Accepted, Client, ClientError};

/// How long a cancelled job may take to end before the command goes without it.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How long a last question may take.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// What an interrupt does to the job that is waited for. If the terminal is gone, the job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// It is cancelled, by whoever has submitted it; a second interrupt leaves at once.
    Cancel,
    /// The same, and it ends with this process in any case.
    End,
    /// It goes on without this command.
    Leave,
}

/// Reports `job` until it ends, or until an interrupt.
pub(crate) async fn follow(
    mut patience: Patience<'_>,
    job: &Accepted,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
    on_interrupt: OnInterrupt,
) -> Result<Exit, CliError> {
    let client = patience.client;
    let status = tokio::select! {
        status = watch(&mut patience, job, reporter, on_interrupt) => status?,
        interrupt = interrupts.next() => {
            let leave = |why: &str| {
                format!("{why}; job {0} goes on: \"windrow wait {0}\" waits for it again", job.number)
            };
            match (interrupt, on_interrupt) {
                (Interrupt::HungUp, _) => reporter.note(&leave("the terminal is gone")),
                (_, OnInterrupt::Leave) => reporter.note(&leave("interrupted")),
                (_, OnInterrupt::Cancel) => {
                    if let Some(why) = cancelled(client, job, reporter, interrupts).await {
                        let job = job.number;
                        reporter.note(&format!(
                            "{why}; job {job} may still be running: \"windrow cancel {job}\" stops it later"
                        ));
                    }
                }
                (_, OnInterrupt::End) => {
                    if let Some(why) = cancelled(client, job, reporter, interrupts).await {
                        reporter.note(&format!("{why}; it ends with this process"));
                    }
                }
            }
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

/// Cancels the job if a coordinator answers, and says what became of it. Returns why that is not
/// known.
async fn cancelled(
    client: &Client,
    job: &Accepted,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Option<String> {
    reporter.note("interrupted: cancelling the job");
    let cancel = async {
        client.find().await?;
        let cancelled = client.cancel(job.name()).await?;
        Ok(cancelled.status.unwrap_or_default())
    };
    let ended = tokio::select! {
        ended = cancel => Some(ended),
        () = sleep(CANCEL_GRACE) => None,
        _ = interrupts.next() => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => timeout(ANSWER_GRACE, client.get(job.name())).await.ok(),
    };
    match ended {
        Some(Ok(status)) if is_final(&status) => reporter.finished(&status),
        Some(Ok(_)) => return Some("the job has not ended yet".to_string()),
        // Nobody else's job is meant.
        Some(Err(error)) if is_gone(&error) => reporter.note(&gone(job, &error)),
        Some(Err(error)) => return Some(error.to_string()),
        None => return Some("the coordinator does not answer".to_string()),
    }
    None
}

/// Reports every status until the final one, which it returns.
async fn watch(
    patience: &mut Patience<'_>,
    job: &Accepted,
    reporter: &mut dyn Reporter,
    on_interrupt: OnInterrupt,
) -> Result<v1::JobStatus, CliError> {
    loop {
        let error = match watch_once(patience, job, reporter).await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        let Err(error) = patience.outlast(error, |text| reporter.note(text)).await else {
            continue;
        };
        return Err(match error {
            ClientError::Unreachable { message, .. } if on_interrupt == OnInterrupt::End => {
                CliError::Other(format!("the coordinator in this process has ended: {message}"))
            }
            ClientError::Unreachable { .. } => CliError::Unreachable(format!(
                "{error}; job {0} may still be running: \"windrow status {0}\" shows it later",
                job.number
            )),
            error if is_gone(&error) => CliError::NoSuchJob(gone(job, &error)),
            error => error.into(),
        });
    }
}

/// Whether the job has gone with its coordinator, or was forgotten.
fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::OtherCluster { .. } | ClientError::NotFound { .. })
}

fn gone(job: &Accepted, error: &ClientError) -> String {
    format!(
        "job {} is gone: {error}; a coordinator that is started with --state DIR knows its jobs again when it is restarted",
        job.number
    )
}

/// Reports every status until the final one, as long as the connection lasts.
async fn watch_once(
    patience: &mut Patience<'_>,
    job: &Accepted,
    reporter: &mut dyn Reporter,
) -> Result<v1::JobStatus, ClientError> {
    let client = patience.client;
    let mut stream = client.watch(job.name()).await?;
    loop {
        match stream.message().await {
            Ok(Some(status)) if is_final(&status) => return Ok(status),
            Ok(Some(status)) => {
                patience.heard();
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
