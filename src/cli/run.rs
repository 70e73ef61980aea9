//! `windrow run`: a job on this machine, without a cluster.

use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::Registry;

use super::error::CliError;
use super::exit::Exit;
use super::follow::{OnInterrupt, follow};
use super::interrupt::{HangUp, Interrupts};
use super::job_command::JobCommand;
use super::patience::Patience;
use super::{preview, progress};
use crate::embedded::{Embedded, EmbeddedConfig};

/// The worker is in this process: it joins at once, or something is wrong.
const WORKER_WAIT: Duration = Duration::from_secs(30);

pub(crate) async fn run(registry: Arc<Registry>, job: JobCommand) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::listen(HangUp::IsNothing)?;
    let config = EmbeddedConfig {
        threads: job.args.threads,
        memory_bytes: job.args.memory.map(|size| size.0),
    };
    let mut spec = job.spec()?;
    if let Some(options) = &mut spec.options {
        options.worker_wait_ms = WORKER_WAIT.as_millis() as u64;
    }
    let mut embedded = Embedded::start(registry, config).await.map_err(CliError::Other)?;
    // Listing a large input takes a while.
    let submitted = tokio::select! {
        submitted = embedded.submit(spec) => Some(submitted),
        _ = interrupts.next() => None,
    };
    let submitted = match submitted {
        Some(Ok(submitted)) => submitted,
        Some(Err(refused)) => {
            embedded.stop().await;
            return Err(refused.into());
        }
        None => {
            embedded.stop().await;
            return Ok(Exit::Interrupted);
        }
    };
    let mut reporter = progress::of_embedded(job.args.json);
    let client = embedded.client().clone();
    // A coordinator in this process that does not answer will not come back.
    let patience = Patience::new(&client, Duration::ZERO);
    let exit = tokio::select! {
        exit = follow(patience, &submitted, &mut *reporter, &mut interrupts, OnInterrupt::End) => exit,
        why = embedded.worker_ended() => Err(CliError::Other(why)),
    };
    embedded.stop().await;
    let exit = exit?;
    if exit == Exit::Success && !job.args.json {
        preview::print(&job.output);
    }
    Ok(exit)
}
