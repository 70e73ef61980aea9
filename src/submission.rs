//! A job on its way to a cluster, built where its code is: by its submitter.
//!
//! A coordinator runs no user code. So bad parameters are found here, and so is what an ordered job needs before it can be
//! planned: a sample of its map output, for which its mapper runs. What hangs or dies there harms the submitter alone.

use std::sync::Arc;

use windrow_jobs::program::{JobShape, Partitioning, Program, SplitPoints};
use windrow_jobs::{JobInput, Registry};
use windrow_proto::v1;

use crate::client::{Client, ClientError};

/// Names a submission, so that it can be told again: 16 bytes that no other submission has.
pub type SubmissionName = [u8; 16];

/// A job to submit.
pub struct Submission {
    name: SubmissionName,
    spec: v1::JobSpec,
    program: Arc<dyn Program>,
    shape: JobShape,
    /// Of an ordered job, once they are known. A submission that is told again says the same.
    ranges: Option<v1::JobRanges>,
}

impl Submission {
    /// Builds the job that `spec` names.
    ///
    /// # Errors
    /// When there is no such job, or its parameters make no sense.
    pub fn new(
        registry: &Registry,
        spec: v1::JobSpec,
        name: SubmissionName,
    ) -> Result<Self, ClientError> {
        let program = build(registry, &spec)?;
        let shape = JobShape::of(&*program);
        Ok(Self { name, spec, program, shape, ranges: None })
    }

    /// Submits it and returns the job's id. Told again, by this value, it is the same job.
    ///
    /// # Errors
    /// When the coordinator refuses the job, or is not reachable.
    pub async fn submit(&mut self, client: &Client, build: &v1::Build) -> Result<u64, ClientError> {
        if self.shape.is_ordered() && self.ranges.is_none() {
            self.ranges = Some(self.sample(client, build).await?);
        }
        let request = v1::SubmitRequest {
            build: Some(build.clone()),
            spec: Some(self.spec.clone()),
            submission: self.name.to_vec().into(),
            shape: Some(shape_to(&self.shape)),
            ranges: self.ranges.clone(),
        };
        client.submit(request).await
    }

    /// Asks for the number of ranges, and looks for where they begin.
    async fn sample(
        &self,
        client: &Client,
        build: &v1::Build,
    ) -> Result<v1::JobRanges, ClientError> {
        let request = v1::PlanRequest {
            build: Some(build.clone()),
            spec: Some(self.spec.clone()),
            shape: Some(shape_to(&self.shape)),
        };
        let partitions = client.plan(request).await?.partitions;
        let (job, program) = (self.spec.job.clone(), Arc::clone(&self.program));
        let inputs = self
            .spec
            .inputs
            .iter()
            .map(|input| JobInput { name: input.name.clone(), pattern: input.pattern.clone() });
        let inputs: Vec<_> = inputs.collect();
        let sampling = tokio::task::spawn_blocking(move || {
            windrow_coordinator::sample_ranges(&job, &inputs, &program, partitions)
        });
        let points = match sampling.await {
            Ok(Ok(points)) => points,
            Ok(Err(error)) => return Err(refused(error.to_string())),
            Err(panic) => return Err(refused(format!("the sample cannot be taken: {panic}"))),
        };
        Ok(v1::JobRanges { partitions, points: points_to(&points) })
    }
}

fn build(registry: &Registry, spec: &v1::JobSpec) -> Result<Arc<dyn Program>, ClientError> {
    let Some(job) = registry.get(&spec.job) else {
        let mut message = format!("there is no job '{}'", spec.job);
        if let Some(similar) = registry.suggest(&spec.job) {
            message.push_str(&format!("; did you mean '{similar}'?"));
        }
        return Err(wrong(message));
    };
    job.build(&spec.params).map_err(|error| wrong(format!("{}: {}", spec.job, error.message())))
}

/// The request itself makes no sense.
fn wrong(message: String) -> ClientError {
    ClientError::Refused { usage: true, message }
}

fn refused(message: String) -> ClientError {
    ClientError::Refused { usage: false, message }
}

fn shape_to(shape: &JobShape) -> v1::JobShape {
    v1::JobShape {
        input_names: shape.input_names.clone(),
        map_only: shape.map_only,
        ranges: match shape.partitioning {
            Partitioning::Ranges { within_keys } => Some(v1::job_shape::Ranges { within_keys }),
            Partitioning::ByKey => None,
        },
    }
}

fn points_to(points: &SplitPoints) -> Vec<v1::SplitPoint> {
    let point = |(key, value): (&[u8], &[u8])| v1::SplitPoint {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    points.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(job: &str, params: &str) -> String {
        let registry = Registry::new(windrow_jobs::ready::all());
        let spec = v1::JobSpec { job: job.into(), params: params.into(), ..Default::default() };
        let refused = Submission::new(&registry, spec, SubmissionName::default()).err().unwrap();
        assert!(matches!(refused, ClientError::Refused { usage: true, .. }));
        refused.to_string()
    }

    #[test]
    fn jobs_that_cannot_be_built_go_no_further() {
        let error = refusal("word-coutn", "{}");
        assert_eq!(error, "there is no job 'word-coutn'; did you mean 'word-count'?");
        let error = refusal("grep", r#"{"pattern": "("}"#);
        assert!(error.starts_with("grep: "), "{error}");
    }
}
