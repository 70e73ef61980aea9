//! A mapper that keeps memory to itself.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use windrow::prelude::*;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct HoardParams {
    /// Memory to take with the first line, in MiB.
    #[arg(long)]
    mib: usize,
}

struct Hoard {
    mib: usize,
    kept: Mutex<Vec<u8>>,
}

pub fn job() -> Job {
    Job::with_params("hoard", |params: &HoardParams| {
        let kept = Mutex::default();
        Ok(Job::new("hoard", Hoard { mib: params.mib, kept }).reduce(Count))
    })
}

impl Mapper for Hoard {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            *kept = vec![1; self.mib << 20];
        }
        drop(kept);
        out.emit(line, ())
    }
}
