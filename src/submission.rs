//! A job on its way to a cluster, built where its code is, by its submitter: with its program, and
//! what that reads.
//!
//! A coordinator runs no user code. So the submitter checks parameters, and runs the mapper of an
//! ordered job on a sample, which planning needs. A mapper that hangs or dies there harms the
//! submitter alone.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windrow_jobs::partitioning::{Partitioning, SplitPoints};
use windrow_jobs::program::{JobShape, Program};
use windrow_jobs::{Blob, InputRange, JobExecutable, Registry, SamplePiece, Version};
use windrow_proto::v1;

use crate::client::{Accepted, Client, ClientError};
use crate::executable::{Executable, blob_of};
use crate::shipping::ship;

/// Names a submission, so that it can be told again: 16 bytes that no other submission has.
pub(crate) type SubmissionName = [u8; 16];

/// A job to submit.
pub(crate) struct Submission {
    name: SubmissionName,
    spec: v1::JobSpec,
    program: Arc<dyn Program>,
    shape: JobShape,
    /// What the user calls the submission, instead of its name.
    key: String,
    /// Of an ordered job, once they are known. A submission that is told again says the same.
    ranges: Option<v1::JobRanges>,
    build: v1::Build,
    /// What a cluster must have to run it: the program, and the side files.
    files: Vec<(Blob, Arc<File>)>,
}

/// What a job is shipped as.
pub(crate) struct Shipped<'a> {
    /// The submitter's program.
    pub(crate) executable: &'a Executable,
    /// The arguments that come before Windrow's own.
    pub(crate) prefix: &'a [OsString],
    /// Side files by name.
    pub(crate) side_files: &'a [(String, PathBuf)],
}

impl Submission {
    /// Builds the job that `spec` names, and reads what is shipped with it, which takes a while
    /// where that is large.
    ///
    /// # Errors
    /// When there is no such job, its parameters make no sense, or a side file cannot be read.
    pub(crate) fn new(
        registry: &Registry,
        mut spec: v1::JobSpec,
        name: SubmissionName,
        shipped: &Shipped<'_>,
    ) -> Result<Self, ClientError> {
        let program = build(registry, &spec)?;
        let shape = JobShape::of(&*program)
            .map_err(|error| wrong(format!("{}: {}", spec.job, error.message())))?;
        let Shipped { executable, prefix, side_files } = shipped;
        let job_program = executable.to_program(prefix).map_err(refused)?;
        spec.program = Some(program_to(job_program));
        let mut files = vec![(executable.blob, Arc::clone(&executable.file))];
        for (name, path) in *side_files {
            let (blob, file) = read_side_file(path)?;
            spec.files.push(v1::SideFile { name: name.clone(), blob: Some(blob_to(blob)) });
            files.push((blob, file));
        }
        let build = executable.build.clone();
        let key = String::new();
        Ok(Self { name, key, spec, program, shape, ranges: None, build, files })
    }

    /// The same submission under a name that the user has chosen, which makes it idempotent across
    /// processes.
    #[must_use]
    pub(crate) fn with_key(self, key: Option<String>) -> Self {
        Self { key: key.unwrap_or_default(), ..self }
    }

    /// Sees to it that the coordinator has all files of the job, and returns the number of bytes
    /// that had to be sent.
    ///
    /// # Errors
    /// When it refuses one of them, or is not reachable. What it has by then need not be sent
    /// again.
    pub(crate) async fn ship(&self, client: &Client) -> Result<u64, ClientError> {
        let mut sent = 0;
        for (blob, file) in &self.files {
            sent += ship(client, *blob, file).await?;
        }
        Ok(sent)
    }

    /// Submits the job, whose files have been shipped. Idempotent: submitting this value again is
    /// the same job.
    ///
    /// # Errors
    /// When the coordinator refuses the job, or is not reachable.
    pub(crate) async fn submit(&mut self, client: &Client) -> Result<Accepted, ClientError> {
        if self.shape.is_ordered() && self.ranges.is_none() {
            match self.sample(client).await? {
                Sampled::Ranges(ranges) => self.ranges = Some(ranges),
                Sampled::AcceptedBefore(accepted) => return Ok(accepted),
            }
        }
        let request = v1::SubmitRequest {
            build: Some(self.build.clone()),
            spec: Some(self.spec.clone()),
            submission: self.drawn().into(),
            key: self.key.clone(),
            shape: Some(shape_to(&self.shape)),
            ranges: self.ranges.clone(),
            // The client knows.
            cluster: String::new(),
        };
        client.submit(request).await
    }

