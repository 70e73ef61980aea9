//! `windrow submit`: a job on a cluster.

use std::time::Duration;

use super::args::SubmitArgs;
use super::error::CliError;
use super::exit::Exit;
use super::follow::follow;
use super::interrupt::Interrupts;
use super::job_command::JobCommand;
use super::{preview, progress};
use crate::build_info;
use crate::client::{Client, ClientError};

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
    let submitted = async {
        let client = connect(&args.coordinator).await?;
        let id = client.submit(build, spec).await?;
        Ok::<_, ClientError>((client, id))
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
    let exit = follow(&client, id, &mut *reporter, &mut interrupts).await?;
    if exit == Exit::Success && !job.args.json {
        preview::print(&job.args.output);
    }
    Ok(exit)
}

async fn connect(url: &str) -> Result<Client, ClientError> {
    Client::connect(url, CONNECT_PATIENCE, |error, pause| {
        eprintln!("windrow: {error}; trying again in {:.1} s", pause.as_secs_f64());
    })
    .await
}
