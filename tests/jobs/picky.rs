//! Counts lines, but exits on one worker, given by its folder, as on a machine without a library;
//! elsewhere it waits for a file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windrow::prelude::*;

use super::wait_for_any;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct PickyParams {
    /// The folder of the worker on which it exits.
    #[arg(long)]
    dies_below: PathBuf,
    /// The file that it waits for elsewhere.
    #[arg(long)]
    waits_for: PathBuf,
}

struct Picky(PickyParams);

pub fn job() -> Job {
    Job::with_params("picky", |params: &PickyParams| {
        Ok(Job::new("picky", Picky(params.clone())).reduce(Sum))
    })
}

impl Mapper for Picky {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        if std::env::temp_dir().starts_with(&self.0.dies_below) {
            #[allow(clippy::disallowed_methods)]
            // Dying without any clean-up is the point.
            std::process::exit(127);
        }
        wait_for_any(std::slice::from_ref(&self.0.waits_for));
        out.emit(line, 1)
    }
}
