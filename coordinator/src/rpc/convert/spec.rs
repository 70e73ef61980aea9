//! Conversion of a job's description. Its limits are checked here; the code behind relies on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use windrow_jobs::{BadRecordBudget, Compression, JobInput, JobOptions, JobSpec, Location, Share};
use windrow_proto::v1;
use windrow_proto::v1::bad_record_budget::Budget;
use windrow_scheduler::SubmissionId;

use super::program::{files_from, files_to, program_from, program_to};
use super::{Malformed, millis};

pub(super) const NAME_BYTES_MAX: usize = 256;
const PARAMS_BYTES_MAX: usize = 256 << 10;
pub(super) const PATH_BYTES_MAX: usize = 4_096;
/// Most paths and patterns of a submission: as many as a shell expands a pattern to.
const INPUTS_MAX: usize = 100_000;
const WRITABLE_MAX: usize = 1_000;
pub(super) const REDUCERS_MAX: u32 = 100_000;
const ATTEMPTS_MAX: u32 = 1_000;

/// The spec of a submission. Zero in a required number means the default.
pub(in crate::rpc) fn spec_from(spec: Option<v1::JobSpec>) -> Result<JobSpec, Malformed> {
    let spec = spec.ok_or_else(|| Malformed::missing("spec"))?;
    check(spec.job.len() <= NAME_BYTES_MAX, "the job's name is too long")?;
    let params = spec.params.len();
    check(
        params <= PARAMS_BYTES_MAX,
        &format!(
            "the job's parameters have {params} bytes, and the limit is {PARAMS_BYTES_MAX}; pass large ones in a side file (--file)"
        ),
    )?;
    check(!spec.inputs.is_empty(), "no input is named")?;
    let inputs = spec.inputs.len();
    check(
        inputs <= INPUTS_MAX,
        &format!(
            "{inputs} inputs are named, and the limit is {INPUTS_MAX}; name their folder, or a pattern in quotes"
        ),
    )?;
    for input in &spec.inputs {
        check(input.name.len() <= NAME_BYTES_MAX, "an input's name is too long")?;
    }
    check(spec.writable.len() <= WRITABLE_MAX, "too many paths to write to (at most 1000)")?;
    for path in &spec.writable {
        let absolute = Path::new(path).is_absolute();
        check(absolute, &format!("'{path}' is not an absolute path"))?;
        let sound = path.len() <= PATH_BYTES_MAX && !path.contains('\0');
        check(sound, "a path is too long or contains a NUL")?;
    }
    Ok(JobSpec {
        job: spec.job,
        params: spec.params,
        inputs: spec.inputs.into_iter().map(input_from).collect::<Result<_, _>>()?,
        output: location_from(&spec.output)?,
        options: options_from(spec.options.unwrap_or_default())?,
        program: program_from(spec.program)?,
        files: files_from(spec.files)?,
        writable: spec.writable.into_iter().map(PathBuf::from).collect(),
    })
}

/// The id by which a retried submission is recognised: 16 bytes that its submitter has drawn, or a
/// key that the user has chosen. `None` for a submitter that never retries. The submitter's name is
/// hashed in, so that nobody can take another's id.
pub(in crate::rpc) fn submission_from(
    submitter: Option<&str>,
    drawn: &[u8],
    key: &str,
) -> Result<Option<SubmissionId>, Malformed> {
    let (kind, name) = match (drawn, key) {
        ([], "") => return Ok(None),
        (drawn, "") => ("windrow submission drawn", drawn),
        ([], key) => ("windrow submission key", key.as_bytes()),
        _ => return Err(Malformed("a submission has a name or a key, and not both".into())),
    };
    check(!key.is_empty() || drawn.len() == 16, "a submission's name has 16 bytes")?;
    check(key.len() <= NAME_BYTES_MAX, "the key of a submission is too long (at most 256 bytes)")?;
    let mut hash = blake3::Hasher::new_derive_key(kind);
    let submitter = submitter.unwrap_or_default();
    hash.update(&(submitter.len() as u64).to_le_bytes());
    hash.update(submitter.as_bytes()).update(name);
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    Ok(Some(SubmissionId(u128::from_le_bytes(id))))
}

