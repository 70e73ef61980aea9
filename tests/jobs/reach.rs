//! Reaches for what its input names: each line says what to do, and with what.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use windrow::prelude::*;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct ReachParams {}

struct Reach;

pub fn job() -> Job {
    Job::with_params("reach", |_: &ReachParams| Ok(Job::new("reach", Reach).reduce(Count)))
}

/// What the line asks for.
fn act(line: &str) -> Result<()> {
    let (act, what) = line.split_once(' ').unwrap_or((line, ""));
    match act {
        "read" => drop(fs::read(what)?),
        "list" => drop(fs::read_dir(what)?),
        "write" => fs::write(what, "harm")?,
        "remove" => fs::remove_dir_all(what)?,
        "signal" => {
            let process = Pid::from_raw(what.parse()?);
            kill_process(process.ok_or_else(|| Error::new("no process"))?, Signal::TERM)?;
        }
        "temporary" => {
            let file = std::env::temp_dir().join("file");
            fs::write(&file, "")?;
            fs::remove_file(Path::new(&file))?;
        }
        _ => return Err(Error::new("it cannot do that")),
    }
    Ok(())
}

impl Mapper for Reach {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        act(line).map_err(|error| Error::new(format!("{line}: {}", error.message())))?;
        out.emit("done", ())
    }
}
