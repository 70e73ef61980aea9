//! `_SUCCESS`: shows that the output is complete, and what it is made of. JSON, for people and
//! programs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use windrow_jobs::{PartKind, Version};

use super::StagedPart;
use crate::plan::Plan;

/// Version of the manifest's format.
pub(super) const FORMAT: u32 = 1;

/// The manifest's content, except for the parts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ManifestJob {
    /// The cluster that ran it.
    pub(crate) cluster: String,
    /// The job's number in the cluster.
    pub(crate) id: u64,
    /// The job's identity: no other job of any cluster has it.
    pub(crate) identity: String,
    /// The job's registered name.
    pub(crate) name: String,
    /// The job's parameters, as given.
    pub(crate) params: Option<Box<RawValue>>,
    /// Version of the job's program.
    pub(crate) program_version: String,
    /// Digest of the job's executable.
    pub(crate) program_digest: String,
    /// Map tasks and the attempts that they took.
    pub(crate) map: StageCounts,
    /// Reduce tasks and the attempts that they took.
    pub(crate) reduce: StageCounts,
    /// Largest input of a map task.
    pub(crate) split_bytes: u64,
    /// The fan-in of merges.
    pub(crate) fan_in: u32,
    /// Time of submission, in milliseconds since 1970.
    pub(crate) submitted_unix_ms: u64,
    /// The first map task that wrote other data when it was run again; `None` if there was none.
    pub(crate) nondeterministic_map: Option<u32>,
    /// Time from submission to publication.
    pub(crate) elapsed_ms: u64,
    /// The user's counters.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Every input file in the version that was read. There may be millions, so they are shared
    /// with the plan.
    #[serde(serialize_with = "write_inputs")]
    pub(crate) inputs: Arc<Plan>,
}

/// Counts of one stage.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageCounts {
    /// Number of tasks.
    pub(crate) tasks: u32,
    /// Attempts that they took.
    pub(crate) attempts: u32,
    /// Backup tasks among them.
    pub(crate) backups: u32,
    /// Backup tasks that have won.
    pub(crate) backups_won: u32,
    /// Records read.
    pub(crate) input_records: u64,
    /// Bytes read.
    pub(crate) input_bytes: u64,
}

/// One input file.
#[derive(Serialize)]
struct ManifestInput<'a> {
    /// The name of the job's input; omitted where there is only one.
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    /// An absolute path, or a URL.
    path: &'a str,
    /// Its size.
    bytes: u64,
    /// For a file: its modification time in nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_unix_ns: Option<u64>,
    /// For an object: its ETag.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
}

/// A part of the output, or a file of bad records.
#[derive(Serialize)]
struct ManifestPart {
    name: String,
    bytes: u64,
    records: u64,
    /// CRC-64/NVME of its bytes, 16 hexadecimal digits.
    crc64: String,
}

#[derive(Serialize)]
struct Manifest<'a> {
    format: u32,
    job: &'a ManifestJob,
    output_bytes: u64,
    output_records: u64,
    #[serde(serialize_with = "write_parts")]
    parts: (&'a [StagedPart], &'a Plan),
    skipped_records: u64,
    /// The files of bad records.
    #[serde(serialize_with = "write_parts")]
    bad_records: (&'a [StagedPart], &'a Plan),
}

