//! Conversion of the statuses that observers see.

use windrow_proto::v1;
use windrow_scheduler::{JobFailure, JobState, Outcome, SlowestTask, StageView};

use super::failure::failure_to;
use super::millis;
use super::program::isolation_to;
use super::spec::spec_to;
use crate::driver::{JobSnapshot, WorkerSnapshot};
use crate::explain;
use crate::plan::{ClusterSize, InputSize};

/// A job's status. The job counts as ended once nothing partial of it is left.
pub(in crate::rpc) fn job_status(job: &JobSnapshot) -> v1::JobStatus {
    v1::JobStatus { spec: Some(spec_to(&job.spec)), ..status_to(job) }
}

/// A job's status without the parts that a list does not show, which may be megabytes: parameters,
/// inputs, paths, files.
pub(in crate::rpc) fn listed_status(job: &JobSnapshot) -> v1::JobStatus {
    let (name, output) = (job.spec.job.clone(), job.spec.output.to_string());
    let spec = v1::JobSpec { job: name, output, ..Default::default() };
    v1::JobStatus { spec: Some(spec), ..status_to(job) }
}

fn status_to(job: &JobSnapshot) -> v1::JobStatus {
    let view = &job.view;
    let failure = match &view.state {
        JobState::Ended(Outcome::Failed(failure)) if job.settled => Some(failure),
        _ => None,
    };
    let until = if job.settled { view.ended.unwrap_or(job.now) } else { job.now };
    v1::JobStatus {
        id: view.job.0,
        identity: job.identity.to_bytes().to_vec().into(),
        submitter: job.submitter.clone().unwrap_or_default(),
        spec: None,
        state: state_to(&view.state, job.settled).into(),
        map: Some(stage_status(&view.map)),
        reduce: Some(stage_status(&view.reduce)),
        elapsed_ms: millis(until.since(view.submitted)),
        failure: failure.and_then(cause).map(failure_to),
        failure_message: failure
            .map_or_else(String::new, |failure| explain::failure(failure, Some(&job.spec))),
        counters: view.counters.iter().map(|(name, n)| (name.to_string(), n)).collect(),
        waiting: view
            .waiting
            .as_ref()
            .map_or_else(String::new, |waiting| explain::waiting(waiting, job.now)),
        input_files: job.inputs.iter().map(|input| input.files).sum(),
        input_bytes: job.inputs.iter().map(|input| input.bytes).sum(),
        inputs: job.inputs.iter().map(input_status).collect(),
        output_bytes: view.output_bytes,
        output_records: view.output_records,
        skipped_records: view.skipped_records,
        nondeterministic_map: view.nondeterministic,
        avoided_workers: job.avoided_workers.clone(),
        split_bytes: job.split_bytes,
        fan_in: job.fan_in,
        slowest: view.slowest.map(|slowest| slowest_task(&slowest, &job.slowest_worker)),
        shuffle_bytes: view.shuffle_bytes,
        planned_for: Some(cluster_to(job.cluster)),
    }
}

fn input_status(InputSize { name, files, bytes }: &InputSize) -> v1::InputStatus {
    v1::InputStatus { name: name.clone(), files: *files, bytes: *bytes }
}

fn cluster_to(cluster: ClusterSize) -> v1::ClusterSize {
    let ClusterSize { workers, threads, memory_bytes } = cluster;
    v1::ClusterSize { workers, threads, memory_bytes }
}

fn state_to(state: &JobState, settled: bool) -> v1::JobState {
    match state {
        JobState::Running => v1::JobState::Running,
        JobState::Publishing => v1::JobState::Publishing,
        JobState::Ended(_) if !settled => v1::JobState::Running,
        JobState::Ended(Outcome::Succeeded) => v1::JobState::Succeeded,
        JobState::Ended(Outcome::Failed(_)) => v1::JobState::Failed,
        JobState::Ended(Outcome::Cancelled) => v1::JobState::Cancelled,
    }
}

fn cause(failure: &JobFailure) -> Option<&windrow_jobs::FailureCause> {
    match failure {
        JobFailure::Task { cause, .. }
        | JobFailure::Poison { cause, .. }
        | JobFailure::Publish(cause)
        | JobFailure::OutputLost(cause) => Some(cause),
        JobFailure::BadRecords { example, .. } => example.as_ref(),
        JobFailure::NoWorkers | JobFailure::NoFit | JobFailure::Audit { .. } => None,
    }
}

fn stage_status(view: &StageView) -> v1::StageStatus {
    v1::StageStatus {
        tasks: view.tasks,
        running: view.running,
        done: view.done,
        attempts: view.attempts,
        failed: view.failed,
        lost: view.lost,
        records: view.records,
        bytes: view.bytes,
        total_bytes: view.total_bytes,
        backups: view.backups,
        backups_won: view.backups_won,
    }
}

fn slowest_task(slowest: &SlowestTask, worker_name: &str) -> v1::TaskSummary {
    v1::TaskSummary {
        stage: slowest.task.stage.to_number(),
        task: slowest.task.index,
        elapsed_ms: millis(slowest.elapsed),
        worker: slowest.worker.0,
        worker_name: worker_name.to_string(),
    }
}

/// A worker's status.
pub(in crate::rpc) fn worker_status(worker: &WorkerSnapshot) -> v1::WorkerStatus {
    let WorkerSnapshot { view, profile, silent } = worker;
    v1::WorkerStatus {
        id: view.worker.0,
        name: profile.name.clone(),
        shuffle_address: profile.shuffle_address.clone(),
        threads: profile.threads,
        memory_bytes: profile.memory_bytes,
        running: view.running,
        done: view.done,
        failed: view.failed,
        draining: view.draining,
        silent_ms: millis(*silent),
        quarantined: view.quarantined,
        on_probation: view.on_probation,
        isolation: isolation_to(profile.isolation).into(),
    }
}
