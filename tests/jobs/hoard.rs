//! A mapper that holds memory, and reports at its last line whether anything has been spilled.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use windrow::prelude::*;

/// The line at which it reports.
pub const LOOK: &str = "look";
/// The counter of spill files.
pub const SPILLED: &str = "files of pairs";

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct HoardParams {
    /// MiB to allocate at the first line.
    #[arg(long)]
    mib: usize,
    /// The folder for spill files.
    #[arg(long)]
    folder: PathBuf,
}

struct Hoard {
    params: HoardParams,
    kept: OnceLock<Vec<u8>>,
}

pub fn job() -> Job {
    Job::with_params("hoard", |params: &HoardParams| {
        let kept = OnceLock::new();
        Ok(Job::new("hoard", Hoard { params: params.clone(), kept }).reduce(Count))
    })
}

impl Mapper for Hoard {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        self.kept.get_or_init(|| vec![1; self.params.mib << 20]);
        if line == LOOK {
            out.count(SPILLED, files_of_pairs(&self.params.folder)?);
        }
        out.emit(line, ())
    }
}

/// The number of spill files in the folders of the worker's jobs.
fn files_of_pairs(folder: &Path) -> Result<u64> {
    let mut files = 0;
    for job in fs::read_dir(folder)? {
        let job = job?;
        if job.file_type()?.is_dir() {
            files += fs::read_dir(job.path())?.count() as u64;
        }
    }
    Ok(files)
}