/// Streams the manifest's text: with many parts and inputs it is too large to be held in memory.
pub(super) fn write(
    job: &ManifestJob,
    parts: &[StagedPart],
    bad_records: &[StagedPart],
    mut out: impl Write,
) -> io::Result<()> {
    debug_assert!(
        parts.iter().all(|part| part.kind == PartKind::Output)
            && bad_records.iter().all(|file| file.kind == PartKind::BadRecords),
        "bad records are not counted as output"
    );
    debug_assert!(
        parts.windows(2).all(|two| two[0].attempt.task < two[1].attempt.task),
        "readers take parts in their order, and each task has one"
    );
    debug_assert!(!job.identity.is_empty(), "a repeated publication is recognised by it");
    debug_assert!(
        bad_records.windows(2).all(|two| two[0].attempt.task < two[1].attempt.task),
        "a task's bad records are in one file"
    );
    let manifest = Manifest {
        format: FORMAT,
        job,
        output_bytes: parts.iter().map(|part| part.bytes).sum(),
        output_records: parts.iter().map(|part| part.records).sum(),
        parts: (parts, &job.inputs),
        skipped_records: bad_records.iter().map(|file| file.records).sum(),
        bad_records: (bad_records, &job.inputs),
    };
    serde_json::to_writer_pretty(&mut out, &manifest)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn write_inputs<S: Serializer>(plan: &Arc<Plan>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(plan.files.iter().map(|file| {
        let (modified_unix_ns, etag) = match &file.version {
            Version::Local { modified_unix_ns, .. } => (Some(*modified_unix_ns), None),
            Version::Object { etag, .. } => (None, Some(&**etag)),
        };
        ManifestInput {
            name: plan.inputs.get(file.input as usize).map_or("", |input| &*input.name),
            path: file.location.as_str(),
            bytes: file.bytes(),
            modified_unix_ns,
            etag,
        }
    }))
}

fn write_parts<S: Serializer>(
    (parts, plan): &(&[StagedPart], &Plan),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(parts.iter().map(|part| ManifestPart {
        name: part.listed_name(plan),
        bytes: part.bytes,
        records: part.records,
        crc64: format!("{:016x}", part.crc64),
    }))
}

/// Whether this is the manifest of that job, by its identity. Nothing else of it is kept.
pub(super) fn is_of(text: impl Read, job: &ManifestJob) -> bool {
    read::<PrivateFolderName>(text).is_ok_and(|there| there.job.identity == job.identity)
}

/// Whether this is the manifest of any job.
pub(super) fn is_one(text: impl Read) -> bool {
    read::<PrivateFolderName>(text).is_ok()
}

/// Reads a manifest, or a file in its place: anyone with write access to an output can put a file
/// of any size there. So only the requested fields are kept, and the length of strings is bounded.
pub(super) fn read<T: DeserializeOwned>(text: impl Read) -> serde_json::Result<T> {
    serde_json::from_reader(Bounded { text, in_string: false, is_escaped: false, length: 0 })
}

/// Longest string in a manifest. Paths have some kilobytes, and parameters little more.
const STRING_BYTES_MAX: u32 = 16 << 20;

/// Reads JSON, and fails at a string that is longer.
struct Bounded<R> {
    text: R,
    in_string: bool,
    is_escaped: bool,
    length: u32,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        debug_assert!(self.length <= STRING_BYTES_MAX, "its reader keeps strings in memory");
        debug_assert!(self.in_string || !self.is_escaped, "the end of a string would be missed");
        for &byte in &buffer[..read] {
            if !self.in_string {
                self.in_string = byte == b'"';
                self.length = 0;
            } else if self.length == STRING_BYTES_MAX {
                let text = "a string in it is longer than any in a manifest";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            } else {
                self.length += 1;
                self.in_string = byte != b'"' || self.is_escaped;
                self.is_escaped = byte == b'\\' && !self.is_escaped;
            }
        }
        Ok(read)
    }
}

/// The manifest of another job.
#[cfg(test)]
pub(super) const OF_ANOTHER_JOB: &str =
    r#"{"format": 1, "job": {"identity": "another"}, "parts": []}"#;

#[derive(Deserialize)]
struct PrivateFolderName {
    job: NamedJob,
}

#[derive(Deserialize)]
struct NamedJob {
    identity: String,
}

#[cfg(test)]
mod tests {
    use std::io::repeat;

    use super::*;

    #[test]
    fn an_endless_string_is_refused() {
        let before = r#"{"a\"": "\\\"", "job": {"identity": ""#;
        let after = r#"x"}}"#;
        assert!(is_one(before.as_bytes().chain(after.as_bytes())));
        let long =
            |bytes| before.as_bytes().chain(repeat(b'x').take(bytes)).chain(after.as_bytes());
        assert!(is_one(long(1 << 20)));
        assert!(!is_one(long(u64::MAX)), "an endless string");
    }
}
