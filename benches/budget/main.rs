//! Does `--memory` hold? Memory-hungry jobs, each as a whole process with several budgets: peak
//! resident memory must stay within the budget plus 64 MiB, and the answer must be right. Fails if
//! a row breaks its bound.
//!
//!     cargo bench --bench budget -- [ROW...] [--quick] [--inputs DIR]
//!
//! Times are printed, but not judged.

#[path = "../harness/answer.rs"]
mod answer;
mod inputs;
#[path = "../harness/measure.rs"]
mod measure;
mod rows;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use windrow::prelude::*;

use answer::Answer;
use measure::Cost;
use rows::{Expected, Program, ROWS, Row};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const WINDROW: &str = env!("CARGO_BIN_EXE_windrow");

/// The first argument that makes this program run its own jobs.
const OWN_JOBS: &str = "own-jobs";

/// What a process may use beyond its budget: the executable, stacks, and small allocations that are
/// not counted.
const SLACK_MIB: u64 = 64;

/// One part of the input in this many, with `--quick`.
const QUICK_PARTS: u64 = 16;

struct Options {
    rows: Vec<&'static Row>,
    /// Divides the size of inputs.
    parts: u64,
    /// Keeps inputs for the next run.
    inputs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    if arguments.get(1).is_some_and(|argument| argument == OWN_JOBS) {
        arguments.remove(1);
        let job = Job::new("tally", Lines).reduce(Count);
        return windrow::main_from([job], arguments.into_iter().map(Into::into));
    }
    match parse(&arguments[1..]).and_then(|options| measure_all(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Emits each line: with a reducer and no combiner, all lines reach the reducer.
struct Lines;

impl Mapper for Lines {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> windrow::prelude::Result<()> {
        out.emit(line, ())
    }
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { rows: Vec::new(), parts: 1, inputs: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.parts = QUICK_PARTS,
            "--inputs" => {
                options.inputs = Some(arguments.next().ok_or("--inputs needs a folder")?.into());
            }
            name => {
                let names = || ROWS.each_ref().map(|row| row.name).join(", ");
                let found = ROWS.iter().find(|row| row.name == name);
                options.rows.push(found.ok_or_else(|| format!("no row {name}: {}", names()))?);
            }
        }
    }
    if options.rows.is_empty() {
        options.rows = ROWS.iter().collect();
    }
    Ok(options)
}

#[allow(clippy::print_stdout)] // the table is its result
fn measure_all(options: &Options) -> Result<bool> {
    // Below the build folder, on a disk: the system's temporary folder may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let inputs = options.inputs.as_deref().unwrap_or(dir.path());
    fs::create_dir_all(inputs)?;
    println!("{:<22}{:>10}{:>12}{:>10}{:>10}  verdict", "", "budget", "peak RSS", "wall", "CPU");
    let mut all_held = true;
    for row in &options.rows {
        let input = row.input.make(inputs, options.parts)?;
        let mut first = None;
        for &budget_mib in row.budgets_mib {
            let ran = run(row, &input, budget_mib, dir.path())?;
            let verdict = judge(row, budget_mib, options, &ran, &mut first);
            let peak_mib = ran.cost.peak_rss_bytes >> 20;
            let (seconds, cpu) = (ran.cost.wall.as_secs_f64(), ran.cost.cpu.as_secs_f64());
            let said = verdict.as_ref().map_or_else(|broken| &**broken, |()| "holds");
            println!(
                "{:<22}{budget_mib:>6} MiB{peak_mib:>8} MiB{seconds:>8.2} s{cpu:>8.2} s  {said}",
                row.name
            );
            all_held &= verdict.is_ok();
        }
    }
    Ok(all_held)
}

/// The cost and result of one process.
struct Ran {
    cost: Cost,
    /// Its answer, or why it has none.
    answer: Result<Answer, String>,
}

fn run(row: &Row, input: &Path, budget_mib: u64, dir: &Path) -> Result<Ran> {
    let mut command = match row.program {
        Program::Windrow => Command::new(WINDROW),
        Program::OwnJobs => {
            let mut this = Command::new(std::env::current_exe()?);
            this.arg(OWN_JOBS);
            this
        }
    };
    let (output, stderr) = (dir.join("output"), dir.join("stderr"));
    command.arg("run").args(row.arguments).arg("--input").arg(input);
    command.arg("--output").arg(&output).arg("--memory").arg(format!("{budget_mib}MiB"));
    // The summary says why a job failed.
    let summary = dir.join("summary");
    command.env_remove("RUST_LOG").stdout(fs::File::create(&summary)?);
    let (status, cost) = measure::run_any(command, &stderr)?;
    let answer = if status.success() {
        answer::read(&output, 0).map_err(|error| error.to_string())
    } else {
        Err(format!("{status}: {}", fs::read_to_string(&summary)?))
    };
    if output.exists() {
        fs::remove_dir_all(&output)?;
    }
    Ok(Ran { cost, answer })
}

/// Why a row is broken. Answers must be the same with every budget.
fn judge(
    row: &Row,
    budget_mib: u64,
    options: &Options,
    ran: &Ran,
    first: &mut Option<Answer>,
) -> Result<(), String> {
    match (&ran.answer, row.expected) {
        (Ok(_), Expected::Refusal(_)) => return Err("BROKEN: it did not fail".into()),
        (Err(said), Expected::Refusal(why)) if said.contains(why) => {}
        (Err(said), _) => return Err(format!("BROKEN: {}", said.lines().next().unwrap_or(""))),
        (Ok(answer), expected) => {
            let lines = expected.lines(options.parts).unwrap_or(answer.lines);
            if answer.lines != lines || *first.get_or_insert_with(|| answer.clone()) != *answer {
                return Err(format!("BROKEN: {answer:?} instead of {lines} lines, {first:?}"));
            }
        }
    }
    if ran.cost.peak_rss_bytes > (budget_mib + SLACK_MIB) << 20 {
        return Err(format!("BROKEN: more than {} MiB", budget_mib + SLACK_MIB));
    }
    Ok(())
}
