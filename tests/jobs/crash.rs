//! After the crash test of the MIT distributed-systems course: map and reduce calls end the
//! process, or sleep for up to ten seconds, at random. Its output is the same as without.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow::input::{Located, LocatedRecord};
use windrow::prelude::*;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct CrashParams {
    /// Of 1,000 calls, how many end the process.
    #[arg(long, default_value_t = 0)]
    exits: u64,
    /// Of 1,000 calls, how many sleep.
    #[arg(long, default_value_t = 0)]
    sleeps: u64,
    /// The longest sleep.
    #[arg(long, default_value_t = 10_000)]
    sleep_ms_max: u64,
}

struct Crash(CrashParams);

pub fn job() -> Job {
    Job::with_params("crash", |params: &CrashParams| {
        Ok(Job::new("crash", Crash(params.clone())).reduce(Crash(params.clone())))
    })
}

impl Crash {
    fn maybe(&self) {
        let dice = RandomState::new().hash_one(0);
        let of_thousand = dice % 1000;
        if of_thousand < self.0.exits {
            #[allow(clippy::disallowed_methods)]
            // to die without any chance to clean up is the point
            std::process::exit(1);
        } else if of_thousand < self.0.exits + self.0.sleeps {
            #[allow(clippy::disallowed_methods)]
            // a mapper that is slow for no reason is the point
            std::thread::sleep(Duration::from_millis((dice >> 32) % (self.0.sleep_ms_max + 1)));
        }
    }
}

impl Mapper for Crash {
    type Input = Located<Line>;
    type Key = str;
    type Value = str;

    fn map(&self, line: LocatedRecord<'_, &str>, out: &mut impl Emit<str, str>) -> Result<()> {
        if line.offset == 0 {
            self.maybe();
            let name = Path::new(line.file).file_name().unwrap_or_default().to_string_lossy();
            out.emit("a", &name)?;
            out.emit("b", &name.len().to_string())?;
            out.emit("c", &line.record.len().to_string())?;
            out.emit("d", "xyzzy")?;
        }
        Ok(())
    }
}

impl Reducer<str, str> for Crash {
    type OutputKey = str;
    type OutputValue = str;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, str>,
        out: &mut impl Emit<str, str>,
    ) -> Result<()> {
        self.maybe();
        let mut all = Vec::new();
        while let Some(value) = values.next()? {
            all.push(value.to_string());
        }
        out.emit(key, &all.join(" "))
    }
}
