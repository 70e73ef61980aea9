//! Word count that harms its process where the input says so.

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

/// The word at which it happens.
pub const WORD: &str = "DEADLY";

/// The program of [`How::Run`], among the marks: not in the job's folder, without which it ends.
pub const RUNNER: &str = "windrow-test-runner.sh";

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum How {
    Abort,
    Segfault,
    Exit,
    /// Takes memory for ever.
    Allocate,
    /// Writes a file for ever.
    Write,
    /// Opens files for ever.
    Open,
    /// Starts processes for ever.
    Multiply,
    /// Starts a process that goes on for a thousand seconds, marks its id, and waits until `go` is
    /// there.
    Fork,
    /// Starts a process that leaves its group and its parent, marks its id, and waits until `go` is
    /// there.
    Escape,
    /// Likewise, and that is not of a job by its environment.
    Vanish,
    /// Starts a process that starts another one in a session of its own and ends, for ever, and
    /// waits until `go` is there.
    Run,
    /// Takes memory for ever in a file that nothing has mapped.
    Hide,
    /// Takes memory in processes that it starts, of which none has much.
    Spread,
    /// Prints half a gigabyte, marks that, and waits until `go` is there.
    Print,
    /// Reads standard input to its end.
    Read,
}

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct DeadlyParams {
    #[arg(long, value_enum)]
    how: How,
    /// When the word is reduced, rather than when it is mapped.
    #[arg(long)]
    in_reduce: bool,
    /// Where it leaves marks.
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
            // The standard library takes the first to see whether the stack has overflowed.
            How::Segfault => loop {
                kill_process(getpid(), Signal::SEGV)?;
            },
            #[allow(clippy::disallowed_methods)]
            // to end as if all were well is the point
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

/// Starts what leaves this process and its group, marks its id, and waits.
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
        // `tail` keeps all of it, since nobody reads what it writes.
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
