//! The description of a job that the coordinator plans by, without the job's code.
//!
//! Only the submitter and the workers have the code to build a [`Program`]. The coordinator runs
//! none of it.

use serde::{Deserialize, Serialize};

use super::Program;
use crate::error::{Error, Result};
use crate::one_line;
use crate::partitioning::Partitioning;
use crate::user_code::panic;

/// Most bytes of an extension.
const EXTENSION_BYTES_MAX: usize = 32;

/// The rule for extensions.
pub const EXTENSIONS: &str = "the extension of an output is a dot, a letter, and letters, digits or single dots, \
                              at most 32 in all";

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
    ///
    /// # Errors
    /// When its code panics, or its output has no valid extension.
    pub fn of(program: &dyn Program) -> Result<Self> {
        let shape = panic::before_tasks(|| Ok(Self::said_by(program)))?;
        if is_extension(&shape.extension) {
            return Ok(shape);
        }
        let extension = one_line(&shape.extension);
        Err(Error::new(format!("its output has the extension '{extension}', but {EXTENSIONS}")))
    }

    fn said_by(program: &dyn Program) -> Self {
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

/// Whether the text can be the extension of an output. It becomes a part of file names, so it must
/// neither lead elsewhere nor hide a file.
pub fn is_extension(text: &str) -> bool {
    let sound = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let Some(names) = text.strip_prefix('.') else { return text.is_empty() };
    // A dot and a number end the names of staged files.
    let is_name = names.starts_with(|first: char| first.is_ascii_alphabetic());
    is_name && names.split('.').all(sound) && text.len() <= EXTENSION_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_neither_lead_elsewhere_nor_hide_files() {
        for sound in ["", ".csv", ".jsonl.gz", ".c1"] {
            assert!(is_extension(sound), "{sound}");
        }
        for wrong in ["csv", ".", "..", ".a..b", ".a.", "./a", ".a/b", ".1", ".a b", ".\u{fc}"] {
            assert!(!is_extension(wrong), "{wrong}");
        }
        assert!(!is_extension(&format!(".{}", "a".repeat(EXTENSION_BYTES_MAX))));
    }
}
