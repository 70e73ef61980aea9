//! The description of a job that the coordinator plans by, without the job's code.
//!
//! Only the submitter and the workers have the code to build a [`Program`]. The coordinator runs
//! none of it.

use serde::{Deserialize, Serialize};

use super::Program;
use crate::partitioning::Partitioning;

/// The properties of a job that its submitter reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobShape {
    /// Names of the inputs of a job with several; empty for a job with one.
    pub input_names: Vec<String>,
    /// Whether the map output is the job's output, without shuffle and reduce.
    pub map_only: bool,
    /// How pairs are spread over partitions.
    pub partitioning: Partitioning,
    /// The numbers of the inputs whose files are not cut, ascending.
    pub uncut_inputs: Vec<u32>,
    /// The extension of part names.
    pub extension: String,
}

impl JobShape {
    /// The shape of `program`.
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

    /// Whether partitions are ranges of keys, which need a sample of the map output.
    pub fn is_ordered(&self) -> bool {
        !self.map_only && matches!(self.partitioning, Partitioning::Ranges { .. })
    }

    /// The names of the inputs.
    pub fn inputs(&self) -> Vec<&str> {
        self.input_names.iter().map(String::as_str).collect()
    }
}
