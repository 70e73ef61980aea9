//! Ids of jobs, tasks, attempts and workers. They are integers, so that an id is never a path.
//!
//! A job has two ids. Its [identity](JobIdentity) is the same everywhere and for ever: it is used
//! to wait for a job, to cancel it and to authenticate its data. Its [number](JobId) is short, for
//! people and within one journal; another journal gives it to another job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of an accepted job, unique within one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// The identity of a job among all jobs of all clusters: 128 random bits, drawn by the coordinator
/// that accepts it. A submitter cannot choose them, so no job can pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobIdentity(pub u128);

/// How a command names a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobName {
    /// By number, as people do: the job with this number in the cluster that answers.
    Number(JobId),
    /// By identity.
    Identity(JobIdentity),
}

/// The text is neither a number nor an identity of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAJobName;

/// A worker, for one session: a worker that comes back gets a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// A stage of a job. A stage reads what stages with smaller numbers write. The number is valid by
/// construction: a stage that no job has cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct StageId(u16);

/// The number of a stage that no job has; 0 where a message names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchStage(u32);

/// One task of a job: a split to map, or a partition to reduce. Map tasks are numbered in input
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job it belongs to.
    pub job: JobId,
    /// Its stage.
    pub stage: StageId,
    /// The number of the split or of the partition, from 0.
    pub index: u32,
}

/// One execution of a task. Attempts of a task are numbered from 1; a number is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt.
    pub number: u32,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}

impl JobIdentity {
    /// Its 16 bytes, big-endian, as on the wire.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Decodes [`to_bytes`](Self::to_bytes); `None` unless there are 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u128::from_be_bytes).map(Self)
    }
}

/// 32 hexadecimal digits, also used in names of folders, hosts and certificates.
impl fmt::Display for JobIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for JobIdentity {
    type Err = NotAJobName;

    fn from_str(text: &str) -> Result<Self, NotAJobName> {
        // `from_str_radix` would also accept a sign and fewer digits.
        let is_whole = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = is_whole.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        bits.map(Self).ok_or(NotAJobName)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(job) => write!(f, "job {}", job.0),
            Self::Identity(identity) => write!(f, "job {identity}"),
        }
    }
}

impl FromStr for JobName {
    type Err = NotAJobName;

    fn from_str(text: &str) -> Result<Self, NotAJobName> {
        if let Ok(identity) = text.parse() {
            return Ok(Self::Identity(identity));
        }
        // `parse` would also accept a sign.
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        number.map(|number| Self::Number(JobId(number))).ok_or(NotAJobName)
    }
}

impl fmt::Display for NotAJobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be the number of a job, such as 3, or its identity, which has 32 hexadecimal digits")
    }
}

impl std::error::Error for NotAJobName {}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{}", self.0)
    }
}

impl StageId {
    /// Splits to sorted segments (or to parts, in a map-only job).
    pub const MAP: Self = Self(0);
    /// Partitions of all segments to parts.
    pub const REDUCE: Self = Self(1);
    /// All stages that a job may have, in order.
    pub const ALL: [Self; 2] = [Self::MAP, Self::REDUCE];

    /// Its index in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Its number in messages and files, from 1. A message without a stage has the number 0, which
    /// is no stage's.
    pub fn to_number(self) -> u32 {
        u32::from(self.0) + 1
    }

    /// The stage with this number.
    pub fn from_number(number: u32) -> Result<Self, NoSuchStage> {
        let known = Self::ALL.into_iter().find(|stage| stage.to_number() == number);
        known.ok_or(NoSuchStage(number))
    }

    /// The stage with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        if self == Self::MAP { "map" } else { "reduce" }
    }
}

impl From<StageId> for u16 {
    fn from(stage: StageId) -> Self {
        stage.0
    }
}

impl TryFrom<u16> for StageId {
    type Error = NoSuchStage;

    fn try_from(index: u16) -> Result<Self, NoSuchStage> {
        Self::from_number(u32::from(index) + 1)
    }
}

impl fmt::Display for NoSuchStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no stage is named"),
            number => write!(f, "no job has a stage {number}"),
        }
    }
}

impl std::error::Error for NoSuchStage {}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{:05}", self.job, self.stage, self.index)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identities_survive_text_and_wire(bits in any::<u128>()) {
            let identity = JobIdentity(bits);
            let text = identity.to_string();
            prop_assert_eq!(text.len(), 32);
            prop_assert_eq!(text.parse(), Ok(JobName::Identity(identity)));
            prop_assert_eq!(JobIdentity::from_bytes(&identity.to_bytes()), Some(identity));
        }

        #[test]
        fn a_number_is_read_as_a_number(number in any::<u64>()) {
            prop_assert_eq!(number.to_string().parse(), Ok(JobName::Number(JobId(number))));
        }
    }

    #[test]
    fn stages_that_no_job_has_are_refused() {
        for stage in StageId::ALL {
            assert_eq!(StageId::from_number(stage.to_number()), Ok(stage));
            assert_eq!(StageId::named(&stage.to_string()), Some(stage));
            assert_eq!(StageId::ALL[stage.index()], stage);
        }
        // A number of 32 bits is not truncated to 16.
        for number in [0, 3, 1 << 16, (1 << 16) + 1, u32::MAX] {
            assert_eq!(StageId::from_number(number), Err(NoSuchStage(number)));
        }
        assert!(serde_json::from_str::<StageId>("2").is_err());
        assert_eq!(StageId::named("shuffle"), None);
    }

    #[test]
    fn other_texts_name_no_job() {
        let almost = "0123456789abcdef0123456789abcde";
        let signed = format!("+{almost}");
        for text in ["", "+1", "-1", "job-1", "1 ", "18446744073709551616", almost, &signed, "../1"]
        {
            assert_eq!(text.parse::<JobName>(), Err(NotAJobName), "{text}");
        }
        for bytes in [&[][..], &[0; 15], &[0; 17]] {
            assert_eq!(JobIdentity::from_bytes(bytes), None);
        }
    }
}
