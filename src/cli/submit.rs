//! `windrow submit`: a job on a cluster.

use std::cell::Cell;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::Registry;

use super::args::{SubmitArgs, TargetArgs};
use super::error::CliError;
use super::exit::Exit;
use super::follow::{OnInterrupt, follow};
use super::interrupt::{HangUp, Interrupts};
use super::job_command::JobCommand;
use super::patience::Patience;
use super::{preview, progress, security, stderr, stdout};
use crate::client::{Accepted, Client, ClientError};
use crate::executable::Executable;
use crate::submission::{Shipped, Submission, SubmissionName};

/// How long to try a coordinator that has never answered: it is more likely a wrong address.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn submit(
    registry: Arc<Registry>,
    command: JobCommand,
    args: SubmitArgs,
    prefix: Vec<OsString>,
) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::listen(HangUp::IsTold)?;
    let mut spec = command.spec()?;
    spec.writable = args.writable;
    if let Some(options) = &mut spec.options {
        options.priority = args.priority;
        // To the coordinator, 0 is the default.
        options.worker_wait_ms = (args.worker_wait.as_millis() as u64).max(1);
    }
    let executable = &Executable::own().map_err(CliError::io("/proc/self/exe"))?;
    let shipped = Shipped { executable, prefix: &prefix, side_files: &command.side_files };
    let mut submission =
        Submission::new(&registry, spec, draw_name()?, &shipped)?.with_key(args.submission.clone());
    let wait = args.coordinator_wait.into();
    let is_sent = Cell::new(false);
    let submitted = async {
        let client = connect(&args.target, wait).await?;
        is_sent.set(true);
        let told = tell(Patience::new(&client, wait), &mut submission).await?;
        Ok::<_, CliError>((client, told))
    };
    let (client, Told { job, sent_bytes }) = tokio::select! {
        submitted = submitted => submitted?,
        _ = interrupts.next() => {
            say(match is_sent.get() {
                false => "interrupted: nothing was submitted",
                true => "interrupted: the coordinator may have accepted the job; \"windrow jobs\" shows it \
                         later, and \"windrow cancel\" stops it",
            });
            return Ok(Exit::Interrupted);
        }
    };
    let mut reporter = progress::reporter(command.args.json);
    reporter.shipped(sent_bytes);
    if let (true, Some(name)) = (job.before, &args.submission) {
        reporter.note(&format!("job {} was submitted as '{name}' before", job.number));
    }
    reporter.accepted(&job, args.detach);
    if args.detach {
        if stdout::has_failed() {
            // Without the number, the user would submit the job again.
            say(&format!("job {} was accepted, and goes on", job.number));
        }
        return Ok(Exit::Success);
    }
    let patience = Patience::new(&client, wait);
    let exit = follow(patience, &job, &mut *reporter, &mut interrupts, OnInterrupt::Cancel).await?;
    if exit == Exit::Success && !command.args.json {
        preview::print(&command.output);
    }
    Ok(exit)
}

/// A submission that was accepted.
struct Told {
    job: Accepted,
    /// Of its program and side files.
    sent_bytes: u64,
}

/// Submits until there is an answer: submissions are idempotent.
async fn tell(mut patience: Patience<'_>, submission: &mut Submission) -> Result<Told, CliError> {
    let mut sent_bytes = 0;
    loop {
        let shipped = submission.ship(patience.client).await;
        let error = match shipped {
            Ok(bytes) => {
                sent_bytes += bytes;
                if bytes > 0 {
                    patience.heard();
                }
                match submission.submit(patience.client).await {
                    Ok(job) => return Ok(Told { job, sent_bytes }),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let was_refused = !matches!(error, ClientError::Unreachable { .. });
        match patience.outlast(error, say).await {
            Ok(()) => {}
            Err(error) if was_refused => return Err(error.into()),
            Err(error) => {
                return Err(CliError::Unreachable(format!(
                    "{error}; the job may have been accepted: \"windrow jobs\" shows it later"
                )));
            }
        }
    }
}

/// From the system's own randomness: no two submissions ever have the same name.
fn draw_name() -> Result<SubmissionName, CliError> {
    let mut name = SubmissionName::default();
    getrandom::fill(&mut name)
        .map_err(|error| CliError::Other(format!("the system gives no random bytes: {error}")))?;
    Ok(name)
}

/// Connects for a command that waits anyway: a coordinator may only be about to start, so it is
/// waited for, at most for `wait`.
pub(super) async fn connect(target: &TargetArgs, wait: Duration) -> Result<Client, CliError> {
    let dialer = security::dialer(target).await?;
    let patience = wait.min(CONNECT_PATIENCE);
    let client = Client::connect(&target.coordinator, &dialer, patience, |error, pause| {
        say(&format!("{error}; trying again in {:.1} s", pause.as_secs_f64()));
    });
    Ok(client.await?)
}

/// Before there is a job to report on.
fn say(text: &str) {
    stderr::line(format_args!("windrow: {text}"));
}
