//! `windrow submit`: a job on a cluster.

use std::time::Duration;

use windrow_proto::v1;

use super::args::{SubmitArgs, TargetArgs};
use super::error::CliError;
use super::exit::Exit;
use super::follow::follow;
use super::interrupt::Interrupts;
use super::job_command::JobCommand;
use super::patience::Patience;
use super::{preview, progress, security, stdout};
use crate::build_info;
use crate::client::{Client, ClientError, Submission};

/// How long to try a coordinator that does not answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn submit(job: JobCommand, args: SubmitArgs) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::listen()?;
    let mut spec = job.spec()?;
    if let Some(options) = &mut spec.options {
        options.priority = args.priority;
        options.worker_wait_ms = args.worker_wait.as_millis() as u64;
    }
    let build = build_info::current().map_err(CliError::io("/proc/self/exe"))?;
    let submission = draw_submission()?;
    let wait = args.coordinator_wait.into();
    let submitted = async {
        let client = connect(&args.target).await?;
        let id = tell(&Patience { client: &client, limit: wait }, build, spec, submission).await?;
        Ok::<_, CliError>((client, id))
    };
    let (client, id) = tokio::select! {
        submitted = submitted => submitted?,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let mut reporter = progress::reporter(job.args.json);
    reporter.accepted(id, args.detach);
    if args.detach {
        return Ok(Exit::Success);
    }
    let patience = Patience { client: &client, limit: wait };
    let exit = follow(&patience, id, &mut *reporter, &mut interrupts).await?;
    if exit == Exit::Success && !job.args.json {
        preview::print(&job.args.output);
    }
    Ok(exit)
}

/// Submits until there is an answer: told again, it is the same job.
async fn tell(
    patience: &Patience<'_>,
    build: v1::Build,
    spec: v1::JobSpec,
    submission: Submission,
) -> Result<u64, CliError> {
    loop {
        let error = match patience.client.submit(build.clone(), spec.clone(), submission).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        let was_refused = !matches!(error, ClientError::Unreachable { .. });
        match patience.outlast(error, say).await {
            Ok(()) => {}
            Err(error) if was_refused => return Err(error.into()),
            Err(error) => {
                return Err(CliError::Other(format!(
                    "{error}; whether it has accepted the job is not known: \"windrow jobs\" shows it later"
                )));
            }
        }
    }
}

/// From the system's own randomness: no two submissions ever have the same name.
fn draw_submission() -> Result<Submission, CliError> {
    let mut submission = Submission::default();
    getrandom::fill(&mut submission)
        .map_err(|error| CliError::Other(format!("the system gives no random bytes: {error}")))?;
    Ok(submission)
}

async fn connect(target: &TargetArgs) -> Result<Client, CliError> {
    let dialer = security::dialer(target).await?;
    let client = Client::connect(&target.coordinator, &dialer, CONNECT_PATIENCE, |error, pause| {
        say(&format!("{error}; trying again in {:.1} s", pause.as_secs_f64()));
    });
    Ok(client.await?)
}

/// Before there is a job to report on.
fn say(text: &str) {
    eprintln!("windrow: {}", stdout::escaped(text));
}
