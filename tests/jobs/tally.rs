//! Marks one file for each map task that runs.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use windrow::input::{Located, LocatedRecord};
use windrow::prelude::*;

use super::mark;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct TallyParams {
    /// Folder for the marks.
    #[arg(long)]
    runs: PathBuf,
}

struct Tally(PathBuf);

pub fn job() -> Job {
    Job::with_params("tally", |params: &TallyParams| {
        Ok(Job::new("tally", Tally(params.runs.clone())).reduce(Sum))
    })
}

impl Mapper for Tally {
    type Input = Located<Line>;
    type Key = str;
    type Value = u64;

    fn map(&self, line: LocatedRecord<'_, &str>, out: &mut impl Emit<str, u64>) -> Result<()> {
        if line.offset == 0 {
            let name = Path::new(line.file).file_name().unwrap_or_default().to_string_lossy();
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            mark(&self.0, &format!("{name}-{}-{now}", std::process::id()));
            out.emit("files", 1)?;
        }
        Ok(())
    }
}