fn input_from(v1::JobInput { name, pattern }: v1::JobInput) -> Result<JobInput, Malformed> {
    Ok(JobInput { name, pattern: location_from(&pattern)? })
}

fn location_from(text: &str) -> Result<Location, Malformed> {
    check(text.len() <= PATH_BYTES_MAX, "a path is too long")?;
    let location = Location::parse(text).map_err(|error| Malformed(error.to_string()))?;
    check(location.is_absolute(), &format!("'{text}' is not an absolute path"))?;
    Ok(location)
}

fn input_to(JobInput { name, pattern }: &JobInput) -> v1::JobInput {
    v1::JobInput { name: name.clone(), pattern: pattern.to_string() }
}

fn options_from(options: v1::JobOptions) -> Result<JobOptions, Malformed> {
    let default = JobOptions::default();
    check(
        options.reducers.is_none_or(|n| n <= REDUCERS_MAX),
        "too many reducers (at most 100000)",
    )?;
    check(options.reducers != Some(0), "a job with a reduce stage needs at least 1 reducer")?;
    check(options.split_bytes != Some(0), "a split needs at least 1 byte")?;
    check(options.threads != Some(0), "a task needs at least 1 thread")?;
    check(options.fan_in.is_none_or(|n| n >= 2), "a merge needs a fan-in of at least 2")?;
    check(options.max_attempts <= ATTEMPTS_MAX, "too many attempts (at most 1000)")?;
    Ok(JobOptions {
        reducers: options.reducers,
        split_bytes: options.split_bytes,
        threads: options.threads,
        memory_bytes: options.memory_bytes,
        max_attempts: match options.max_attempts {
            0 => default.max_attempts,
            n => n,
        },
        task_timeout: duration_from(options.task_timeout_ms, default.task_timeout),
        worker_wait: duration_from(options.worker_wait_ms, default.worker_wait),
        priority: options.priority,
        lossy: options.lossy,
        overwrite: options.overwrite,
        record_bytes_max: match options.record_bytes_max {
            0 => default.record_bytes_max,
            n => n,
        },
        fan_in: options.fan_in,
        skip_bad_records: options.skip_bad_records.map(budget_from).transpose()?,
        compression: match options.compression() {
            v1::Compression::Unspecified => None,
            v1::Compression::None => Some(Compression::None),
            v1::Compression::Lz4 => Some(Compression::Lz4),
            v1::Compression::Zstd => Some(Compression::Zstd),
        },
    })
}

fn budget_from(budget: v1::BadRecordBudget) -> Result<BadRecordBudget, Malformed> {
    match budget.budget.ok_or_else(|| Malformed::missing("budget"))? {
        Budget::Records(most) => Ok(BadRecordBudget::Records(most)),
        Budget::Share(share) => {
            let share =
                Share::new(share).map_err(|error| Malformed(error.message().to_string()))?;
            Ok(BadRecordBudget::Share(share))
        }
    }
}

/// As it goes over the wire.
pub(super) fn budget_to(budget: BadRecordBudget) -> v1::BadRecordBudget {
    let budget = match budget {
        BadRecordBudget::Records(most) => Budget::Records(most),
        BadRecordBudget::Share(share) => Budget::Share(share.get()),
    };
    v1::BadRecordBudget { budget: Some(budget) }
}

/// As it goes over the wire.
pub(super) fn compression_to(compression: Option<Compression>) -> v1::Compression {
    match compression {
        None => v1::Compression::Unspecified,
        Some(Compression::None) => v1::Compression::None,
        Some(Compression::Lz4) => v1::Compression::Lz4,
        Some(Compression::Zstd) => v1::Compression::Zstd,
    }
}

fn duration_from(millis: u64, default: Duration) -> Duration {
    if millis == 0 { default } else { Duration::from_millis(millis) }
}

pub(super) fn check(holds: bool, otherwise: &str) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed(otherwise.to_string())) }
}

