//! `windrow wait`: waits until a job ends, whoever submitted it.

use windrow_jobs::JobIdentity;

use super::args::WaitArgs;
use super::error::CliError;
use super::exit::Exit;
use super::follow::{OnInterrupt, follow};
use super::interrupt::{HangUp, Interrupts};
use super::observe::no_such_job;
use super::patience::Patience;
use super::progress;
use super::submit::connect;
use crate::client::Accepted;

pub(crate) async fn wait(args: WaitArgs) -> Result<Exit, CliError> {
    let WaitArgs { job, coordinator_wait } = args;
    let mut interrupts = Interrupts::listen(HangUp::IsTold)?;
    let found = async {
        let client = connect(&job.cluster.target, coordinator_wait.into()).await?;
        let status = client.get(job.name).await.map_err(no_such_job)?;
        Ok::<_, CliError>((client, status))
    };
    let (client, status) = tokio::select! {
        found = found => found?,
        _ = interrupts.next() => return Ok(Exit::Interrupted),
    };
    // From here on, the job is named by identity: another cluster may use its number.
    client.keep_to_cluster();
    let identity = JobIdentity::from_bytes(&status.identity);
    let identity = identity.ok_or_else(|| {
        CliError::Other(format!("the coordinator does not say the identity of {}", job.name))
    })?;
    let accepted = Accepted { number: status.id, identity, before: true };
    let mut reporter = progress::reporter(job.cluster.json);
    let patience = Patience::new(&client, coordinator_wait.into());
    follow(patience, &accepted, &mut *reporter, &mut interrupts, OnInterrupt::Leave).await
}