    /// Its name, unless the user has given it one.
    fn drawn(&self) -> Vec<u8> {
        if self.key.is_empty() { self.name.to_vec() } else { Vec::new() }
    }

    /// Asks for the number of ranges, and looks for where they begin.
    async fn sample(&self, client: &Client) -> Result<Sampled, ClientError> {
        let request = v1::PlanRequest {
            build: Some(self.build.clone()),
            spec: Some(self.spec.clone()),
            shape: Some(shape_to(&self.shape)),
            submission: self.drawn().into(),
            key: self.key.clone(),
        };
        let v1::PlanReply { partitions, sample, accepted } = client.plan(request).await?;
        if let Some(accepted) = accepted {
            client.keep_to_cluster();
            return Ok(Sampled::AcceptedBefore(client.accepted(&accepted)?));
        }
        let program = Arc::clone(&self.program);
        let sampling = tokio::task::spawn_blocking(move || {
            let pieces: Vec<_> = sample.into_iter().filter_map(piece_from).collect();
            windrow_worker::sample_ranges(&pieces, &program, partitions)
        });
        let points = match sampling.await {
            Ok(points) => points,
            Err(panic) => return Err(refused(format!("the sample cannot be taken: {panic}"))),
        };
        Ok(Sampled::Ranges(v1::JobRanges { partitions, points: points_to(&points) }))
    }
}

/// What comes of asking where the ranges of a job begin.
enum Sampled {
    Ranges(v1::JobRanges),
    /// The job is there: nothing is to be planned.
    AcceptedBefore(Accepted),
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

fn read_side_file(path: &Path) -> Result<(Blob, Arc<File>), ClientError> {
    let read = File::open(path).and_then(|file| Ok((blob_of(&file)?, Arc::new(file))));
    read.map_err(|error| refused(format!("{}: {error}", path.display())))
}

fn program_to(JobExecutable { executable, arguments, needs }: JobExecutable) -> v1::JobExecutable {
    let needs = v1::PlatformNeeds {
        arch: needs.arch,
        interpreter: needs.interpreter,
        glibc: needs.glibc.map_or_else(String::new, |version| version.to_string()),
    };
    v1::JobExecutable { executable: Some(blob_to(executable)), arguments, needs: Some(needs) }
}

fn blob_to(blob: Blob) -> v1::Blob {
    v1::Blob { digest: blob.digest.0.to_vec().into(), bytes: blob.bytes }
}

fn shape_to(shape: &JobShape) -> v1::JobShape {
    v1::JobShape {
        input_names: shape.input_names.clone(),
        map_only: shape.map_only,
        uncut_inputs: shape.uncut_inputs.clone(),
        extension: shape.extension.clone(),
        ranges: match shape.partitioning {
            Partitioning::Ranges { within_keys } => Some(v1::job_shape::Ranges { within_keys }),
            Partitioning::ByKey => None,
        },
    }
}

/// `None` where it makes no sense: nothing is sampled there.
fn piece_from(piece: v1::SamplePiece) -> Option<SamplePiece> {
    use v1::sample_piece::Version as Sent;
    let v1::SamplePiece { stratum, input, file_number, location, file_bytes: bytes, .. } = piece;
    let version = match piece.version {
        Some(Sent::Etag(etag)) => Version::Object { bytes, etag: etag.into() },
        Some(Sent::ModifiedUnixNs(modified_unix_ns)) => Version::Local { bytes, modified_unix_ns },
        None => Version::Local { bytes, modified_unix_ns: 0 },
    };
    let location = location.parse().ok()?;
    let range = InputRange { location, file_number, range: piece.start..piece.end, version };
    Some(SamplePiece { stratum, input, range })
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
        let shipped =
            Shipped { executable: &Executable::own().unwrap(), prefix: &[], side_files: &[] };
        let name = SubmissionName::default();
        let refused = Submission::new(&registry, spec, name, &shipped).err().unwrap();
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