/// The spec as a status shows it.
pub(in crate::rpc) fn spec_to(spec: &JobSpec) -> v1::JobSpec {
    let options = &spec.options;
    v1::JobSpec {
        job: spec.job.clone(),
        params: spec.params.clone(),
        inputs: spec.inputs.iter().map(input_to).collect(),
        program: Some(program_to(&spec.program)),
        files: files_to(&spec.files),
        writable: spec.writable.iter().map(|path| path.display().to_string()).collect(),
        output: spec.output.to_string(),
        options: Some(v1::JobOptions {
            reducers: options.reducers,
            split_bytes: options.split_bytes,
            threads: options.threads,
            memory_bytes: options.memory_bytes,
            max_attempts: options.max_attempts,
            task_timeout_ms: millis(options.task_timeout),
            worker_wait_ms: millis(options.worker_wait),
            priority: options.priority,
            lossy: options.lossy,
            record_bytes_max: options.record_bytes_max,
            compression: compression_to(options.compression).into(),
            fan_in: options.fan_in,
            skip_bad_records: options.skip_bad_records.map(budget_to),
            overwrite: options.overwrite,
        }),
    }
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{Blob, Digest, GlibcVersion, JobExecutable, PlatformNeeds, SideFile};

    use super::*;

    fn spec() -> JobSpec {
        JobSpec {
            job: "grep".into(),
            params: "{}".into(),
            inputs: vec![JobInput { name: "left".into(), pattern: "/in/*".parse().unwrap() }],
            output: "/out".parse().unwrap(),
            options: JobOptions {
                reducers: Some(3),
                split_bytes: Some(4),
                threads: Some(5),
                memory_bytes: Some(6),
                fan_in: Some(9),
                max_attempts: 7,
                task_timeout: Duration::from_millis(8),
                worker_wait: Duration::from_millis(9),
                priority: -10,
                lossy: true,
                record_bytes_max: 11,
                compression: Some(Compression::Zstd),
                skip_bad_records: "0.01%".parse().ok(),
                overwrite: true,
            },
            program: JobExecutable {
                executable: Blob { digest: Digest([7; 32]), bytes: 8 },
                arguments: vec!["mr".into()],
                needs: PlatformNeeds {
                    arch: "x86_64".into(),
                    interpreter: "/lib/ld".into(),
                    glibc: GlibcVersion::parse("2.34"),
                },
            },
            files: vec![SideFile { name: "words".into(), blob: Blob::default() }],
            writable: vec!["/notes".into()],
        }
    }

    #[test]
    fn specs_survive_the_round_trip() {
        assert_eq!(spec_from(Some(spec_to(&spec()))), Ok(spec()));
    }

    #[test]
    fn missing_fields_get_their_defaults() {
        let message = v1::JobSpec { options: None, ..spec_to(&spec()) };
        assert_eq!(spec_from(Some(message)).unwrap().options, JobOptions::default());
    }

    #[test]
    fn invalid_specs_are_refused() {
        let spoil: [fn(&mut v1::JobSpec); 16] = [
            |spec| spec.program = None,
            |spec| spec.program.as_mut().unwrap().executable = None,
            |spec| spec.files[0].name = "../words".into(),
            |spec| spec.files.push(spec.files[0].clone()),
            |spec| spec.inputs.clear(),
            |spec| spec.output = "relative".into(),
            |spec| spec.output = "file://elsewhere/out".into(),
            |spec| spec.output = String::new(),
            |spec| spec.inputs[0].pattern = "s3:///no/bucket".into(),
            |spec| spec.writable[0] = "relative".into(),
            |spec| spec.inputs[0].pattern.push('\0'),
            |spec| spec.params = "x".repeat(PARAMS_BYTES_MAX + 1),
            |spec| spec.inputs = vec![spec.inputs[0].clone(); INPUTS_MAX + 1],
            |spec| spec.options.as_mut().unwrap().reducers = Some(0),
            |spec| spec.options.as_mut().unwrap().split_bytes = Some(0),
            |spec| spec.options.as_mut().unwrap().fan_in = Some(1),
        ];
        for spoil in spoil {
            let mut message = spec_to(&spec());
            spoil(&mut message);
            assert!(spec_from(Some(message)).is_err());
        }
    }
}
