//! Names of jobs, tasks, attempts and workers. Integers only, so that no name is ever a path.
//!
//! A job has two names. Its [identity](JobIdentity) is the same everywhere and for ever: whoever
//! waits for a job, cancels it or authenticates its data names that. Its [number](JobId) is short,
//! for people and for all that lies within one journal, whose ids mean nothing in another one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a job that a coordinator has accepted: unique within one journal. Another journal
/// gives it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// A job, among all jobs of all clusters: 128 random bits, drawn by the coordinator that accepts
/// it. A submitter cannot choose them, so nobody can have a job that is taken for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobIdentity(pub u128);

/// How somebody names a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobName {
    /// As people do: whichever job has this number in the cluster that answers.
    Number(JobId),
    /// This job and no other.
    Identity(JobIdentity),
}

/// Not the name of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAJobName;

/// A worker for as long as its session lasts; a worker that comes back gets a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// A stage of a job, by its number: a stage reads what stages of smaller numbers write. What is
/// more than any job has is no stage, so that whoever has one need not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct StageId(u16);

/// The number of a stage that no job has.
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
    /// Number of the split or of the partition, from 0.
    pub index: u32,
}

/// One execution of a task. Attempts of a task are numbered from 1 and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task that is executed.
    pub task: TaskId,
    /// Which execution of it.
    pub number: u32,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}

impl JobIdentity {
    /// As it goes over the wire, in the order of its digits.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From the wire; `None` unless there are 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u128::from_be_bytes).map(Self)
    }
}

/// 32 hexadecimal digits, which name folders, hosts and certificates, too.
impl fmt::Display for JobIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for JobIdentity {
    type Err = NotAJobName;

    fn from_str(text: &str) -> Result<Self, NotAJobName> {
        // `from_str_radix` would also take a sign, and fewer digits.
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
        // `parse` would also take a sign.
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
    /// All that a job may have, in order.
    pub const ALL: [Self; 2] = [Self::MAP, Self::REDUCE];

    /// The place of this stage in a list of all.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The stage that people call so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        if self == Self::MAP { "map" } else { "reduce" }
    }
}

impl From<StageId> for u16 {
    fn from(stage: StageId) -> Self {
        stage.0
    }
}

impl From<StageId> for u32 {
    fn from(stage: StageId) -> Self {
        Self::from(stage.0)
    }
}

impl TryFrom<u32> for StageId {
    type Error = NoSuchStage;

    fn try_from(number: u32) -> Result<Self, NoSuchStage> {
        let known = Self::ALL.into_iter().find(|stage| u32::from(*stage) == number);
        known.ok_or(NoSuchStage(number))
    }
}

impl TryFrom<u16> for StageId {
    type Error = NoSuchStage;

    fn try_from(number: u16) -> Result<Self, NoSuchStage> {
        Self::try_from(u32::from(number))
    }
}

impl fmt::Display for NoSuchStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no job has a stage {}", self.0)
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
        fn numbers_are_names_for_people(number in any::<u64>()) {
            prop_assert_eq!(number.to_string().parse(), Ok(JobName::Number(JobId(number))));
        }
    }

    #[test]
    fn only_stages_that_a_job_may_have_are_read() {
        for stage in StageId::ALL {
            assert_eq!(StageId::try_from(u32::from(stage)), Ok(stage));
            assert_eq!(StageId::named(&stage.to_string()), Some(stage));
            assert_eq!(StageId::ALL[stage.index()], stage);
        }
        // A number of 32 bits is not cut to one of 16.
        for number in [2, u32::from(u16::MAX), 1 << 16, u32::MAX] {
            assert_eq!(StageId::try_from(number), Err(NoSuchStage(number)));
        }
        assert!(serde_json::from_str::<StageId>("2").is_err());
        assert_eq!(StageId::named("shuffle"), None);
    }

    #[test]
    fn nothing_else_names_a_job() {
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
