//! Copies lines. At a line that begins with `cling`, a process of the job keeps the first part
//! open, and writes to it once it is visible. Other files wait at a gate.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use windrow::input::{Located, LocatedRecord};
use windrow::prelude::*;

use super::{mark, wait_for_any};

/// Gets an output and a folder of marks; marks `holds` once it has the part open.
const SCRIPT: &str = r#"
until part=$(ls "$1"/_temporary/attempts-*/part-00000.* 2>/dev/null); do sleep 0.01; done
exec 3<>"$part"
: > "$2/holds"
until [ -e "$1/part-00000" ]; do :; done
while printf harm >&3; do sleep 0.01; done
"#;

/// The task of another file marks its name, without the extension, in `gates`, and waits for
/// `map-go` or `map-go-<pid>`; the task with the line marks `clings-<pid>`.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct ClingParams {
    #[arg(long)]
    gates: PathBuf,
}

struct Cling(PathBuf);

pub fn job() -> Job {
    Job::with_params("clinging", |params: &ClingParams| {
        Ok(Job::new("clinging", Cling(params.gates.clone())).map_only())
    })
}

impl Mapper for Cling {
    type Input = Located<Line>;
    type Key = str;
    type Value = ();

    fn map(&self, line: LocatedRecord<'_, &str>, out: &mut impl Emit<str, ()>) -> Result<()> {
        let process = std::process::id();
        if let Some(output) = line.record.strip_prefix("cling ") {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT, "sh"]).arg(Path::new(output)).arg(&self.0);
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
            mark(&self.0, &format!("clings-{process}"));
        } else if line.offset == 0 {
            let name = Path::new(line.file).file_stem().unwrap_or_default().to_string_lossy();
            mark(&self.0, &name);
            wait_for_any(&["map-go".into(), format!("map-go-{process}")].map(|go| self.0.join(go)));
        }
        out.emit(line.record, ())
    }
}
