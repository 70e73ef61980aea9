//! A word count whose tasks announce themselves and wait at gates, so that a test can act while
//! they run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windrow::input::{Located, LocatedRecord};
use windrow::prelude::*;

use super::{mark, wait_for_any};

/// A running task marks `map-<pid>-<file>` or `reduce-<pid>-<key>` in the folder `gates`. A reduce
/// waits for `reduce-go`; a map for `map-go`, `map-go-<pid>` or `map-go-<file>`.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct GateParams {
    #[arg(long)]
    gates: PathBuf,
}

struct GatedWords(PathBuf);

struct GatedSum(PathBuf);

pub fn job() -> Job {
    Job::with_params("gated-word-count", |params: &GateParams| {
        let gates = params.gates.clone();
        Ok(Job::new("gated-word-count", GatedWords(gates.clone())).reduce(GatedSum(gates)))
    })
}

impl Mapper for GatedWords {
    type Input = Located<Line>;
    type Key = str;
    type Value = u64;

    fn map(&self, line: LocatedRecord<'_, &str>, out: &mut impl Emit<str, u64>) -> Result<()> {
        if line.offset == 0 {
            let name = Path::new(line.file).file_name().unwrap_or_default().to_string_lossy();
            let process = std::process::id().to_string();
            mark(&self.0, &format!("map-{process}-{name}"));
            let go = ["map-go".into(), format!("map-go-{process}"), format!("map-go-{name}")];
            wait_for_any(&go.map(|go| self.0.join(go)));
        }
        for word in line.record.split_ascii_whitespace() {
            out.emit(word, 1)?;
        }
        Ok(())
    }
}

impl Reducer<str, u64> for GatedSum {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        let go = self.0.join("reduce-go");
        if !go.exists() {
            mark(&self.0, &format!("reduce-{}-{}", std::process::id(), key.replace('/', "_")));
            wait_for_any(&[go]);
        }
        let mut sum = 0;
        while let Some(n) = values.next()? {
            sum += n;
        }
        out.emit(key, sum)
    }
}
