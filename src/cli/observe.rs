//! `windrow jobs`, `status`, `cancel` and `workers`: questions to a coordinator.

use std::time::Duration;

use serde_json::json;
use windrow_jobs::{Isolation, one_line};
use windrow_proto::v1;

use super::args::{ClusterArgs, JobsArgs, OneJobArgs, ShownState};
use super::error::CliError;
use super::exit::Exit;
use super::{security, stderr, stdout, summary};
use crate::client::{Client, ClientError};

pub(crate) async fn jobs(args: JobsArgs) -> Result<Exit, CliError> {
    let JobsArgs { states, user, limit, cluster } = args;
    let request = v1::ListRequest {
        states: states.into_iter().map(state_to).collect(),
        submitter: user.unwrap_or_default(),
        limit,
        before: None,
    };
    let (jobs, more) = connect(&cluster).await?.list(request).await?;
    if cluster.json {
        for job in &jobs {
            stdout::line(format_args!("{}", summary::to_json(job)));
        }
    } else {
        print_table(&jobs);
    }
    if more {
        stderr::line(format_args!("windrow: there are older ones; --limit 0 shows all"));
    }
    Ok(Exit::Success)
}

fn state_to(state: ShownState) -> i32 {
    let state = match state {
        ShownState::Running => v1::JobState::Running,
        ShownState::Publishing => v1::JobState::Publishing,
        ShownState::Succeeded => v1::JobState::Succeeded,
        ShownState::Failed => v1::JobState::Failed,
        ShownState::Cancelled => v1::JobState::Cancelled,
    };
    state.into()
}

fn print_table(jobs: &[v1::JobStatus]) {
    stdout::line(format_args!(
        "{:>6}  {:<20} {:<10} {:>9} {:>9} {:>9}  OUTPUT",
        "ID", "JOB", "STATE", "MAPS", "REDUCES", "TIME"
    ));
    for job in jobs {
        let spec = job.spec.clone().unwrap_or_default();
        stdout::line(format_args!(
            "{:>6}  {:<20} {:<10} {:>9} {:>9} {:>9}  {}",
            job.id,
            one_line(&spec.job),
            summary::state_name(job.state()),
            tasks(job.map.as_ref()),
            tasks(job.reduce.as_ref()),
            summary::seconds(job.elapsed_ms),
            one_line(&spec.output),
        ));
    }
}

pub(crate) async fn status(args: OneJobArgs) -> Result<Exit, CliError> {
    let job = connect(&args.cluster).await?.get(args.name).await.map_err(no_such_job)?;
    show(&job, &args.cluster);
    Ok(Exit::Success)
}

/// Says whether the job was cancelled, and shows its status afterwards.
pub(crate) async fn cancel(args: OneJobArgs) -> Result<Exit, CliError> {
    let client = connect(&args.cluster).await?;
    let v1::CancelReply { status, too_late } =
        client.cancel(args.name).await.map_err(no_such_job)?;
    let job = status.unwrap_or_default();
    let is_cancelled = job.state() == v1::JobState::Cancelled;
    let (said, exit) = match (too_late, is_cancelled) {
        (false, _) => (format!("job {} was cancelled", job.id), Exit::Success),
        (true, true) => (format!("job {} had been cancelled before", job.id), Exit::Success),
        (true, false) => {
            let state = summary::state_name(job.state());
            (format!("nothing was cancelled: job {} has {state}", job.id), Exit::TooLate)
        }
    };
    stderr::line(format_args!("windrow: {said}"));
    show(&job, &args.cluster);
    Ok(exit)
}

/// What it means that the coordinator knows nothing by the name of a job.
pub(super) fn no_such_job(error: ClientError) -> CliError {
    match error {
        ClientError::NotFound { message } => CliError::NoSuchJob(message),
        error => error.into(),
    }
}

pub(crate) async fn workers(args: ClusterArgs) -> Result<Exit, CliError> {
    let workers = connect(&args).await?.workers().await?;
    if !args.json {
        stdout::line(format_args!(
            "{:>6}  {:<28} {:>7} {:>10} {:>7} {:>7} {:>7}  {:<9}  STATE",
            "ID", "NAME", "THREADS", "MEMORY", "RUNNING", "DONE", "FAILED", "ISOLATION"
        ));
    }
    for worker in &workers {
        if args.json {
            stdout::line(format_args!("{}", worker_json(worker)));
        } else {
            stdout::line(format_args!(
                "{:>6}  {:<28} {:>7} {:>10} {:>7} {:>7} {:>7}  {:<9}  {}",
                worker.id,
                one_line(&worker.name),
                worker.threads,
                summary::size(worker.memory_bytes),
                worker.running,
                worker.done,
                worker.failed,
                isolation(worker).unwrap_or_default(),
                worker_state(worker),
            ));
        }
    }
    Ok(Exit::Success)
}

/// Questions do not wait for a coordinator that is not there.
pub(super) async fn connect(args: &ClusterArgs) -> Result<Client, CliError> {
    let dialer = security::dialer(&args.target).await?;
    Ok(Client::connect(&args.target.coordinator, &dialer, Duration::ZERO, |_, _| {}).await?)
}

fn show(job: &v1::JobStatus, args: &ClusterArgs) {
    if args.json {
        stdout::line(format_args!("{}", summary::to_json(job)));
    } else {
        stdout::text(&summary::to_text(job));
    }
}

fn tasks(stage: Option<&v1::StageStatus>) -> String {
    stage.map_or_else(String::new, |stage| format!("{}/{}", stage.done, stage.tasks))
}

/// The worker's health in a word or two. A draining worker gets no tasks anyway.
fn worker_state(worker: &v1::WorkerStatus) -> &'static str {
    match worker {
        v1::WorkerStatus { draining: true, .. } => "draining",
        v1::WorkerStatus { quarantined: true, .. } => "quarantined",
        v1::WorkerStatus { on_probation: true, .. } => "on probation",
        _ => "ready",
    }
}

/// By its name, where the worker has said so.
fn isolation(worker: &v1::WorkerStatus) -> Option<&'static str> {
    let level = match worker.isolation() {
        v1::Isolation::Unspecified => return None,
        v1::Isolation::None => Isolation::None,
        v1::Isolation::Files => Isolation::Files,
        v1::Isolation::Process => Isolation::Process,
        v1::Isolation::User => Isolation::User,
    };
    Some(level.as_str())
}

fn worker_json(worker: &v1::WorkerStatus) -> serde_json::Value {
    json!({
        "id": worker.id,
        "name": worker.name,
        "shuffle_address": worker.shuffle_address,
        "threads": worker.threads,
        "memory_bytes": worker.memory_bytes,
        "running": worker.running,
        "done": worker.done,
        "failed": worker.failed,
        "draining": worker.draining,
        "quarantined": worker.quarantined,
        "on_probation": worker.on_probation,
        "silent_ms": worker.silent_ms,
        "isolation": isolation(worker),
    })
}
