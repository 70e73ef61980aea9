//! The description of one job, as a submitter sends it: data only.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bad_records::BadRecordBudget;
use crate::blob::{JobExecutable, SideFile};
use crate::error::{Error, Result};
use crate::location::Location;

/// A job to run: its code, inputs and output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The registered name, such as `word-count`.
    pub job: String,
    /// The job's own parameters, as JSON.
    pub params: String,
    /// The inputs.
    pub inputs: Vec<JobInput>,
    /// The output folder; absolute.
    pub output: Location,
    /// How to run the job.
    pub options: JobOptions,
    /// The executable with the job's code.
    pub program: JobExecutable,
    /// Files that its code reads besides the input.
    pub files: Vec<SideFile>,
    /// Absolute paths of files and folders that its code may write besides its output. Enforced
    /// only in a cluster.
    pub writable: Vec<PathBuf>,
}

/// One pattern of input files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInput {
    /// The job's input that it belongs to; empty for a job with a single input.
    pub name: String,
    /// A file, a folder or a glob pattern; absolute once submitted.
    pub pattern: Location,
}

impl JobInput {
    /// For each of `given`, the number of the program's input that it belongs to, from 0. `names`
    /// are the names of the program's inputs; empty for a program with a single input.
    ///
    /// # Errors
    /// When a pattern belongs to no input, or an input has no pattern.
    pub fn numbers(given: &[Self], names: &[&str]) -> Result<Vec<u32>> {
        let number = |input: &Self| match names.iter().position(|name| *name == input.name) {
            Some(number) => Ok(number as u32),
            None if names.is_empty() && input.name.is_empty() => Ok(0),
            None => Err(input.is_of_none(names)),
        };
        let numbers = given.iter().map(number).collect::<Result<Vec<_>>>()?;
        let missing = (0..).zip(names).find(|(number, _)| !numbers.contains(number));
        match missing {
            Some((_, name)) => {
                Err(Error::new(format!("the input '{name}' is missing; {}", what_is_wanted(names))))
            }
            None => Ok(numbers),
        }
    }

    fn is_of_none(&self, names: &[&str]) -> Error {
        let Self { name, pattern } = self;
        Error::new(match (names.is_empty(), name.is_empty()) {
            (true, _) => format!("the job has one input without a name, so none called '{name}'"),
            (false, true) => {
                format!("'{pattern}' does not say which input it is; {}", what_is_wanted(names))
            }
            (false, false) => {
                format!("the job has no input '{name}'; {}", what_is_wanted(names))
            }
        })
    }
}

fn what_is_wanted(names: &[&str]) -> String {
    let flags: Vec<_> = names.iter().map(|name| format!("--input {name}=PATH")).collect();
    format!("this job takes {}", flags.join(" and "))
}

/// How to run a job. The engine chooses where a field is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobOptions {
    /// Number of partitions, and thus of output parts.
    pub reducers: Option<u32>,
    /// Largest size of a map task's input.
    pub split_bytes: Option<u64>,
    /// Most threads that one task may use on a worker.
    pub threads: Option<u32>,
    /// Most memory that the job may use on one worker.
    pub memory_bytes: Option<u64>,
    /// How many attempts of a task may fail; then the job fails.
    pub max_attempts: u32,
    /// How long an attempt may go without progress.
    pub task_timeout: Duration,
    /// How long the job waits when there is no worker.
    pub worker_wait: Duration,
    /// Jobs with a higher priority go first; jobs of equal priority share the slots fairly.
    pub priority: i32,
    /// Whether invalid UTF-8 is replaced with U+FFFD instead of failing the job.
    pub lossy: bool,
    /// Size of the largest record; a larger one is an error.
    pub record_bytes_max: u64,
    /// How many sorted runs one merge reads at once; more if they are small.
    pub fan_in: Option<u32>,
    /// Compression of shuffled data; by default only data that goes to other machines is
    /// compressed.
    pub compression: Option<Compression>,
    /// How many bad records are skipped; with `None`, the first fails the job.
    pub skip_bad_records: Option<BadRecordBudget>,
    /// Whether an existing output is replaced, once the job has succeeded.
    pub overwrite: bool,
}

/// How shuffled data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    Lz4,
    /// Smaller and slower.
    Zstd,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            reducers: None,
            split_bytes: None,
            threads: None,
            memory_bytes: None,
            max_attempts: 4,
            task_timeout: Duration::from_secs(600),
            worker_wait: Duration::from_secs(300),
            priority: 0,
            lossy: false,
            record_bytes_max: 64 << 20,
            fan_in: None,
            compression: None,
            skip_bad_records: None,
            overwrite: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(given: &[&str], names: &[&str]) -> Result<Vec<u32>, String> {
        let given: Vec<_> = given
            .iter()
            .map(|name| JobInput { name: name.to_string(), pattern: "/x".parse().unwrap() })
            .collect();
        JobInput::numbers(&given, names).map_err(|error| error.message().to_string())
    }

    #[test]
    fn patterns_are_assigned_to_inputs_by_name() {
        assert_eq!(numbers(&["", ""], &[]), Ok(vec![0, 0]));
        assert_eq!(numbers(&["b", "a", "b"], &["a", "b"]), Ok(vec![1, 0, 1]));
    }

    #[test]
    fn unknown_unnamed_and_missing_inputs_have_different_errors() {
        let wanted = "this job takes --input a=PATH and --input b=PATH";
        let both = &["a", "b"];
        let error = numbers(&["a", "c"], both).unwrap_err();
        assert_eq!(error, format!("the job has no input 'c'; {wanted}"));
        let error = numbers(&["a", ""], both).unwrap_err();
        assert_eq!(error, format!("'/x' does not say which input it is; {wanted}"));
        let error = numbers(&["b"], both).unwrap_err();
        assert_eq!(error, format!("the input 'a' is missing; {wanted}"));
        assert!(numbers(&["a"], &[]).unwrap_err().contains("none called 'a'"));
    }
}
