//! A word count that harms its process at a word of the input.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::ValueEnum;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use windrow::prelude::*;

use super::{mark, wait_for_any};

/// The word that triggers it.
pub const WORD: &str = "DEADLY";

/// The program of [`How::Run`], in the folder of marks: if it were in the job's folder, it would
/// end with that.
pub const RUNNER: &str = "windrow-test-runner.sh";

/// The harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum How {
    Abort,
    Segfault,
    Exit,
    /// Allocates memory without end.
    Allocate,
    /// Writes a file without end.
    Write,
    /// Opens files without end.
    Open,
    /// Starts processes without end.
    Multiply,
    /// Starts a process that runs for a thousand seconds, marks its id, and waits for `go`.
    Fork,
    /// Starts a process that leaves its group and its parent, marks its id, and waits for `go`.
    Escape,
    /// As `Escape`, without the job's environment.
    Vanish,
    /// Starts a chain of short-lived processes, each in a session of its own, that starts its
    /// successor and ends; and waits for `go`.
    Run,
    /// Writes to a file in memory without end, and maps none of it.
    Hide,
    /// Allocates memory in child processes, a little in each.
    Spread,
    /// Prints half a gigabyte, marks that, and waits for `go`.
    Print,
    /// Reads standard input to its end.
    Read,
}

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct DeadlyParams {
    #[arg(long, value_enum)]
    how: How,
    /// Trigger it in the reducer instead of the mapper.
    #[arg(long)]
    in_reduce: bool,
    /// Folder for marks.
    #[arg(long)]
    marks: PathBuf,
}

struct DeadlyWords(Arc<DeadlyParams>);

struct DeadlySum(Arc<DeadlyParams>);

pub fn job() -> Job {
    Job::with_params("deadly", |params: &DeadlyParams| {
        let params = Arc::new(params.clone());
        Ok(Job::new("deadly", DeadlyWords(Arc::clone(&params))).reduce(DeadlySum(params)))
    })
}

impl DeadlyParams {
    fn happen(&self) -> Result<()> {
        let Self { how, marks, .. } = self;
        match how {
            How::Abort => {
                eprintln!("the last words");
                std::process::abort()
            }
            // The standard library's handler takes the first signal, to look for a stack overflow;
            // the next one kills.
            How::Segfault => loop {
                kill_process(getpid(), Signal::SEGV)?;
            },
            #[allow(clippy::disallowed_methods)]
            // Exiting as if all were well is the point.
            How::Exit => std::process::exit(0),
            How::Allocate => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1u8; 16 << 20]);
                }
            }
            How::Write => {
                let mut file = std::fs::File::create(std::env::temp_dir().join("large"))?;
                loop {
                    file.write_all(&[b'x'; 1 << 16])?;
                }
            }
            How::Open => {
                let mut files = Vec::new();
                loop {
                    files.push(std::fs::File::open("/dev/null")?);
                }
            }
            How::Multiply => loop {
                Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn()?;
            },
            How::Fork => {
                let mut command = Command::new("sleep");
                let child = command.arg("1000").stdout(Stdio::null()).spawn()?;
                mark(marks, &format!("forked-{}", child.id()));
                wait_for_any(&[marks.join("go")]);
            }
            How::Escape => leave_behind(marks, "escaped", "setsid sleep 1000")?,
            How::Vanish => leave_behind(marks, "vanished", "setsid env -i sleep 1000")?,
            How::Hide => {
                let mut file = std::fs::File::from(memfd_create("hidden", MemfdFlags::CLOEXEC)?);
                loop {
                    file.write_all(&[b'x'; 1 << 16])?;
                }
            }
            How::Run => {
                run(marks)?;
                wait_for_any(&[marks.join("go")]);
            }
            How::Spread => {
                spread()?;
                wait_for_any(&[marks.join("go")]);
            }
            How::Print => print(marks)?,
            How::Read => {
                let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
                mark(marks, &format!("read-{read}"));
            }
        }
        Ok(())
    }
}

/// Starts a process that leaves this one and its group, marks its id, and waits.
fn leave_behind(marks: &Path, name: &str, command: &str) -> Result<()> {
    let script = format!("{command} </dev/null >/dev/null 2>&1 & echo $!");
    let output = Command::new("sh").args(["-c", &script]).output()?;
    mark(marks, &format!("{name}-{}", String::from_utf8_lossy(&output.stdout).trim()));
    wait_for_any(&[marks.join("go")]);
    Ok(())
}

fn print(marks: &Path) -> Result<()> {
    let line = [&[b'x'; 1 << 16][..], b"\n"].concat();
    let mut out = std::io::stdout().lock();
    for _ in 0..8 << 10 {
        out.write_all(&line)?;
    }
    mark(marks, "printed");
    wait_for_any(&[marks.join("go")]);
    Ok(())
}

fn run(marks: &Path) -> Result<()> {
    let script = marks.join(RUNNER);
    std::fs::write(&script, "setsid sh \"$0\" </dev/null >/dev/null 2>&1 &\n")?;
    Command::new("sh").arg(&script).stdout(Stdio::null()).status()?;
    Ok(())
}

fn spread() -> Result<()> {
    for _ in 0..4 {
        // `tail` keeps its whole input in memory, since `sleep` never reads its output.
        let script = "head -c 100000000 /dev/zero | tail -c 100000000 | sleep 1000";
        Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn()?;
    }
    Ok(())
}

impl Mapper for DeadlyWords {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        for word in line.split_ascii_whitespace() {
            if word == WORD && !self.0.in_reduce {
                self.0.happen()?;
            }
            out.emit(word, 1)?;
        }
        Ok(())
    }
}

impl Reducer<str, u64> for DeadlySum {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        if key.starts_with(WORD) && self.0.in_reduce {
            self.0.happen()?;
        }
        Sum.reduce(key, values, out)
    }
}
