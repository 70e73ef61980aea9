//! What planning has to know of a job, without the code that knows it.
//!
//! Only who has the code can build a [`Program`]: the submitter and the workers. The coordinator
//! plans by this description, and runs nothing of the job.

use serde::{Deserialize, Serialize};

use super::{Partitioning, Program};

/// A job's outline: data only, as its submitter has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobShape {
    /// Names of the inputs of a job that has several; none where there is only one.
    pub input_names: Vec<String>,
    /// Whether map output is the job's output, without shuffle and reduce.
    pub map_only: bool,
    /// How pairs are spread over partitions.
    pub partitioning: Partitioning,
    /// The numbers of the inputs whose files are not cut, ascending.
    pub uncut_inputs: Vec<u32>,
    /// What the names of parts end with.
    pub extension: String,
}

impl JobShape {
    /// That of `program`.
    pub fn of(program: &dyn Program) -> Self {
        let input_names: Vec<_> = program.input_names().into_iter().map(str::to_string).collect();
        let inputs = 0..input_names.len().max(1) as u32;
        let is_uncut = |input: &u32| !program.input_format(*input).framing.cuts_files();
        Self {
            input_names,
            uncut_inputs: inputs.filter(is_uncut).collect(),
            extension: program.extension().to_string(),
            map_only: program.is_map_only(),
            partitioning: program.partitioning(),
        }
    }

    /// Whether partitions are ranges of keys, which takes a sample of the map output.
    pub fn is_ordered(&self) -> bool {
        !self.map_only && matches!(self.partitioning, Partitioning::Ranges { .. })
    }

    /// The names of the inputs.
    pub fn inputs(&self) -> Vec<&str> {
        self.input_names.iter().map(String::as_str).collect()
    }
}
