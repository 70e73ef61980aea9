//! After the crash test of the MIT distributed-systems course: map and reduce calls exit or sleep
//! for up to ten seconds, at random. The output does not change.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow::input::{Located, LocatedRecord};
use windrow::prelude::*;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct CrashParams {
    /// How many of 1,000 calls exit.
    #[arg(long, default_value_t = 0)]
    exits: u64,
    /// How many of 1,000 calls sleep.
    #[arg(long, default_value_t = 0)]
    sleeps: u64,
    /// The longest sleep, in milliseconds.
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
            // Dying without any clean-up is the point.
            std::process::exit(1);
        } else if of_thousand < self.0.exits + self.0.sleeps {
            #[allow(clippy::disallowed_methods)]
            // A mapper that is slow for no reason is the point.
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
