//! One attempt of each task becomes visible, with the right records, and only a job that succeeds
//! leaves visible parts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use windrow_jobs::{AttemptId, JobId};
use windrow_scheduler::{Config, JobFailure, Outcome};

use super::promises::Promises;
use super::{Ledger, check};
use crate::driver::JobWork;
use crate::simulation::output::Output;

/// No coordinator takes the folder of a job that has not ended, not even while its own coordinator
/// cannot have it.
pub fn check_free<'a>(
    output: &Path,
    mut unsettled: impl Iterator<Item = (JobId, &'a Arc<JobWork>)>,
) -> Result<(), String> {
    let owner = unsettled.find(|(_, work)| work.paths.output() == output);
    check(owner.is_none(), || {
        let job = owner.map(|(job, _)| job);
        format!("visible: {} is taken from {job:?}, which is not over", output.display())
    })
}

/// A repeated publication names the same winners.
pub fn check_manifest(manifest: &[AttemptId], winners: &[AttemptId]) -> Result<(), String> {
    check(manifest == winners, || format!("visible: {winners:?} instead of {manifest:?}"))
}

/// A job with a manifest shows every part, with the records of every map task exactly once.
pub fn check_parts(job: JobId, output: &Output, promises: &Promises) -> Result<(), String> {
    let Some(plan) = promises.plan(job) else {
        return Err(format!("visible: nobody has submitted {job}"));
    };
    let maps = plan.splits.len() as u32;
    let parts = if plan.partitions == 0 { maps } else { plan.partitions };
    let shown = output.visible.get(&job);
    let content_of = |part| shown.and_then(|parts| parts.get(&part)).map(|(_, content)| content);
    for part in 0..parts {
        let expected = if plan.partitions == 0 { vec![part] } else { (0..maps).collect() };
        let content = content_of(part);
        let tasks = content.map(|content| content.iter().map(|(map, _)| *map).collect::<Vec<_>>());
        check(tasks == Some(expected), || format!("visible: part {part} of {job}: {content:?}"))?;
        // All parts come from the same output of each map.
        let same = plan.partitions == 0 || content == content_of(0);
        check(same, || format!("visible: part {part} of {job}: {content:?}, {:?}", content_of(0)))?;
    }
    let more = shown.is_some_and(|shown| shown.len() > parts as usize);
    check(!more, || format!("visible: {job} shows too many parts"))
}

/// A winner's part may be missing only if it was deleted because the job has failed.
pub fn check_missing(winner: AttemptId, promises: &Promises) -> Result<(), String> {
    let over = promises.outcome(winner.task.job);
    let swept = over.is_some_and(|outcome| *outcome != Outcome::Succeeded);
    check(swept, || format!("visible: {winner} has won, and its part is not there"))
}

/// A job is given up at its publication only if that can never succeed, or has failed too often.
pub fn check_given_up(
    job: JobId,
    outcome: &Outcome,
    output: &Output,
    config: &Config,
) -> Result<(), String> {
    let given_up = matches!(outcome, Outcome::Failed(JobFailure::Publish(_)));
    check(!given_up || output.is_hopeless(job, config.publish_failures_max), || {
        format!("visible: {job} is thrown away, and could have been published: {outcome:?}")
    })
}

/// A job is told to have succeeded.
pub fn check_success(job: JobId, output: &Output, promises: &Promises) -> Result<(), String> {
    let manifest = output.manifests.contains_key(&job);
    check(manifest, || format!("visible: {job} succeeded and shows nothing"))?;
    check_parts(job, output, promises)
}

/// At the end, no folder is locked.
pub fn check_unlocked<'a>(mut locked: impl Iterator<Item = &'a PathBuf>) -> Result<(), String> {
    let locked = locked.next();
    check(locked.is_none(), || format!("visible: {locked:?} is locked for ever"))
}

/// At the end, the visible parts agree with the ledger.
pub fn check_end(ledger: &Ledger, output: &Output, promises: &Promises) -> Result<(), String> {
    for (id, job) in &ledger.jobs {
        if job.ended == Some(Outcome::Succeeded) {
            check_success(*id, output, promises)?;
        } else {
            let shows = output.visible.contains_key(id) || output.manifests.contains_key(id);
            check(!shows, || format!("visible: {id} did not succeed and shows something"))?;
        }
    }
    Ok(())
}
