//! A word count that fails, panics or hangs at a word of the input.

use std::fs::File;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use windrow::prelude::*;

/// What happens at the word `TROUBLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum How {
    Error,
    /// With a message of six megabytes, as if it contained a whole record.
    LongError,
    Panic,
    Hang,
    Nothing,
}

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct TroubleParams {
    #[arg(long, value_enum, default_value = "nothing")]
    in_map: How,
    #[arg(long, value_enum, default_value = "nothing")]
    in_reduce: How,
    /// Only for the first attempt, which creates this file.
    #[arg(long)]
    once: Option<PathBuf>,
}

struct TroubledWords(TroubleParams);

struct TroubledSum(TroubleParams);

pub fn job() -> Job {
    Job::with_params("trouble", |params: &TroubleParams| {
        Ok(Job::new("trouble", TroubledWords(params.clone())).reduce(TroubledSum(params.clone())))
    })
}

impl TroubleParams {
    fn happen(&self, how: How) -> Result<()> {
        let again = |file| File::create_new(file).is_err();
        let is_spared = how == How::Nothing || self.once.as_ref().is_some_and(again);
        if is_spared { Ok(()) } else { how.happen() }
    }
}

impl How {
    fn happen(self) -> Result<()> {
        match self {
            Self::Error => Err(Error::new("trouble was asked for")),
            Self::LongError => Err(Error::new("long ".repeat(1_200_000))),
            Self::Panic => panic!("trouble was asked for"),
            Self::Hang => loop {
                std::thread::park();
            },
            Self::Nothing => Ok(()),
        }
    }
}

impl Mapper for TroubledWords {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        for word in line.split_ascii_whitespace() {
            if word == "TROUBLE" {
                self.0.happen(self.0.in_map)?;
            }
            out.emit(word, 1)?;
            out.count("words", 1);
        }
        Ok(())
    }
}

impl Reducer<str, u64> for TroubledSum {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        if key == "TROUBLE" {
            self.0.happen(self.0.in_reduce)?;
        }
        Sum.reduce(key, values, out)
    }
}
