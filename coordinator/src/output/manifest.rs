//! `_SUCCESS`: says that the output is whole, and what it is made of. JSON, for people and programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The manifest's format, for those who read it later.
const FORMAT: u32 = 1;

/// What the manifest says of the job; all but its parts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ManifestJob {
    /// The cluster that ran it.
    pub(crate) cluster: String,
    /// Its id there.
    pub(crate) id: u64,
    /// Its registered name.
    pub(crate) name: String,
    /// Its parameters, as they were given.
    pub(crate) params: Option<Box<RawValue>>,
    /// Version of the program that ran it.
    pub(crate) program_version: String,
    /// Digest of its executable.
    pub(crate) program_digest: String,
    /// Map and reduce tasks and the attempts that they took.
    pub(crate) map: StageCounts,
    /// Likewise.
    pub(crate) reduce: StageCounts,
    /// Largest input of a map task.
    pub(crate) split_bytes: u64,
    /// How many sorted runs one merge read at once.
    pub(crate) fan_in: u32,
    /// When it was submitted, in milliseconds since 1970.
    pub(crate) submitted_unix_ms: u64,
    /// The first map task that wrote something else when it was run again; none where all that were did the same.
    pub(crate) nondeterministic_map: Option<u32>,
    /// From submission to publication.
    pub(crate) elapsed_ms: u64,
    /// The user's counters.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Every input file as it was read.
    pub(crate) inputs: Vec<ManifestInput>,
}

/// Counts of one stage.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageCounts {
    /// Number of tasks.
    pub(crate) tasks: u32,
    /// Attempts that they took.
    pub(crate) attempts: u32,
    /// Attempts among these that were started because another one was slow.
    pub(crate) backups: u32,
    /// Those of them that were faster.
    pub(crate) backups_won: u32,
    /// Records read.
    pub(crate) input_records: u64,
    /// Bytes read.
    pub(crate) input_bytes: u64,
}

/// One input file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ManifestInput {
    /// Which of the job's inputs it is of; left out where there is only one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Absolute.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its modification time, in nanoseconds since 1970.
    pub(crate) modified_unix_ns: u64,
}

/// One part of the output.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ManifestPart {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// CRC-64/NVME of its bytes, 16 hexadecimal digits.
    pub(super) crc64: String,
}

#[derive(Serialize)]
struct Manifest<'a> {
    format: u32,
    job: &'a ManifestJob,
    output_bytes: u64,
    output_records: u64,
    parts: &'a [ManifestPart],
    skipped_records: u64,
    /// Where they are.
    bad_records: &'a [ManifestPart],
}

/// The manifest's text.
pub(super) fn render(
    job: &ManifestJob,
    parts: &[ManifestPart],
    bad_records: &[ManifestPart],
) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&Manifest {
        format: FORMAT,
        job,
        output_bytes: parts.iter().map(|part| part.bytes).sum(),
        output_records: parts.iter().map(|part| part.records).sum(),
        parts,
        skipped_records: bad_records.iter().map(|file| file.records).sum(),
        bad_records,
    })?;
    text.push(b'\n');
    Ok(text)
}

/// Whether this is the manifest of that job: no other has the same cluster and id.
pub(super) fn is_of(text: &[u8], job: &ManifestJob) -> bool {
    serde_json::from_slice::<Named>(text)
        .is_ok_and(|there| there.job.cluster == job.cluster && there.job.id == job.id)
}

#[derive(Deserialize)]
struct Named {
    job: NamedJob,
}

#[derive(Deserialize)]
struct NamedJob {
    cluster: String,
    id: u64,
}
