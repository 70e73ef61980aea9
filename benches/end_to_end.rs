//! Whole jobs as whole processes: Windrow embedded and on a local cluster, and hand-written
//! programs for the same jobs. Prints medians and ratios. Fails if answers differ, never because of
//! a time.
//!
//!     cargo bench --bench end_to_end -- [ROW...] [--mib N] [--runs N]

mod harness;
mod limit;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use harness::Result;
use harness::answer::{self, Answer};
use harness::cluster::Cluster;
use harness::data::TEXT_VARIABLE;
use harness::options::Options;
use harness::report::{self, Outcome};
use harness::rivals::{OWN_JOB_VARIABLE, Race, Rival};

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [first, job @ ..] = arguments.as_slice()
        && first == "limit"
    {
        return limit::run(job).map(|()| ExitCode::SUCCESS);
    }
    if std::env::var_os(OWN_JOB_VARIABLE).is_some() {
        return Ok(harness::own_job::main());
    }
    let options = Options::parse(&arguments)?;
    // Below the build folder, on a disk: the system's temporary folder may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let needs_cluster = options.rows.iter().any(|row| row.on_cluster);
    let cluster = needs_cluster.then(|| Cluster::start(dir.path())).transpose()?;
    let mut failed = Vec::new();
    for row in &options.rows {
        let Some(input) = row.data.make(dir.path(), options.mib)? else {
            let message = format!("{}: name a folder of text in {TEXT_VARIABLE}", row.name);
            if options.named {
                return Err(message.into());
            }
            eprintln!("{message}");
            continue;
        };
        let stderr = dir.path().join("stderr");
        let race = Race {
            row,
            options: &options,
            input: &input,
            cluster: cluster.as_ref(),
            stderr: &stderr,
        };
        if !measure_row(&race, dir.path())? {
            failed.push(row.name);
        }
    }
    if failed.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("rows with failures: {}", failed.join(", ")).into())
    }
}

/// Runs all rivals of a row in turn, so that disturbances of the machine hit all alike. The first
/// round warms caches, checks answers, and is not counted. Returns whether all succeeded.
fn measure_row(race: &Race<'_>, dir: &Path) -> Result<bool> {
    let mut outcomes: Vec<Outcome> = Rival::of(race.row)
        .into_iter()
        .map(|rival| Outcome { rival, costs: Vec::new(), failure: None })
        .collect();
    let mut expected = None;
    for round in 0..=race.options.runs {
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.failure.is_none()) {
            let output = dir.join("output");
            match race.run(outcome.rival, &output) {
                Err(error) => outcome.failure = Some(error.to_string()),
                Ok(_) if round == 0 => check(race, &output, &mut expected, outcome),
                Ok(cost) => outcome.costs.push(cost),
            }
            if output.exists() {
                fs::remove_dir_all(&output)?;
            }
        }
    }
    let input_bytes = bytes_in(race.input)?;
    let lines = expected.map_or(0, |answer| answer.lines);
    if let Some(first) = outcomes.first() {
        report::title(race.row.name, first.rival, input_bytes, lines, race.options.runs);
    }
    report::lines(&outcomes, input_bytes);
    Ok(outcomes.iter().all(|outcome| outcome.failure.is_none()))
}

/// Compares an answer with the first rival's.
fn check(race: &Race<'_>, output: &Path, expected: &mut Option<Answer>, outcome: &mut Outcome) {
    match answer::read(output, race.row.ordered_bytes) {
        Err(error) => outcome.failure = Some(error.to_string()),
        Ok(found) => {
            let expected = expected.get_or_insert_with(|| found.clone());
            if *expected != found {
                outcome.failure = Some(format!("another answer: {found:?}, not {expected:?}"));
            }
        }
    }
}

fn bytes_in(folder: &Path) -> Result<u64> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
