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

/// The two stages of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Splits to sorted segments (or to parts, in a map-only job).
    Map,
    /// Partitions of all segments to parts.
    Reduce,
}

/// One task of a job: a split to map, or a partition to reduce. Map tasks are numbered in input
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job it belongs to.
    pub job: JobId,
    /// Its stage.
    pub stage: Stage,
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

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
        })
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
